"""A genome cut into bins, and which of them peaks make positive."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.data.intervals import Intervals, Union
from seqclass.data.store import Indices
from seqclass.errors import IntervalError, SourceError


class BinAxis:
    """All bins of all chromosomes in one row: each chromosome begins with a new bin, and its last may be partial.

    Args:
        lengths: Names of the chromosomes and their lengths in bp.
        bin: In bp.

    Attributes:
        first: `(chromosomes,)` the number of each chromosome's first bin.
        chrom: `(bins,)` the chromosome of each bin.
    """

    def __init__(self, lengths: Mapping[str, int], bin: int) -> None:
        self.bin = bin
        self.names = list(lengths)
        self.length = np.array(list(lengths.values()), dtype=np.int64)
        bins = -(-self.length // bin)
        if bins.sum() >= 2**31:
            raise SourceError(f"{bins.sum():,} bins are more than can be numbered", remedy="Choose a larger --bin")
        self.first = np.cumsum(bins) - bins
        self.chrom = np.repeat(np.arange(len(bins), dtype=np.int32), bins)

    @property
    def origin(self) -> Indices:
        """Where on the axis each chromosome begins, in bp."""
        return self.first * self.bin

    def local(self, bins: Indices) -> Indices:
        """Where on their chromosomes bins begin, in bp."""
        begin: Indices = bins * self.bin - self.origin[self.chrom[bins]]
        return begin

    def place(self, intervals: Intervals, matched: Mapping[str, str]) -> tuple[Indices, Indices, Indices]:
        """Start, end and summit on the axis of the intervals that lie on its chromosomes.

        Raises:
            IntervalError: One reaches over its chromosome's end.
        """
        index = {name: number for number, name in enumerate(self.names)}
        chrom_of = np.array([index.get(matched.get(name, ""), -1) for name in intervals.chroms], dtype=np.int64)
        intervals = intervals[chrom_of[intervals.chrom] >= 0]
        chrom = chrom_of[intervals.chrom]
        outside = np.flatnonzero(intervals.end > self.length[chrom])
        if len(outside):
            row = outside[0]
            raise IntervalError(
                f"the interval {intervals.start[row]}-{intervals.end[row]} lies outside chromosome "
                f"{intervals.chroms[intervals.chrom[row]]}, which has {self.length[chrom[row]]} bp",
                remedy="Probably it was called on another build of the genome: give that genome, or lift it over",
                file=intervals.path,
                record=int(intervals.line[row]),
            )
        origin = self.origin[chrom]
        summit = np.where(intervals.summit >= 0, intervals.summit + origin, -1)
        return intervals.start + origin, intervals.end + origin, summit


class LabelRule(NamedTuple):
    """Which bins a peak makes positive: by auto, summit, midpoint or overlap of more than `share` of the bin."""

    kind: str
    share: Fraction = Fraction(1, 2)

    @classmethod
    def parse(cls, text: str) -> LabelRule:
        """The rule that `auto`, `summit`, `midpoint` or `overlap:0.5` names.

        Raises:
            SourceError: It is none of these.
        """
        kind, _, share = text.partition(":")
        if kind in ("auto", "summit", "midpoint") and not share:
            return cls(kind)
        if kind == "overlap" and re.fullmatch(r"0?\.\d+|0", share):
            return cls(kind, Fraction(share))
        raise SourceError(
            f"--label-rule is '{text}'", remedy="Choose auto, summit, midpoint, or overlap:F with F from 0 to below 1"
        )

    def positive_bins(
        self, start: Indices, end: Indices, summit: Indices, bin: int
    ) -> tuple[NDArray[np.int64], dict[str, int]]:
        """The bins that one target's peaks make positive, and how many peaks were read by which rule.

        Args:
            start: `(peaks,)` first positions on an axis of which bin i is `[i * bin, (i + 1) * bin)`.
            end: `(peaks,)` positions behind the last.
            summit: `(peaks,)` positions of the summits, -1 where there is none.
            bin: In bp.

        Returns:
            Bin numbers, sorted and distinct; peaks by `overlap`, `summit` and `midpoint`.
        """
        wide = np.full(len(start), self.kind == "overlap") if self.kind != "auto" else end - start > bin
        peaked = ~wide & (summit >= 0) & (self.kind != "midpoint")
        point = np.where(peaked, summit, (start + end) // 2)[~wide]
        union = Union(start[wide], end[wide])
        touched = np.unique(_ranges(union.start // bin, (union.end - 1) // bin + 1))
        enough = union.covered(touched * bin, (touched + 1) * bin) > math.floor(self.share * bin)
        counts = {"overlap": wide.sum(), "summit": peaked.sum(), "midpoint": len(point) - peaked.sum()}
        return np.union1d(point // bin, touched[enough]), {kind: int(count) for kind, count in counts.items()}


def _ranges(begin: Indices, end: Indices) -> Indices:
    """All of begin[0], ..., end[0] - 1, begin[1], ..., end[1] - 1, ..."""
    size = end - begin
    return np.repeat(begin - (np.cumsum(size) - size), size) + np.arange(size.sum())
