"""Saliency as files for genome browsers and tables: bedGraph, bigWig, TSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.atomic import atomic_file
from seqclass.data.bigwig import open_bigwig
from seqclass.errors import IntervalError, SeqclassError


class Stretch(NamedTuple):
    """Values along a stretch of a chromosome or sequence.

    Attributes:
        chrom: Its name.
        start: Where the first value lies, 0-based.
        values: `(length,)`.
    """

    chrom: str
    start: int
    values: NDArray[np.floating[Any]]


def write_bedgraph(path: str | Path, stretches: Iterable[Stretch], *, force: bool = False) -> None:
    """Writes values as bedGraph: chromosome, start, end, value; neighbours of the same value share a line.

    Raises:
        IntervalError: Stretches overlap, or one begins before its chromosome.
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    ordered = _ordered(stretches)
    with atomic_file(path, force=force) as partial, open(partial, "w", encoding="utf-8") as stream:
        for chrom, start, values in ordered:
            for left, right, value in _runs(values):
                stream.write(f"{chrom}\t{start + left}\t{start + right}\t{value:.6g}\n")


def write_bigwig(
    path: str | Path, stretches: Iterable[Stretch], chromosomes: Mapping[str, int], *, force: bool = False
) -> None:
    """Writes values as bigWig, which genome browsers open at any zoom.

    Args:
        path: The file.
        stretches: In any order; they do not overlap.
        chromosomes: Length of each chromosome of the genome.
        force: Replace what stands at `path`.

    Raises:
        IntervalError: Stretches overlap, or one reaches over its chromosome or lies on none.
        OutputExistsError: Something stands at `path` and `force` is false.
        MissingPackageError: pyBigWig is not installed.
    """
    rank = {chrom: number for number, chrom in enumerate(chromosomes)}
    ordered = _ordered(stretches)
    if not ordered:
        raise SeqclassError("no values for a bigWig file", remedy="Explain at least one sequence", file=path)
    for chrom, start, values in ordered:
        if chrom not in chromosomes or start + len(values) > chromosomes[chrom]:
            on = f"a chromosome of {chromosomes[chrom]:,} bp" if chrom in chromosomes else "no chromosome of the genome"
            raise IntervalError(
                f"{chrom}:{start:,}-{start + len(values):,} lies on {on}", remedy="Give the genome of the sequences"
            )
    with atomic_file(path, force=force) as partial, open_bigwig(partial, chromosomes) as file:
        for chrom, start, values in sorted(ordered, key=lambda stretch: (rank[stretch.chrom], stretch.start)):
            file.addEntries(chrom, start, values=[float(value) for value in values], span=1, step=1)


def write_table(
    path: str | Path,
    name: str,
    sequence: str,
    tracks: Mapping[str, Sequence[float] | NDArray[np.floating[Any]]],
    *,
    start: int = 0,
    force: bool = False,
) -> None:
    """Writes tracks of a sequence as a table (TSV): id, 0-based position, letter, and a column for each track.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    with atomic_file(path, force=force) as partial, open(partial, "w", encoding="utf-8") as stream:
        stream.write("\t".join(["id", "position", "letter", *tracks]) + "\n")
        for place, (letter, *values) in enumerate(zip(sequence, *tracks.values(), strict=True), start):
            stream.write("\t".join([name, str(place), letter, *(f"{value:.6g}" for value in values)]) + "\n")


def _ordered(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Sorted by place, after a look that they are in order and apart."""
    ordered = sorted(stretches, key=lambda stretch: (stretch.chrom, stretch.start))
    behind = ("", 0)
    for chrom, start, values in ordered:
        if start < (behind[1] if chrom == behind[0] else 0):
            problem = "begins before its chromosome" if start < 0 else f"overlaps what ends at {behind[1]:,}"
            raise IntervalError(
                f"the stretch {chrom}:{start:,}-{start + len(values):,} {problem}",
                remedy="Give each place of the genome one value",
            )
        behind = (chrom, start + len(values))
    return ordered


def _runs(values: NDArray[np.floating[Any]]) -> Iterable[tuple[int, int, float]]:
    """Start, end and value of each run of equal values."""
    if not len(values):
        return
    edges = np.flatnonzero(np.diff(values)) + 1
    for left, right in zip([0, *edges.tolist()], [*edges.tolist(), len(values)], strict=True):
        yield left, right, float(values[left])
