"""What follows from counts of calls, right and wrong: accuracy, precision, recall, F1, Matthews' correlation.

All figures of one set of calls derive from three counts a class: how many samples are of it, how many were called it,
and how many were both. The counts may carry a further axis, of bootstrap replicates say, which all figures then have.
Where a figure would be 0/0 it is 0, as in scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any] | np.integer[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassCounts:
    """The calls of one class out of several for each sample; arrays are `(classes,)` or `(classes, replicates)`.

    Args:
        support: How many samples are of each class.
        called: How many were called it.
        hits: How many were both.
    """

    support: Numbers
    called: Numbers
    hits: Numbers

    @classmethod
    def of(cls, truth: NDArray[np.integer[Any]], calls: NDArray[np.integer[Any]], num_classes: int) -> ClassCounts:
        """Counts of the true and the called class of each sample, `(samples,)` each."""
        right = truth == calls
        return cls(*(np.bincount(each, minlength=num_classes) for each in (truth, calls, truth[right])))

    @property
    def recall(self) -> Floats:
        """The share of each class's samples that are called it."""
        return _ratio(self.hits, self.support)

    @property
    def precision(self) -> Floats:
        """The share of what is called each class that is of it."""
        return _ratio(self.hits, self.called)

    @property
    def f1(self) -> Floats:
        """The harmonic mean of precision and recall of each class."""
        return _ratio(2 * self.hits, self.support + self.called)

    @property
    def accuracy(self) -> Floats:
        """The share of right calls, which is also the micro-averaged precision, recall and F1.

        Of three states of secondary structure it is called Q3, of ten locations Q10.
        """
        return _ratio(self.hits.sum(axis=0), self.support.sum(axis=0))

    @property
    def balanced_accuracy(self) -> Floats:
        """The mean recall of the classes that occur."""
        return _ratio(self.recall.sum(axis=0), (self.support > 0).sum(axis=0))

    @property
    def macro_f1(self) -> Floats:
        """The mean F1 of the classes that occur or are called."""
        return _ratio(self.f1.sum(axis=0), ((self.support > 0) | (self.called > 0)).sum(axis=0))

    @property
    def weighted_f1(self) -> Floats:
        """The mean F1 weighted by support."""
        return _ratio((self.f1 * self.support).sum(axis=0), self.support.sum(axis=0))

    @property
    def mcc(self) -> Floats:
        """Matthews' correlation coefficient, for several classes in Gorodkin's form.

        The correlation of the two indicator matrices (Gorodkin 2004,
        https://doi.org/10.1016/j.compbiolchem.2004.09.006); 0 where all samples are of, or called, one class.
        """
        support, called = self.support.astype(np.float64), self.called.astype(np.float64)
        samples = support.sum(axis=0)
        covariance = self.hits.sum(axis=0) * samples - (support * called).sum(axis=0)
        spread = [samples**2 - (each**2).sum(axis=0) for each in (support, called)]
        return _ratio(covariance, np.sqrt(spread[0] * spread[1]))


@dataclass(frozen=True)
class BinaryCounts:
    """The calls of yes or no, each target by itself; arrays are `(targets,)`.

    Args:
        known: Of how many samples it is known whether they carry the target.
        support: How many carry it.
        called: How many of those known were called it.
        hits: How many were both.
    """

    known: Numbers
    support: Numbers
    called: Numbers
    hits: Numbers

    @classmethod
    def of(cls, labels: NDArray[np.integer[Any]], scores: NDArray[Any], thresholds: NDArray[Any]) -> BinaryCounts:
        """Counts of scores at or above a threshold.

        Args:
            labels: `(samples, targets)` ones and zeros, -1 where one is missing.
            scores: `(samples, targets)`.
            thresholds: `(targets,)`.
        """
        known, support, called, hits = np.zeros((4, labels.shape[1]), dtype=np.int64)
        # A score of single precision that was read from as many digits lies at its threshold, not beside it.
        thresholds = np.asarray(thresholds).astype(scores.dtype)
        rows = max(1, (1 << 24) // max(1, labels.shape[1]))
        for begin in range(0, len(labels), rows):
            block = labels[begin : begin + rows]
            yes, call = block == 1, (scores[begin : begin + rows] >= thresholds) & (block >= 0)
            known += (block >= 0).sum(axis=0)
            support += yes.sum(axis=0)
            called += call.sum(axis=0)
            hits += (yes & call).sum(axis=0)
        return cls(known, support, called, hits)

    @property
    def recall(self) -> Floats:
        """The share of the samples that carry the target which are called it."""
        return _ratio(self.hits, self.support)

    @property
    def precision(self) -> Floats:
        """The share of what is called the target that carries it."""
        return _ratio(self.hits, self.called)

    @property
    def f1(self) -> Floats:
        """The harmonic mean of precision and recall."""
        return _ratio(2 * self.hits, self.support + self.called)

    @property
    def accuracy(self) -> Floats:
        """The share of right calls."""
        return _ratio(self._hits_by_class.sum(axis=0), self.known)

    @property
    def balanced_accuracy(self) -> Floats:
        """The mean of the share of carriers that are called and the share of others that are not."""
        return self._as_classes.balanced_accuracy

    @property
    def mcc(self) -> Floats:
        """Matthews' correlation coefficient."""
        return self._as_classes.mcc

    def micro(self, chosen: NDArray[np.bool_]) -> dict[str, float]:
        """Precision, recall and F1 of the chosen targets' calls taken together."""
        hits, called, support = (int(each[chosen].sum()) for each in (self.hits, self.called, self.support))
        ratios = {"precision": (hits, called), "recall": (hits, support), "f1": (2 * hits, called + support)}
        return {name: over / under if under else 0.0 for name, (over, under) in ratios.items()}

    @property
    def _as_classes(self) -> ClassCounts:
        support, called = (np.stack([self.known - each, each]) for each in (self.support, self.called))
        return ClassCounts(support, called, self._hits_by_class)

    @property
    def _hits_by_class(self) -> Numbers:
        rejected = self.known - self.support - self.called + self.hits
        return np.stack([rejected, self.hits])


def top_k_accuracy(truth: NDArray[np.integer[Any]], scores: NDArray[Any], k: int) -> float:
    """The share of samples whose true class is among the k of highest score; of equal ones, the first count.

    Args:
        truth: `(samples,)`, the true class.
        scores: `(samples, classes)`.
        k: How many guesses there are.
    """
    own = scores[np.arange(len(truth)), truth][:, None]
    earlier = np.arange(scores.shape[1]) < truth[:, None]
    before = (scores > own) | ((scores == own) & earlier)
    return float((before.sum(axis=1) < k).mean())


def _ratio(over: Any, under: Any) -> Floats:
    over, under = np.asarray(over, dtype=np.float64), np.asarray(under, dtype=np.float64)
    ratio: Floats = np.zeros(np.broadcast_shapes(over.shape, under.shape))
    np.divide(over, under, out=ratio, where=under != 0)
    return ratio
