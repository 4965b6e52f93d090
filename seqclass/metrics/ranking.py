"""Exact AUROC, average precision and max-F1: how well scores rank the positives above the negatives.

They follow from one question asked of every positive: how many positives and how many negatives score at least as high?
Two plain sorts and a binary search answer it. Ties need no care of their own, scores of any precision are compared as
they are, and for rare positives the search is short. Definitions as in scikit-learn: AUROC counts a tie as half,
average precision is the step-wise sum (Fawcett 2006, https://doi.org/10.1016/j.patrec.2005.10.010; Davis and Goadrich
2006, https://doi.org/10.1145/1143844.1143874), not the area under a straight-line interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.errors import EvaluationError
from seqclass.metrics.columns import map_targets

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

# What stands for a label that is not known.
MISSING = -1


@dataclass(frozen=True)
class Curve:
    """What is found at the threshold that each positive sets, from the highest score to the lowest.

    Args:
        thresholds: `(positives,)`, the positives' scores, falling.
        hits: `(positives,)`, how many positives score at least as high.
        false_alarms: `(positives,)`, how many negatives score at least as high.
        false_alarms_above: `(positives,)`, how many negatives score strictly higher.
        num_negatives: How many negatives there are in all.
    """

    thresholds: NDArray[Any]
    hits: Counts
    false_alarms: Counts
    false_alarms_above: Counts
    num_negatives: int

    @property
    def defined(self) -> bool:
        """Whether there are both positives and negatives."""
        return len(self.hits) > 0 and self.num_negatives > 0

    @property
    def auroc(self) -> float:
        """The chance that a positive outscores a negative, a tie counting half; NaN where either is missing."""
        if not self.defined:
            return float("nan")
        twice_higher = int(self.false_alarms.sum()) + int(self.false_alarms_above.sum())
        return 1 - twice_higher / (2 * len(self.hits) * self.num_negatives)

    @property
    def average_precision(self) -> float:
        """The mean over positives of the precision at their threshold; NaN without positives or negatives."""
        return float(self._precision.mean()) if self.defined else float("nan")

    @property
    def max_f1(self) -> float:
        """The highest F1 of any threshold; NaN without positives or negatives."""
        return float(self._f1.max()) if self.defined else float("nan")

    @property
    def max_f1_threshold(self) -> float:
        """The score from which on samples are called where F1 is highest, the highest such; NaN where undefined."""
        return float(self.thresholds[self._f1.argmax()]) if self.defined else float("nan")

    @property
    def _f1(self) -> Floats:
        # Between two positives F1 only falls with the threshold, so that none but theirs need be looked at.
        return 2 * self.hits / (self.hits + self.false_alarms + len(self.hits))

    @property
    def _precision(self) -> Floats:
        return self.hits / (self.hits + self.false_alarms)

    def roc(self) -> tuple[Floats, Floats]:
        """False and true positive rate at the corners of the ROC curve, from (0, 0) to (1, 1), if it is defined."""
        distinct = np.concatenate([[True], self.hits[1:] != self.hits[:-1]])
        hits = self.hits[distinct] / len(self.hits)
        up = np.stack([np.concatenate([[0.0], hits[:-1]]), hits], axis=1)
        across = np.stack([self.false_alarms_above[distinct], self.false_alarms[distinct]], axis=1)
        return (
            np.concatenate([[0.0], across.ravel() / self.num_negatives, [1.0]]),
            np.concatenate([[0.0], up.ravel(), [1.0]]),
        )

    def precision_recall(self) -> tuple[Floats, Floats]:
        """Recall (rising) and the precision that holds up to it, one entry a positive."""
        return self.hits / len(self.hits), self._precision


class RankingMetrics(NamedTuple):
    """AUROC, average precision and the highest F1 of any threshold, of many targets, `(targets,)` each."""

    auroc: Floats
    average_precision: Floats
    max_f1: Floats


def rank(labels: NDArray[Any], scores: NDArray[Any]) -> Curve:
    """Ranks the samples of one target by score.

    Args:
        labels: `(samples,)` zeros and ones.
        scores: `(samples,)`, higher meaning more likely positive; infinities are ranked as such.

    Raises:
        EvaluationError: Shapes differ, a label is neither 0 nor 1, or a score is NaN.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise EvaluationError(
            f"labels have shape {labels.shape} and scores {scores.shape}, where both should be (samples,)",
            remedy="Pass one label and one score a sample",
        )
    positive = labels == 1
    if np.count_nonzero(labels) != np.count_nonzero(positive):
        sample = int(np.flatnonzero((labels != 0) & ~positive)[0])
        raise EvaluationError(
            f"the label is {labels[sample]}, where 0 or 1 is expected",
            record=f"sample {sample} (counted from 0)",
            remedy="Turn the labels into zeros and ones",
        )
    # Taking by index is several times faster than by mask where classes are mixed.
    positives, negatives = np.sort(scores[np.flatnonzero(positive)]), np.sort(scores[np.flatnonzero(~positive)])
    if np.isnan(positives[-1:]).any() or np.isnan(negatives[-1:]).any():
        sample = int(np.flatnonzero(np.isnan(scores))[0])
        raise EvaluationError(
            "the score is NaN, which has no rank",
            record=f"sample {sample} (counted from 0)",
            remedy="Look for a diverged training run, or for an overflow in half precision",
        )
    return Curve(
        thresholds=positives[::-1],
        hits=(len(positives) - np.searchsorted(positives, positives, "left"))[::-1],
        false_alarms=(len(negatives) - np.searchsorted(negatives, positives, "left"))[::-1],
        false_alarms_above=(len(negatives) - np.searchsorted(negatives, positives, "right"))[::-1],
        num_negatives=len(negatives),
    )


def auroc(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Area under the ROC curve of one target; arguments and errors as in `rank`, NaN where a class is missing."""
    return rank(labels, scores).auroc


def average_precision(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Average precision of one target; arguments and errors as in `rank`, NaN where a class is missing."""
    return rank(labels, scores).average_precision


def rank_targets(labels: NDArray[Any], scores: NDArray[Any], within: NDArray[np.bool_] | None = None) -> RankingMetrics:
    """AUROC, average precision and max-F1 of every target; NaN for one without positives or without negatives.

    Args:
        labels: `(samples, targets)` zeros and ones; -1 where a label is missing, which leaves the sample out for that
            target.
        scores: `(samples, targets)`, higher meaning more likely positive.
        within: `(samples,)`; only samples where this is true are ranked. Default: all.

    Raises:
        EvaluationError: Shapes differ, a label is neither 0 nor 1, or a score is NaN.
    """
    rows = None if within is None or within.all() else np.flatnonzero(within)

    def measure(target: int, labels: NDArray[Any], scores: NDArray[Any]) -> tuple[float, float, float]:
        curve = _rank_column(target, labels, scores)
        return curve.auroc, curve.average_precision, curve.max_f1

    table = np.array(map_targets(measure, np.asarray(labels), np.asarray(scores), rows), dtype=np.float64)
    return RankingMetrics(*table.reshape(-1, 3).T)


def _rank_column(column: int, labels: NDArray[Any], scores: NDArray[Any]) -> Curve:
    missing = labels == MISSING
    if missing.any():
        labels, scores = labels[~missing], scores[~missing]
    try:
        return rank(labels, scores)
    except EvaluationError as error:
        raise EvaluationError(error.problem, record=f"target {column}, {error.record}", remedy=error.remedy) from None
