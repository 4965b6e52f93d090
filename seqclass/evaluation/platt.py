"""Platt scaling of many targets at once, in which rare ones learn from the others.

Of target t, with logit z of a sample, the probability is sigmoid(exp(s_t) z + b_t) (Platt 1999). A target with three
positives says little of its own s and b. But what is wrong with a model's probabilities is mostly wrong with all of
them alike, so the pairs (s_t, b_t) are taken as draws from one Gaussian, whose mean and covariance follow from all
targets by EM on the evidence, each target's posterior being approximated at its mode (Laplace). A target is drawn to
the mean as far as its own data are weak. The logarithm of the slope keeps the map rising, whatever the data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from seqclass.metrics import MISSING

Floats = NDArray[np.floating[Any]]

# Around (0, 0), which leaves probabilities as they are, with standard deviations of a factor of e and 3 logits: what is
# thought of the Gaussian's mean before any data. Its covariance starts as if two targets had shown the second one.
_SPREAD_OF_MEAN = np.diag([1.0, 9.0])
_SPREAD, _AS_IF_SEEN = np.diag([0.25, 1.0]), 2.0

# Targets whose logits are in the processor's cache together.
_BLOCK = 16
_ITERATIONS, _EM_STEPS, _LONGEST_STEP, _TOLERANCE = 100, 50, 3.0, 1e-5


class Gaussian(NamedTuple):
    """The distribution of (log slope, intercept): mean `(2,)` and covariance `(2, 2)`."""

    mean: Floats
    covariance: Floats


class _Fit(NamedTuple):
    """Of each target, at some parameters: the log loss summed over samples, its gradient, its expected Hessian."""

    loss: Floats
    gradient: Floats
    hessian: Floats


def fit_platt(logits: Floats, labels: NDArray[np.integer[Any]], prior: Gaussian | None = None) -> Floats:
    """The log slope and intercept of each target, `(targets, 2)`, at the mode of their posterior.

    Args:
        logits: `(targets, samples)`, finite.
        labels: `(targets, samples)`, 1, 0, or -1 where one is missing.
        prior: Of all targets alike; if left out, it is learned from them.
    """
    learns, prior = prior is None, prior or Gaussian(np.zeros(2), _SPREAD_OF_MEAN + _SPREAD)
    here = np.zeros((len(logits), 2))
    fit = _measure(here, logits, labels)
    damping = np.full((len(logits), 1, 1), 1e-3)
    for _ in range(_ITERATIONS):
        if learns:
            prior = _learn(here, fit, prior)
        precision = np.linalg.inv(prior.covariance)
        gradient, hessian = fit.gradient + (here - prior.mean) @ precision, fit.hessian + precision
        step = -np.linalg.solve(hessian * (1 + damping * np.eye(2)), gradient[:, :, None])[:, :, 0]
        if np.abs(step).max() < _TOLERANCE:
            break
        there = here + _bounded(step)
        tried = _measure(there, logits, labels)
        better = tried.loss + _distance(there, prior, precision) <= fit.loss + _distance(here, prior, precision)
        here[better], damping = there[better], np.where(better[:, None, None], damping / 10, damping * 10)
        for kept, new in zip(fit, tried, strict=True):
            kept[better] = new[better]
    return here


def _measure(parameters: Floats, logits: Floats, labels: NDArray[np.integer[Any]]) -> _Fit:
    loss, gradient, hessian = np.empty(len(logits)), np.empty((len(logits), 2)), np.empty((len(logits), 2, 2))
    for begin in range(0, len(logits), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        scaled = np.exp(parameters[rows, :1]) * logits[rows]
        # What of the probability is on the wrong side, and which side that is.
        sign = np.where(labels[rows] == MISSING, 0, 1 - 2 * labels[rows].astype(np.int8)).astype(np.float64)
        margin = sign * (scaled + parameters[rows, 1:])
        wrong, known = expit(margin), np.abs(sign)
        # Where the probability rounds to 1, the surprise is still the margin.
        surprise = np.maximum(margin, -np.log1p(-np.minimum(wrong, 1 - 1e-16)))
        loss[rows] = np.einsum("tn,tn->t", known, surprise)
        residual, weight = wrong * sign, wrong * (1 - wrong) * known
        gradient[rows] = np.stack([np.einsum("tn,tn->t", residual, scaled), residual.sum(axis=1)], axis=1)
        cross = np.einsum("tn,tn->t", weight, scaled)
        square = np.einsum("tn,tn,tn->t", weight, scaled, scaled)
        hessian[rows] = np.stack([square, cross, cross, weight.sum(axis=1)], axis=1).reshape(-1, 2, 2)
    return _Fit(loss, gradient, hessian)


def _learn(here: Floats, fit: _Fit, prior: Gaussian) -> Gaussian:
    """The Gaussian most probable in view of all targets, each one's likelihood being taken as quadratic: by EM."""
    weak = np.linalg.inv(_SPREAD_OF_MEAN)
    for _ in range(_EM_STEPS):
        precision = np.linalg.inv(prior.covariance)
        spread = np.linalg.inv(fit.hessian + precision)
        mode = here - _bounded(np.einsum("tij,tj->ti", spread, fit.gradient + (here - prior.mean) @ precision))
        mean = np.linalg.solve(len(here) * precision + weak, len(here) * precision @ mode.mean(axis=0))
        away = mode - mean
        scatter = away.T @ away + spread.sum(axis=0) + _AS_IF_SEEN * _SPREAD
        prior = Gaussian(mean, scatter / (len(here) + _AS_IF_SEEN))
    return prior


def _bounded(step: Floats) -> Floats:
    """A step within reach: where probabilities are wrong and sure, the curvature vanishes, and Newton leaps."""
    bounded: Floats = step / np.maximum(1, np.abs(step).max(axis=1, keepdims=True) / _LONGEST_STEP)
    return bounded


def _distance(parameters: Floats, prior: Gaussian, precision: Floats) -> Floats:
    """Minus the logarithm of the prior's density, up to a constant, `(targets,)`."""
    away = parameters - prior.mean
    distance: Floats = np.einsum("ti,ij,tj->t", away, precision, away) / 2
    return distance
