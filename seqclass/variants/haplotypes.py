"""Which alleles of a sample stand on one chromosome, and so in one window."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from seqclass.variants.edits import Edit, within

Key = TypeVar("Key")


class Carried(NamedTuple, Generic[Key]):
    """An alternative allele that a sample carries.

    Attributes:
        chrom: The genome's name.
        edit: What it changes.
        copies: Which of the sample's chromosomes have it, from 0; None where that is not known, as it is
            heterozygous and not phased.
        phase: The set within which its phase holds; None where all copies have it, or its phase is not known.
        key: What the caller knows it by.
    """

    chrom: str
    edit: Edit
    copies: frozenset[int] | None
    phase: str | None
    key: Key


class Haplotype(NamedTuple, Generic[Key]):
    """An allele, the copies of the chromosome that carry it with the same neighbours, and those neighbours.

    Attributes:
        allele: In the middle.
        copies: From 0; empty where its phase is not known.
        neighbours: Within the window, by their place; none overlaps another or the allele.
    """

    allele: Carried[Key]
    copies: tuple[int, ...]
    neighbours: tuple[Carried[Key], ...]


def haplotypes(alleles: Iterable[Carried[Key]], length: int) -> Iterator[Haplotype[Key]]:
    """For each allele, the haplotypes that carry it; memory does not grow with the number of alleles.

    Two alleles are taken to stand on one chromosome if all copies carry one of them, or both are phased within one
    set. Of alleles that exclude each other, as a deletion and a change within it, the nearer to the middle is taken.

    Args:
        alleles: In the order of chromosomes and of starts, but for what left-alignment moved.
        length: Of the window around each allele, in bp.
    """
    around: deque[Carried[Key]] = deque()
    waiting: deque[Carried[Key]] = deque()
    # Deletions bring farther neighbours into the window, and left-alignment moves some behind others.
    reach = 2 * length

    def out_of_reach(one: Carried[Key], other: Carried[Key]) -> bool:
        return one.chrom != other.chrom or other.edit.start > one.edit.end + reach

    for allele in alleles:
        while waiting and out_of_reach(waiting[0], allele):
            yield from _of(waiting.popleft(), around, length)
        while around and waiting and out_of_reach(around[0], waiting[0]):
            around.popleft()
        around.append(allele)
        waiting.append(allele)
    for allele in waiting:
        yield from _of(allele, around, length)


def _of(allele: Carried[Key], around: Iterable[Carried[Key]], length: int) -> Iterator[Haplotype[Key]]:
    near = [other for other in around if other is not allele and other.chrom == allele.chrom]
    near.sort(key=lambda other: max(other.edit.start - allele.edit.end, allele.edit.start - other.edit.end))
    if allele.copies is None:
        everywhere = [other for other in near if other.copies and other.phase is None]
        yield Haplotype(allele, (), _neighbours(allele, everywhere, length))
        return
    # Where all copies carry the allele, the nearest phased neighbour says which set the copies are told apart by.
    phase = allele.phase or next((other.phase for other in near if other.phase), None)
    found: dict[tuple[int, ...], tuple[list[int], tuple[Carried[Key], ...]]] = {}
    for copy in sorted(allele.copies):
        mine = [other for other in near if other.copies and copy in other.copies and other.phase in (None, phase)]
        neighbours = _neighbours(allele, mine, length)
        found.setdefault(tuple(map(id, neighbours)), ([], neighbours))[0].append(copy)
    for copies, neighbours in found.values():
        yield Haplotype(allele, tuple(copies), neighbours)


def _neighbours(allele: Carried[Key], near: Iterable[Carried[Key]], length: int) -> tuple[Carried[Key], ...]:
    """Of the alleles by their distance, those in the window that overlap none before them; by their place."""
    taken = [allele]
    for other in near:
        if not any(other.edit.overlaps(each.edit) for each in taken):
            taken.append(other)
    others = sorted(taken[1:], key=lambda other: other.edit.place)
    reached = within(allele.edit, [other.edit for other in others], length)
    return tuple(other for other, is_reached in zip(others, reached, strict=True) if is_reached)
