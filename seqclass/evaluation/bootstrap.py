"""Block bootstrap: the metrics of test sets drawn anew, block by block, from the one at hand.

A replicate draws as many blocks as there are, with replacement, so that each of a block's samples counts as often as
its block was drawn (Efron 1979; Kuensch 1989, https://doi.org/10.1214/aos/1176347265). Nothing is sorted again: each
target is ranked once, and what replicates differ in, the weights, enters as one sparse matrix product for all of them.
The same draw serves all that is compared, so that replicates of two models are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import stdtrit

from seqclass.evaluation.blocks import Blocks
from seqclass.evaluation.multilabel import Floats, Labels, Scores
from seqclass.metrics import MISSING, ClassCounts
from seqclass.metrics.columns import map_targets

LEVEL = 0.95
"""The share of intervals that hold the true value."""

# Few targets can afford the most. Of DeepSEA's 919 targets on 227,512 loci the least are affordable.
_MOST, _LEAST, _WORK = 1000, 100, 10_000_000_000

# Numbers in the table of weights, half a gigabyte, where the least do not need more.
_MOST_WEIGHTS = 1 << 27

# Numbers in one of the tables of a target, or a group, and some replicates.
_NUMBERS_AT_ONCE = 1 << 22

Weights = NDArray[np.float32]


class Draw(NamedTuple):
    """How often each replicate drew each block.

    Args:
        blocks: Of the samples.
        weights: `(blocks, replicates)`, whole numbers; in single precision, which holds them exactly.
    """

    blocks: Blocks
    weights: Weights

    @property
    def replicates(self) -> int:
        """How many test sets were drawn."""
        return int(self.weights.shape[1])

    @property
    def about(self) -> dict[str, Any]:
        """How intervals are made, as JSON can hold it."""
        return {
            "replicates": self.replicates,
            "blocks": self.blocks.number,
            "block": self.blocks.kind,
            "level": LEVEL,
        }


class RankingReplicates(NamedTuple):
    """AUROC and average precision of each target in each replicate, `(targets, replicates)`, NaN where undefined."""

    auroc: Floats
    average_precision: Floats


def draw_blocks(blocks: Blocks, targets: int, *, replicates: int | None = None, seed: int = 0) -> Draw:
    """Draws test sets.

    Args:
        blocks: Of the samples.
        targets: How many targets are to be ranked, which limits how many replicates are affordable.
        replicates: How many test sets. Default: from 1,000 down to 100, the more samples and targets the fewer.
        seed: Of the draw.
    """
    if replicates is None:
        affordable = min(_WORK // max(1, len(blocks.index) * targets), _MOST_WEIGHTS // max(1, blocks.number))
        replicates = int(np.clip(affordable, _LEAST, _MOST))
    random, number = np.random.default_rng(seed), blocks.number
    weights = np.empty((number, replicates), dtype=np.float32)
    for replicate in range(replicates):
        weights[:, replicate] = np.bincount(random.integers(0, number, number), minlength=number)
    return Draw(blocks, weights)


def resample_ranking(labels: Labels, scores: Scores, draw: Draw) -> RankingReplicates:
    """AUROC and average precision of each target in each replicate.

    Args:
        labels: `(samples, targets)` ones and zeros, -1 where one is missing.
        scores: `(samples, targets)`.
        draw: Of the samples' blocks.
    """

    def resample(target: int, labels: NDArray[Any], scores: NDArray[Any]) -> tuple[Floats, Floats]:
        return _resample_target(labels, scores, draw)

    pairs = map_targets(resample, labels, scores)
    table = np.array(pairs, dtype=np.float64).reshape(len(pairs), 2, draw.replicates)
    return RankingReplicates(table[:, 0], table[:, 1])


def _resample_target(labels: NDArray[Any], scores: NDArray[Any], draw: Draw) -> tuple[Floats, Floats]:
    positive, block = np.flatnonzero(labels == 1), draw.blocks.index
    undefined = np.full(draw.replicates, np.nan)
    if not len(positive):
        return undefined, undefined
    levels, level = np.unique(scores[positive], return_inverse=True)
    # Negatives below all positives are never in the way, and mostly the many.
    rival = np.flatnonzero((labels == 0) & (scores >= levels[0]))
    rival = rival[np.argsort(scores[rival])]
    cell = np.searchsorted(levels, scores[rival], "left") + np.searchsorted(levels, scores[rival], "right") - 1
    # Counted from the top, a negative is in cell 2k where it lies right above level k, and in 2k + 1 where it ties.
    positives_of = _counts(len(levels) - 1 - level, block[positive], (len(levels), draw.blocks.number))
    negatives_of = _counts(2 * len(levels) - 1 - cell, block[rival], (2 * len(levels), draw.blocks.number))
    all_negatives = np.bincount(block[labels == 0], minlength=draw.blocks.number).astype(np.float32)
    auroc, average_precision = np.empty((2, draw.replicates))
    step = max(1, _NUMBERS_AT_ONCE // len(levels))
    for begin in range(0, draw.replicates, step):
        part = slice(begin, begin + step)
        weights = np.ascontiguousarray(draw.weights[:, part])
        here, passed = positives_of @ weights, negatives_of @ weights
        np.cumsum(passed, axis=0, out=passed)
        above, false_alarms = passed[::2], passed[1::2]
        hits, negatives = np.cumsum(here, axis=0), all_negatives @ weights
        found = hits + false_alarms
        precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            twice_wrong = (here * (above + false_alarms)).sum(axis=0, dtype=np.float64)
            auroc[part] = 1 - twice_wrong / (2 * hits[-1].astype(np.float64) * negatives)
            average_precision[part] = (here * precision).sum(axis=0, dtype=np.float64) / hits[-1]
        average_precision[part][(negatives == 0) | (hits[-1] == 0)] = np.nan
    return auroc, average_precision


def resample_classes(
    truth: NDArray[np.integer[Any]],
    calls: NDArray[np.integer[Any]],
    num_classes: int,
    draw: Draw,
    figures: Callable[[ClassCounts], dict[str, Floats]],
) -> dict[str, Floats]:
    """Figures of one call a sample, in each replicate, `(replicates,)` each.

    Args:
        truth: `(samples,)`, the true class; -1 where it is missing.
        calls: `(samples,)`, the called one.
        num_classes: How many there are.
        draw: Of the samples' blocks.
        figures: What is computed from the counts, whose second axis is replicates.
    """
    known = np.flatnonzero(truth != MISSING)
    right = known[truth[known] == calls[known]]
    shape = num_classes, draw.blocks.number
    counts = [
        _counts(of[rows], draw.blocks.index[rows], shape)
        for of, rows in ((truth, known), (calls, known), (truth, right))
    ]
    step, parts = max(1, _NUMBERS_AT_ONCE // num_classes), []
    for begin in range(0, draw.replicates, step):
        weights = np.ascontiguousarray(draw.weights[:, begin : begin + step])
        parts.append(figures(ClassCounts(*(count @ weights for count in counts))))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(
    estimate: float, replicates: Floats, blocks: int, *, lowest: float = 0.0, highest: float = 1.0
) -> list[float] | None:
    """The 95 % interval around a figure, lower and upper end, None where it is undefined or there is only one block.

    The figure less its bias, plus and minus its standard error times Student's t, bias and error being those of the
    replicates around it (Davison and Hinkley 1997, section 5.2). The average precision of few positives is too high on
    average, in replicates more so, and percentiles of these would be off by the bias twice.

    Where a figure is as good, or as bad, as can be in every replicate, these say nothing of errors too rare to be seen.
    The other end then is where accuracy would be if so many blocks were of the other kind that 39 test sets of 40 would
    show one, as Clopper and Pearson's is (1934, https://doi.org/10.1093/biomet/26.4.404).

    Args:
        estimate: From the samples as they are.
        replicates: `(replicates,)`, NaN where undefined.
        blocks: How many there are; one less are the degrees of freedom.
        lowest: The figure's least possible value.
        highest: And its greatest.
    """
    defined = replicates[~np.isnan(replicates)]
    if np.isnan(estimate) or blocks < 2 or 2 * len(defined) <= len(replicates):
        return None
    if estimate in (lowest, highest) and (defined == estimate).all():
        unseen = (highest - lowest) * (1 - ((1 - LEVEL) / 2) ** (1 / blocks))
        return [max(estimate - unseen, lowest), min(estimate + unseen, highest)]
    error = float(defined.std()) * math.sqrt(blocks / (blocks - 1))
    middle = 2 * estimate - float(defined.mean())
    reach = float(stdtrit(blocks - 1, (1 + LEVEL) / 2)) * error
    return [min(max(end, lowest), highest) for end in (middle - reach, middle + reach)]


def mean_over(targets: NDArray[np.bool_], replicates: Floats) -> Floats:
    """The mean over some targets in each replicate, `(replicates,)`, of those defined in it."""
    chosen = replicates[targets]
    defined = (~np.isnan(chosen)).sum(axis=0)
    total = np.nansum(chosen, axis=0)
    mean: Floats = np.full(len(total), np.nan)
    np.divide(total, defined, out=mean, where=defined > 0)
    return mean


def _counts(row: NDArray[Any], block: NDArray[Any], shape: tuple[int, int]) -> csr_matrix:
    """How many samples of each block fall into each row."""
    return csr_matrix((np.ones(len(row), dtype=np.float32), (row, block)), shape=shape)
