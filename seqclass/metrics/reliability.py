"""Whether probabilities come true: Brier's score and skill, and reliability in bins of equally many samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

BINS = 10


class Reliability(NamedTuple):
    """Bins in the order of their probabilities, `(bins,)` each.

    Args:
        predicted: The mean probability in each bin.
        observed: The share of its samples for which it came true.
        samples: How many it has.
    """

    predicted: Floats
    observed: Floats
    samples: NDArray[np.int64]

    @property
    def calibration_error(self) -> float:
        """The mean over samples of their bin's distance between predicted and observed; NaN without samples."""
        if not len(self.samples):
            return float("nan")
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.samples))


def reliability(labels: Labels, probabilities: Scores, bins: int = BINS) -> Reliability:
    """Predicted and observed shares in bins of equal mass (Nguyen and O'Connor 2015, arXiv:1508.05154).

    Equal probabilities are never torn apart, so bins may be fewer or uneven, and the samples' order does not matter.

    Args:
        labels: `(samples,)` zeros and ones.
        probabilities: `(samples,)`.
        bins: How many at most.
    """
    order = np.argsort(probabilities)
    predicted, came_true = probabilities[order].astype(np.float64), labels[order]
    if not len(predicted):
        return Reliability(predicted, predicted, np.zeros(0, dtype=np.int64))
    at = np.arange(bins) * len(predicted) // bins
    first = np.unique(np.searchsorted(predicted, predicted[at]))
    count = np.diff(first, append=len(predicted))
    mean, share = (np.add.reduceat(each, first, dtype=np.float64) / count for each in (predicted, came_true))
    return Reliability(mean, share, count)


def pool(parts: list[Reliability], bins: int = BINS) -> Reliability:
    """One reliability out of those of several targets, whose bins are sorted into new ones of about equal mass."""
    predicted, observed, count = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(predicted, kind="stable")
    predicted, observed, count = predicted[order], observed[order], count[order]
    middle = np.cumsum(count) - count / 2
    first = np.unique(np.searchsorted(middle, np.arange(bins) * count.sum() / bins))
    total = np.add.reduceat(count, first)
    mean, share = (np.add.reduceat(each * count, first) / total for each in (predicted, observed))
    return Reliability(mean, share, total)


def brier_score(labels: Labels, probabilities: Scores) -> float:
    """The mean squared distance of probability and outcome (Brier 1950); NaN without samples.

    Args:
        labels: `(samples,)` zeros and ones, or `(samples, classes)` of which one is true; distances are then summed
            over classes.
        probabilities: The same shape.
    """
    distance = np.square(probabilities.astype(np.float64) - labels)
    return float(distance.sum() / len(labels)) if len(labels) else float("nan")


def brier_skill(labels: Labels, probabilities: Scores) -> float:
    """The share of the Brier score that is saved over always answering the prevalence in these same samples.

    1 is perfect, 0 no better than the prevalence, below 0 worse; NaN where the prevalence is right already.

    Args:
        labels: As in `brier_score`.
        probabilities: The same shape.
    """
    prevalence = labels.mean(axis=0)
    reference = float((prevalence * (1 - prevalence)).sum())
    return 1 - brier_score(labels, probabilities) / reference if reference > 0 else float("nan")
