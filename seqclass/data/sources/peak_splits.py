"""Which bins of a genome become samples, and of which split: no base is seen in two splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens
from seqclass.data.bins import BinAxis
from seqclass.data.chromosomes import ChromosomeNames, listing, same_chromosome
from seqclass.data.intervals import Union, parse_region
from seqclass.data.store import SPLITS
from seqclass.errors import IntervalError

Mask = NDArray[np.bool_]


def _resolve(name: str, option: str, chromosomes: ChromosomeNames, matched: Mapping[str, str]) -> str:
    own = chromosomes.find([name]).get(name) or matched.get(name)
    if own is None:
        raise IntervalError(
            f"{option} names chromosome '{name}', which the genome does not have",
            remedy=f"Name one of {listing(chromosomes.names, 30)}",
            file=chromosomes.file,
        )
    return own


def exclude(
    wanted: Sequence[str],
    chromosomes: ChromosomeNames,
    matched: Mapping[str, str],
    places: Mapping[str, tuple[Path, int]],
) -> set[str]:
    """The names, the genome's and those that only the peaks have, of the chromosomes that are left out.

    Raises:
        IntervalError: One is neither the genome's nor the peaks'.
    """
    excluded: set[str] = set()
    for name in wanted:
        only_peaks = {other for other in places if other not in matched and same_chromosome(name, other)}
        excluded |= only_peaks or {_resolve(name, "--exclude-chroms", chromosomes, matched)}
    return excluded


def held_out(
    split: str,
    chroms: Sequence[str],
    regions: Sequence[str],
    axis: BinAxis,
    chromosomes: ChromosomeNames,
    matched: Mapping[str, str],
) -> Union:
    """Where on the axis a split's regions lie, whole chromosomes among them.

    Raises:
        IntervalError: A chromosome is not the genome's or is excluded, or a region reaches over its end.
    """
    starts: list[int] = []
    ends: list[int] = []
    wanted: list[tuple[str, str, int, int | None]] = [(chrom, f"--{split}-chroms", 0, None) for chrom in chroms]
    wanted += [(r.chrom, f"--{split}-regions", r.start, r.end) for r in map(parse_region, regions)]
    for chrom, option, start, end in wanted:
        own = _resolve(chrom, option, chromosomes, matched)
        if own not in axis.names:
            raise IntervalError(
                f"chromosome '{chrom}' of {option} is excluded", remedy="Leave it out of one of the two options"
            )
        index = axis.names.index(own)
        length = int(axis.length[index])
        if end is not None and end > length:
            raise IntervalError(
                f"the region {chrom}:{start + 1}-{end} of {option} lies outside its chromosome, which has {length} bp",
                remedy="Give a region of this genome",
                file=chromosomes.file,
            )
        starts.append(int(axis.origin[index]) + start)
        ends.append(int(axis.origin[index]) + (length if end is None else end))
    return Union(starts, ends)


def refuse_common(valid: Union, test: Union, axis: BinAxis) -> None:
    """Raises IntervalError where the two held-out splits overlap."""
    common = np.flatnonzero(valid.covered(test.start, test.end))
    if len(common):
        chrom = axis.names[axis.chrom[test.start[common[0]] // axis.bin]]
        raise IntervalError(
            f"part of chromosome {chrom} is both in the validation and in the test split",
            remedy="Hold each chromosome or region out for one of the two",
        )


class Fate(NamedTuple):
    """What becomes of the bins of a chromosome: which are kept, in which split, how many were dropped and why."""

    kept: Mask
    split: NDArray[np.uint8]
    dropped: Counter[str]


def judge(
    axis: BinAxis,
    index: int,
    tokens: Tokens,
    window: int,
    max_n: float,
    blacklisted: Union,
    regions: tuple[Union, Union],
) -> tuple[slice, Fate]:
    """Which bins of a chromosome become samples of which split; also the rows that they take among all bins.

    Args:
        axis: All bins.
        index: The chromosome's, among those of the axis.
        tokens: Of the chromosome, `(length,)`.
        window: What a model sees, in bp, centred on the bin.
        max_n: The largest share of N in a window that is kept.
        blacklisted: On the axis; bins that touch it are dropped.
        regions: Where on the axis the validation and the test split lie.
    """
    origin, limit = int(axis.origin[index]), int(axis.origin[index]) + len(tokens)
    begin = np.arange(origin, limit, axis.bin)
    end = begin + axis.bin
    flank = (window - axis.bin) // 2
    low, high = np.maximum(begin - flank, origin), np.minimum(end + flank, limit)

    is_n = np.zeros(len(tokens) + 2, dtype=bool)
    is_n[1:-1] = tokens == DNA.unknown_token
    edges = np.flatnonzero(is_n[1:] != is_n[:-1])
    unknown = Union(origin + edges[::2], origin + edges[1::2])
    num_n = window - (high - low) + unknown.covered(low, high)

    valid, test = regions
    in_valid, in_test = (region.covered(begin, end) == axis.bin for region in (valid, test))
    split = np.select([in_valid, in_test], [SPLITS.index("valid"), SPLITS.index("test")]).astype(np.uint8)

    kept = end <= limit
    dropped: Counter[str] = Counter()

    def drop(reason: str, bad: Mask) -> None:
        dropped[reason] += int((kept & bad).sum())
        kept[bad] = False

    def touches(region: Union, inside: Mask) -> Mask:
        seen = Union(low[kept & inside], high[kept & inside])
        touching: Mask = region.covered(low, high) + seen.covered(low, high) > 0
        return touching

    drop("the blacklist touches them", blacklisted.covered(begin, end) > 0)
    drop(f"more than {max_n:g} of the window is N", num_n > max_n * window)
    touches_test = touches(test, in_test)
    drop("a validation window touches the test split", in_valid & touches_test)
    drop("a training window touches a held-out split", (split == 0) & (touches_test | touches(valid, in_valid)))
    rows = slice(int(axis.first[index]), int(axis.first[index]) + len(begin))
    return rows, Fate(kept, split, +dropped)
