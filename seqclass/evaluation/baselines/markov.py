"""What a language model has to beat: a Markov model, which knows how often each letter follows the few before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Alphabet, Tokens, reverse_complement
from seqclass.errors import EvaluationError

_AT_ONCE = 1 << 22
# Counts of so many k-mers, and the probabilities that follow from them, are half a gigabyte.
_MOST_KMERS = 1 << 25


class KmerCounts:
    """How often each k-mer occurs in a text, for all k up to one; on both strands where it is DNA.

    Args:
        text: `(length,)` tokens; k-mers with an unknown letter are not counted.
        alphabet: Of the text.
        longest: The largest k.

    Attributes:
        tables: For each k from 1 on, `(contexts, letters)`: by the letters before the last one, and the last one.

    Raises:
        EvaluationError: There are no such k-mers, or too many for the memory.
    """

    def __init__(self, text: Tokens, alphabet: Alphabet, longest: int) -> None:
        letters = len(alphabet.letters)
        if longest < 1 or letters**longest > _MOST_KMERS:
            raise EvaluationError(f"counts of {longest}-mers of {letters} letters", remedy="Choose shorter ones")
        self.alphabet = alphabet
        counts = [np.zeros(letters**k, dtype=np.int64) for k in range(1, longest + 1)]
        for strand in (text, reverse_complement(text)) if alphabet == DNA else (text,):
            for _, kmers in _kmers(strand, alphabet, longest):
                for count, (_, codes) in zip(counts, kmers, strict=True):
                    count += np.bincount(codes, minlength=len(count))
        self.tables = [count.reshape(-1, letters) for count in counts]


class MarkovModel:
    """An interpolated Markov model, whose order is how many letters it looks back at: of 6-mers, 5.

    The probability of letter x after the context c leans on that after the context c' which is a letter shorter, as if
    `strength` more letters had been seen after c:

        P(x | c) = (n(cx) + strength P(x | c')) / (n(c) + strength)

    down to the letters' shares, which lean on equal ones (MacKay and Peto 1995, doi:10.1017/S1351324900000218). Where
    fewer letters than the order are known before x, the model of that lower order answers.

    Args:
        counts: Of k-mers; the longest decide the highest order.
        strength: Pseudocounts of a context, all letters together.
    """

    def __init__(self, counts: KmerCounts, strength: float = 16.0) -> None:
        self.alphabet = counts.alphabet
        self.order = len(counts.tables) - 1
        self.strength = strength
        self._probability: list[NDArray[np.float64]] = []
        letters = len(self.alphabet.letters)
        shorter = np.full((1, letters), 1 / letters)
        for table in counts.tables:
            # Contexts that end alike lie as far apart as there are shorter ones.
            prior = np.tile(shorter, (len(table) // len(shorter), 1))
            shorter = (table + strength * prior) / (table.sum(axis=1, keepdims=True) + strength)
            self._probability.append(shorter)

    def bits(self, text: Tokens, order: int | None = None) -> NDArray[np.float64]:
        """What each letter of a text costs, `(length,)`: -log2 of its probability; NaN of an unknown one.

        Args:
            text: `(length,)` tokens.
            order: At most this model's, which is the default.
        """
        longest = (self.order if order is None else order) + 1
        bits = np.full(len(text), np.nan)
        for begin, kmers in _kmers(text, self.alphabet, longest):
            for probability, (places, codes) in zip(self._probability[:longest], kmers, strict=True):
                bits[begin + places] = -np.log2(probability.reshape(-1)[codes])
        return bits


def longest_kmers(letters: int, alphabet: Alphabet) -> int:
    """The largest k of which a text of so many letters could hold all k-mers, and memory their counts."""
    size, most = len(alphabet.letters), min(letters, _MOST_KMERS)
    k = 1
    while size ** (k + 1) <= most:
        k += 1
    return k


def _kmers(
    text: Tokens, alphabet: Alphabet, longest: int
) -> Iterator[tuple[int, list[tuple[NDArray[np.int64], NDArray[np.int64]]]]]:
    """A piece of the text after the other: where it begins, and for each k from 1 on, its k-mers.

    These are where in the piece their last letter is, and a number each: the letters' digits, the last one lowest.
    """
    letters = len(alphabet.letters)
    for begin in range(0, len(text), _AT_ONCE):
        lead = min(longest - 1, begin)
        piece = text[begin - lead : begin + _AT_ONCE].astype(np.int64)
        known = piece < letters
        codes = np.zeros(len(piece), dtype=np.int64)
        valid = np.ones(len(piece), dtype=bool)
        found = []
        for back in range(longest):
            valid[back:] &= known[: len(piece) - back]
            valid[:back] = False
            codes[back:] += piece[: len(piece) - back] * letters**back
            places = lead + np.flatnonzero(valid[lead:])
            found.append((places - lead, codes[places]))
        yield begin, found
