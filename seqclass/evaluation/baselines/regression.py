"""Regularised regressions on features of samples, with everything about them chosen on validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqclass.data.store import Indices, Store
from seqclass.evaluation.baselines.linear import Linear, PrincipalAxes, choose_strength, fit_logistic, fit_ridge
from seqclass.metrics import MISSING
from seqclass.progress import track

_BLOCK = 4096

Features = NDArray[np.float32]

FeaturesOf = Callable[[Indices, float], Features]
"""Features `(samples, features)` of samples, for one value of an option."""


class Fitted(NamedTuple):
    """Features ready to be fitted: how they are made, the option's value, and those of train and of validation."""

    features_of: FeaturesOf
    value: float
    axes: PrincipalAxes
    valid: Tensor


class Regression:
    """Fits on some training samples and chooses on some validation samples of a store.

    Args:
        store: Of both.
        train: Indices of training samples.
        valid: Indices of validation samples.
        prevalence: `(targets,)`, what a missing label counts as in training.
    """

    def __init__(self, store: Store, train: Indices, valid: Indices, prevalence: Features) -> None:
        self.store, self.train, self.valid = store, train, valid
        labels = store.known_labels(train)
        missing = labels == MISSING
        self.labels: NDArray[Any] = np.where(missing, prevalence, labels) if missing.any() else labels
        self.valid_labels = store.known_labels(valid)

    def prepare(self, features_of: FeaturesOf, values: Sequence[float], what: str) -> Fitted:
        """Features for that value of their option at which ridge regression does best on validation.

        Ridge regression has a closed form, and is good enough to tell.
        """

        def prepared(value: float) -> Fitted:
            axes = PrincipalAxes(torch.from_numpy(features_of(self.train, value)))
            return Fitted(features_of, value, axes, torch.from_numpy(features_of(self.valid, value)))

        def precision_at(value: float) -> float:
            fitted = prepared(value)
            return self._choose(fit_ridge(fitted.axes, self.labels), fitted, f"{what} at {value:g}")[2]

        return prepared(max(values, key=precision_at) if len(values) > 1 else values[0])

    def logistic(self, fitted: Fitted, samples: Indices, what: str) -> tuple[Tensor, dict[str, Any]]:
        """Logits `(samples, targets)` of logistic regressions, and what was chosen."""
        return self._scores(fit_logistic(fitted.axes, self.labels), fitted, samples, what)

    def number_of_labels(self, fitted: Fitted, samples: Indices) -> tuple[Tensor, dict[str, Any]]:
        """Ridge regression of how many labels a sample carries, `(samples, 1)`, and what was chosen."""
        number = self.labels.sum(axis=1, dtype=np.float64)[:, None]
        return self._scores(fit_ridge(fitted.axes, number), fitted, samples, "number of labels")

    def _scores(
        self, path: Iterator[tuple[float, Linear]], fitted: Fitted, samples: Indices, what: str
    ) -> tuple[Tensor, dict[str, Any]]:
        model, strength, precision = self._choose(path, fitted, what)
        begins = range(0, len(samples), _BLOCK)
        parts = [
            model(torch.from_numpy(fitted.features_of(samples[begin : begin + _BLOCK], fitted.value)))
            for begin in track(begins, f"Scoring {what}", len(begins), "blocks")
        ]
        return torch.cat(parts), {"strength": strength, "valid_average_precision": precision}

    def _choose(self, path: Iterator[tuple[float, Linear]], fitted: Fitted, what: str) -> tuple[Linear, float, float]:
        followed = track(path, f"Fitting {what}", unit="strengths")
        return choose_strength(followed, fitted.valid, self.valid_labels, self.store)
