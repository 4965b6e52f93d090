"""Alphabets: letters to tokens and back, the complement, and what becomes of ambiguous letters.

A token is an index into the alphabet's letters; the token after the last letter stands for an unknown residue (N, X).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seqclass.errors import SequenceError, find_name

Tokens = NDArray[np.uint8]

_AMBIGUOUS, _FOREIGN = 254, 255


@dataclass(frozen=True)
class Alphabet:
    """A set of residues and the tokens that stand for them.

    Args:
        name: The name by which stores and bundles refer to it.
        letters: The residues; token i stands for `letters[i]`.
        unknown: The letter of an unknown residue; its token is `len(letters)`.
        ambiguous: Letters that stand for several residues, which `encode` refuses.
        unit: What lengths and positions are counted in.
    """

    name: str
    letters: str
    unknown: str
    ambiguous: str
    unit: str

    def __reduce__(self) -> tuple[Callable[[str], Alphabet], tuple[str]]:
        # There is one of each, also in a process that was sent it: "is DNA" holds there too.
        return get_alphabet, (self.name,)

    @property
    def unknown_token(self) -> int:
        return len(self.letters)

    @cached_property
    def _table(self) -> Tokens:
        table = np.full(256, _FOREIGN, dtype=np.uint8)
        for token, letter in enumerate(self.letters + self.unknown):
            table[ord(letter)] = table[ord(letter.lower())] = token
        for letter in self.ambiguous:
            table[ord(letter)] = table[ord(letter.lower())] = _AMBIGUOUS
        return table

    @cached_property
    def _letters(self) -> NDArray[np.uint8]:
        return np.frombuffer((self.letters + self.unknown).encode(), dtype=np.uint8)

    def encode(self, sequence: str | bytes) -> Tokens:
        """Tokens of a sequence, `(length,)` uint8. Lower case is read as upper case.

        Raises:
            SequenceError: A letter is neither one of the residues nor the unknown letter.
        """
        tokens = self._table[_as_bytes(sequence)]
        self._refuse(tokens, tokens >= _AMBIGUOUS, sequence)
        return tokens

    def decode(self, tokens: Tokens) -> str:
        """The sequence that `(length,)` tokens stand for."""
        return self._letters[tokens].tobytes().decode()

    def _refuse(self, tokens: Tokens, bad: NDArray[np.bool_], sequence: str | bytes) -> None:
        if not bad.any():
            return
        position = int(bad.argmax())
        letter = sequence[position : position + 1]
        shown = letter.decode("latin-1") if isinstance(letter, bytes) else letter
        kind, place = self.name.upper(), f"letter {shown!r} at position {position + 1}"
        expected = f"expected {self.letters}, or {self.unknown} for an unknown residue"
        if tokens[position] == _AMBIGUOUS:
            both = self.ambiguous + self.ambiguous.lower()
            command = f"sed '/^>/!s/[{both}]/{self.unknown}/g' old.fa > new.fa"
            raise SequenceError(
                f"{place} is not {kind} without ambiguity ({expected})",
                remedy=f"Replace such letters by {self.unknown}, as in: {command}",
            )
        raise SequenceError(
            f"{place} is not {kind} ({expected})",
            remedy=f"Check that this is {kind}, and take out gaps, stops and other signs",
        )


def _as_bytes(sequence: str | bytes) -> NDArray[np.uint8]:
    if isinstance(sequence, str):
        sequence = sequence.encode("latin-1", "replace")
    return np.frombuffer(sequence, dtype=np.uint8)


DNA = Alphabet("dna", "ACGT", "N", "RYSWKMBDHV", "bp")
PROTEIN = Alphabet("protein", "ACDEFGHIKLMNPQRSTVWY", "X", "BJOUZ", "residues")

ALPHABETS = {alphabet.name: alphabet for alphabet in (DNA, PROTEIN)}


def get_alphabet(name: str) -> Alphabet:
    """The alphabet of that name.

    Raises:
        UnknownNameError: There is none.
    """
    return ALPHABETS[find_name("alphabet", name, ALPHABETS)]


def reverse_complement(tokens: Tokens) -> Tokens:
    """The other strand of DNA tokens `(..., length)`, read 5' to 3'; unknown stays unknown.

    The order A, C, G, T makes the complement of a base its bits flipped (3 - token), which is many times faster than a
    table for the gigabytes that pass here.
    """
    complement: Tokens = np.minimum(tokens[..., ::-1] ^ 3, DNA.unknown_token).astype(np.uint8, copy=False)
    return complement
