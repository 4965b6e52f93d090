"""Which bins without a label stay beside those that carry one: all, none, so many at random, or so many of equal GC.

Regulatory elements are richer in GC than the rest of a genome, so that a model can tell them apart by composition
alone. Negatives with the GC content of the positives take that shortcut away (Ghandi et al., PLoS Computational Biology
2014).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens
from seqclass.data.seeds import seeded_generator
from seqclass.data.store import SPLITS, Indices
from seqclass.errors import SourceError

# A negative comes from the positive's own step of GC share, or from one of so many steps on either side.
GC_STEP, GC_REACH = 0.005, 4

_MOST_N = 0.1  # a GC share of few known bases says little
_BINS_AT_ONCE = 1 << 16

Mask = NDArray[np.bool_]
Shares = NDArray[np.float32]


class Negatives(NamedTuple):
    """How many bins without a label stay for each with one (None: all), and whether they have its GC content.

    Args:
        said: The option that asks for it, for notes and messages.
        ratio: Bins without a label for each with one, in each split.
        same_gc: Draw them by the GC share of their windows.
    """

    said: str
    ratio: float | None = None
    same_gc: bool = False

    @classmethod
    def parse(cls, keep: str, negatives: str | None = None) -> Negatives:
        """What `keep` (all, labelled or ratio:N) or `negatives` (gc:R) asks for.

        Raises:
            SourceError: One is none of these, or both choose among the bins without a label.
        """
        if negatives is None:
            if keep == "all":
                return cls("--keep all")
            ratio = 0.0 if keep == "labelled" else _number("ratio", keep)
            if ratio is None:
                raise SourceError(
                    f"--keep is '{keep}'", remedy="Choose all, labelled, or ratio:N with N unlabelled bins a labelled"
                )
            return cls(f"--keep {keep}", ratio)
        if keep != "all":
            raise SourceError(
                f"--keep {keep} and --negatives {negatives} both choose among the bins without a label",
                remedy="Leave one of them out",
            )
        ratio = _number("gc", negatives)
        if not ratio:
            raise SourceError(f"--negatives is '{negatives}'", remedy="Give gc:R, with R negatives for each positive")
        return cls(f"--negatives {negatives}", ratio, same_gc=True)

    def choose(self, labelled: Mask, split: NDArray[np.uint8], gc: Shares, seed: int) -> tuple[Mask, list[str]]:
        """Which bins stay, and sentences on it; see `draw` and `draw_same_gc`."""
        if self.ratio is None:
            return np.ones(len(labelled), dtype=bool), []
        chosen, notes = (
            draw_same_gc(gc, labelled, split, self.ratio, seed)
            if self.same_gc
            else (draw(labelled, split, self.ratio, seed), [])
        )
        if not chosen.all():
            notes.append(
                f"{self.said} left out {(~chosen).sum():,} bins without a label, in validation and test too: average "
                "precision comes out higher than on all bins"
            )
        return chosen, notes


def _number(kind: str, text: str) -> float | None:
    found = re.fullmatch(rf"{kind}:(\d{{1,9}}(?:\.\d*)?|\.\d+)", text)
    return float(found[1]) if found else None


def draw(labelled: Mask, split: NDArray[np.uint8], ratio: float, seed: int) -> Mask:
    """Which bins stay: all that are labelled, and in each split `ratio` times their number of the others."""
    chosen = labelled.copy()
    generator = seeded_generator(seed)
    for number in range(len(SPLITS)):
        others = np.flatnonzero(~labelled & (split == number))
        wanted = round(ratio * int((labelled & (split == number)).sum()))
        chosen[generator.permutation(others)[:wanted]] = True
    return chosen


def draw_same_gc(
    gc: Shares, labelled: Mask, split: NDArray[np.uint8], ratio: float, seed: int
) -> tuple[Mask, list[str]]:
    """Which bins stay: all that are labelled, and in each split `ratio` times their number of others of their GC share.

    They are drawn without replacement: first from the positive's own step of GC share, then from the nearest.

    Args:
        gc: `(bins,)` of `window_gc`; where it is NaN a bin is not drawn, and a positive gets no negatives.
        labelled: `(bins,)` the positives.
        split: `(bins,)` indices into SPLITS.
        ratio: Negatives for each positive.
        seed: Of the choice.

    Returns:
        Which bins stay; sentences on how many were found, and on how near the two distributions are.

    Raises:
        SourceError: There is no positive or not one negative with its GC share.
    """
    generator = seeded_generator(seed)
    usable = ~np.isnan(gc)
    step = np.zeros(len(gc), dtype=np.int64)
    step[usable] = gc[usable] / GC_STEP
    drawn = np.zeros(len(gc), dtype=bool)
    found: list[str] = []
    wanted_in_all = 0
    for number, name in enumerate(SPLITS):
        inside = usable & (split == number)
        others = generator.permutation(np.flatnonzero(inside & ~labelled))
        wanted = round(ratio * int((inside & labelled).sum()))
        rows = draw_near(step[inside & labelled], step[others], ratio, GC_REACH)
        drawn[others[rows]] = True
        wanted_in_all += wanted
        found += [f"{len(rows):,} of {wanted:,} {name}"] if wanted else []
    positive, rest = gc[labelled & usable], gc[usable & ~labelled]
    if not drawn.any():
        raise SourceError(
            f"no bin without a label is within {GC_STEP * GC_REACH:g} of a positive's GC share",
            remedy="Use --keep ratio:N, or drop fewer bins",
        )
    num_drawn = int(drawn.sum())
    notes = [
        f"negatives of the positives' GC share, found of those wanted: {', '.join(found)}",
        f"mean GC share: positives {positive.mean():.3f}, negatives {gc[drawn].mean():.3f}, all bins without a label "
        f"{rest.mean():.3f}; Kolmogorov-Smirnov distance from the positives: negatives "
        f"{ks_distance(positive, gc[drawn]):.3f}, all {ks_distance(positive, rest):.3f}",
    ]
    if num_drawn < wanted_in_all:
        notes.append(
            f"{wanted_in_all - num_drawn:,} negatives are missing: too few bins without a label are within "
            f"{GC_STEP * GC_REACH:g} of the positives' GC share"
        )
    if not usable.all():
        notes.append(
            f"windows with more than {_MOST_N:g} N, neither drawn nor matched: {(~usable & ~labelled).sum():,} without "
            f"a label, {(~usable & labelled).sum():,} with one"
        )
    return labelled | drawn, notes


def draw_near(positives: Indices, offered: Indices, ratio: float, reach: int) -> Indices:
    """Draws for each positive `ratio` of what is offered, from its own step of some quantity, then from the nearest.

    Args:
        positives: `(positives,)` the step of each, 0 or more.
        offered: `(negatives,)` likewise, in the order in which they are drawn within a step.
        ratio: How many for each positive.
        reach: How many steps away they may be.

    Returns:
        Rows of `offered`; fewer than wanted where there are not enough within reach.
    """
    return _nearest(_by_step(positives, ratio), offered, reach)


def _by_step(steps: Indices, ratio: float) -> Indices:
    """How many negatives each step is to give; rounded so that their sum is right."""
    counts = np.bincount(steps)
    wanted: Indices = np.diff(np.rint(ratio * np.cumsum(counts)).astype(np.int64), prepend=0)
    return wanted


def _nearest(wanted: Indices, steps: Indices, reach: int) -> Indices:
    """Rows of `steps` that fill what is wanted of each step, the nearest first, in their order within a step."""
    order = np.argsort(steps, kind="stable")
    # Steps beyond both ends, which are empty, spare a question at every turn.
    bounds = np.searchsorted(steps[order], np.arange(-reach, len(wanted) + reach + 1))
    begin, end = bounds[:-1].copy(), bounds[1:]
    missing = wanted.copy()
    taken = [order[:0]]
    for distance in range(reach + 1):
        for step in np.flatnonzero(missing):
            low, high = reach + step - distance, reach + step + distance
            left_low, left_high = end[low] - begin[low], (end[high] - begin[high]) * (distance > 0)
            total = min(missing[step], left_low + left_high)
            # From both sides alike, or the mean would move.
            from_low = min(left_low, max(total - left_high, (total + 1) // 2))
            for side, count in ((low, from_low), (high, total - from_low)):
                taken.append(order[begin[side] : begin[side] + count])
                begin[side] += count
            missing[step] -= total
    return np.concatenate(taken)


def ks_distance(first: NDArray[Any], second: NDArray[Any]) -> float:
    """The two-sample Kolmogorov-Smirnov statistic: the largest distance between two empirical distributions."""
    first, second = np.sort(first), np.sort(second)
    every = np.concatenate([first, second])
    below = [np.searchsorted(sample, every, side="right") / len(sample) for sample in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def window_gc(tokens: Tokens, window: int, bin: int) -> Shares:
    """The share of G and C among the known bases of each bin's window, `(bins,)`, the last, partial bin included.

    Args:
        tokens: `(length,)` of a chromosome.
        window: In bp, centred on the bin.
        bin: In bp.

    Returns:
        Shares from 0 to 1; NaN where more than a tenth of the window is N or lies outside the chromosome.
    """
    begin = np.arange(0, len(tokens), bin)
    flank = (window - bin) // 2
    low, high = np.maximum(begin - flank, 0), np.minimum(begin + bin + flank, len(tokens))
    share = np.full(len(begin), np.nan, dtype=np.float32)
    c, g = DNA.encode("CG")
    for first in range(0, len(begin), _BINS_AT_ONCE):
        part = slice(first, first + _BINS_AT_ONCE)
        offset = int(low[first])
        piece = tokens[offset : high[part][-1]]
        num_gc, num_known = (
            _sums((piece == c) | (piece == g), low[part] - offset, high[part] - offset),
            _sums(piece != DNA.unknown_token, low[part] - offset, high[part] - offset),
        )
        enough = num_known >= (1 - _MOST_N) * window
        np.divide(num_gc, num_known, out=share[part], where=enough, casting="unsafe")
    return share


def _sums(flags: Mask, begin: Indices, end: Indices) -> Indices:
    """How many flags are set from each `begin` to behind each `end`."""
    before = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
    counts: Indices = before[end] - before[begin]
    return counts
