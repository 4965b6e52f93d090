"""Reference sequences: what a sequence is compared with, so that a difference of logits can be shared out.

Shuffled references are drawn from a sequence's own letters. Of DNA they keep the number of each dinucleotide: a random
walk over the edges of the graph of neighbouring letters, all of whose Eulerian paths are equally likely. Altschul and
Erickson 1985 (Mol. Biol. Evol. 2, 526).
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Alphabet, Tokens


def generator_for(sequence: NDArray[Any], seed: int) -> np.random.Generator:
    """Random numbers that follow from the seed and the sequence, whatever else is explained with it."""
    return np.random.default_rng([seed, zlib.crc32(np.ascontiguousarray(sequence).tobytes())])


def shuffle(sequence: NDArray[Any], alphabet: Alphabet, generator: np.random.Generator) -> NDArray[Any]:
    """Another order of a sequence's residues: of DNA tokens with the same dinucleotides, else any.

    Args:
        sequence: `(length,)` tokens, or `(length, size)` vectors.
        alphabet: Of the sequence.
        generator: Random numbers.
    """
    if alphabet is DNA and sequence.ndim == 1:
        return dinucleotide_shuffle(sequence, generator)
    shuffled: NDArray[Any] = generator.permutation(sequence)
    return shuffled


def dinucleotide_shuffle(tokens: Tokens, generator: np.random.Generator) -> Tokens:
    """Tokens `(length,)` in a random order with the same number of each pair of neighbours.

    First and last stay, and all orders that there are have the same probability.
    """
    if len(tokens) < 3:
        return tokens.copy()
    letters = int(tokens.max()) + 1
    following = [generator.permutation(tokens[1:][tokens[:-1] == letter]).tolist() for letter in range(letters)]
    end = int(tokens[-1])
    # The last exits of all letters have to lead to the end, or edges would be left over.
    while not _all_arrive([exits[-1] if exits else None for exits in following], end):
        for exits in following:
            if exits:
                place = int(generator.integers(len(exits)))
                exits[place], exits[-1] = exits[-1], exits[place]
    order = [int(tokens[0])]
    used = [0] * letters
    for _ in range(len(tokens) - 1):
        letter = order[-1]
        order.append(following[letter][used[letter]])
        used[letter] += 1
    return np.array(order, dtype=tokens.dtype)


def _all_arrive(last: list[int | None], end: int) -> bool:
    """Whether the last exits of all letters that have some lead to the end."""
    for start in range(len(last)):
        letter: int | None = start
        for _ in last:
            if letter is None or letter == end:
                break
            letter = last[letter]
        if last[start] is not None and letter != end:
            return False
    return True
