"""An allele as the least change that makes it of the reference, and the windows of both in which it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from seqclass.alphabets import Tokens
from seqclass.data.genome import Genome


class Edit(NamedTuple):
    """Bases `[start, start + len(ref))`, 0-based, that become others; one of both may be empty, for an indel.

    Attributes:
        start: On the chromosome.
        ref: `(bases,)` tokens that the reference allele has there.
        alt: `(bases,)` tokens that the alternative allele has instead.
    """

    start: int
    ref: Tokens
    alt: Tokens

    @property
    def end(self) -> int:
        return self.start + len(self.ref)

    @property
    def place(self) -> tuple[int, int]:
        """By which edits are sorted: an insertion stands before a change of the base behind it."""
        return self.start, self.end

    def overlaps(self, other: Edit) -> bool:
        """Whether both cannot stand on one chromosome, as they change the same base or insert at the same place."""
        return self.place == other.place or (self.start < other.end and other.start < self.end)


class Row(Protocol):
    """One allele to be scored, and a line of the result."""

    @property
    def labels(self) -> Sequence[str | int]:
        """What tells which it is, an entry a column."""

    def windows(self) -> tuple[Tokens, Tokens]:
        """What the model sees: the reference's residues `(length,)`, and those with the change."""


def least_edit(genome: Genome, chrom: str, start: int, ref: Tokens, alt: Tokens) -> Edit:
    """What REF and ALT differ in: without shared ends, an insertion or deletion as far left as it can be told.

    The same alleles written in different ways come to the same (Tan et al. 2015, doi:10.1093/bioinformatics/btv112).

    Args:
        genome: The reference.
        chrom: Its name in the genome.
        start: First base of REF, 0-based.
        ref: `(bases,)` tokens.
        alt: `(bases,)` tokens.
    """
    if len(ref) == len(alt) == 1:
        return Edit(start, ref, alt)
    shared = 0
    while shared < min(len(ref), len(alt)) and ref[-1 - shared] == alt[-1 - shared]:
        shared += 1
    ref, alt = ref[: len(ref) - shared], alt[: len(alt) - shared]
    shared = 0
    while shared < min(len(ref), len(alt)) and ref[shared] == alt[shared]:
        shared += 1
    start, ref, alt = start + shared, ref[shared:], alt[shared:]
    if len(ref) and len(alt):
        return Edit(start, ref, alt)
    bases = alt if len(alt) else ref
    steps = 0
    while (
        start > steps and len(bases) and genome.read(chrom, start - steps - 1, start - steps)[0] == _last(bases, steps)
    ):
        steps += 1
    bases = np.roll(bases, steps)
    return Edit(start - steps, ref if len(alt) else bases, bases if len(alt) else alt)


def _last(bases: Tokens, steps: int) -> int:
    """The last of some bases after so many of them went from the end to the front."""
    return int(bases[-1 - steps % len(bases)])


def window(genome: Genome, chrom: str, edit: Edit, allele: Tokens, length: int, others: Sequence[Edit] = ()) -> Tokens:
    """The `(length,)` tokens around an allele, which stands in their middle; N beyond the chromosome's ends.

    Args:
        genome: The reference.
        chrom: Its name in the genome.
        edit: Where the allele stands.
        allele: Its bases: those of the reference or the alternative one.
        length: Of the window, at least that of the allele.
        others: Edits of the same haplotype that are made too, by their place; none overlaps another, or this one.
    """
    before, behind = _flanks(allele, length)
    left: list[Tokens] = []
    at = edit.start
    for other in reversed(others):
        if other.place < edit.place:
            left += [genome.read(chrom, other.end, at), other.alt]
            at = other.start
    missing = before - sum(map(len, left))
    left.append(genome.read(chrom, at - max(0, missing), at))
    right: list[Tokens] = []
    at = edit.end
    for other in others:
        if other.place > edit.place:
            right += [genome.read(chrom, at, other.start), other.alt]
            at = other.end
    missing = behind - sum(map(len, right))
    right.append(genome.read(chrom, at, at + max(0, missing)))
    whole = np.concatenate([*reversed(left), allele, *right])
    first = sum(map(len, left)) - before
    return whole[first : first + length]


def within(edit: Edit, others: Sequence[Edit], length: int) -> list[bool]:
    """Which of the edits that are made too, by their place, reach into the window around an alternative allele."""
    before, behind = _flanks(edit.alt, length)
    reached = [False] * len(others)
    at = edit.start
    for number in reversed(range(len(others))):
        other = others[number]
        if other.place < edit.place and before > at - other.end:
            reached[number] = True
            before -= at - other.end + len(other.alt)
            at = other.start
    at = edit.end
    for number, other in enumerate(others):
        if other.place > edit.place and behind > other.start - at:
            reached[number] = True
            behind -= other.start - at + len(other.alt)
            at = other.end
    return reached


def _flanks(allele: Tokens, length: int) -> tuple[int, int]:
    """How many bases of a window stand before and behind the allele in its middle."""
    before = (length - len(allele)) // 2
    return before, length - before - len(allele)
