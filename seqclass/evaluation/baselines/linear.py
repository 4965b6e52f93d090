"""Linear scores of any features, fitted for all targets at once: ridge and logistic regression along a path."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from seqclass.data.store import Store
from seqclass.errors import EvaluationError
from seqclass.evaluation.multilabel import counted_targets
from seqclass.metrics import MISSING, rank_targets

LOGISTIC_STRENGTHS = tuple(10 ** (-exponent / 2) for exponent in range(9))
RIDGE_STRENGTHS = tuple(10 ** (2 - exponent / 2) for exponent in range(9))

_BLOCK = 4096


class Linear(NamedTuple):
    """A linear score of features: weights `(features, targets)` and intercepts `(targets,)`."""

    weights: Tensor
    intercept: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return torch.addmm(self.intercept, features, self.weights)


class PrincipalAxes:
    """Training features, standardised and turned to their principal axes, in place.

    Turning does not change an L2 penalty, and along these axes the curvature of every target's loss is known well
    enough in advance to converge in a few steps.

    Args:
        features: `(samples, features)` float32 or float64, overwritten.
    """

    def __init__(self, features: Tensor) -> None:
        num_samples = len(features)
        self.mean = torch.stack([block.sum(0, dtype=torch.float64) for block in _blocks(features)]).sum(0)
        self.mean = (self.mean / num_samples).to(features.dtype)
        for block in _blocks(features):
            block -= self.mean
        covariance = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
        for block in _blocks(features):
            covariance += block.T @ block
        covariance /= num_samples
        deviation = covariance.diagonal().sqrt()
        deviation[deviation == 0] = 1
        correlation = covariance / deviation[:, None] / deviation
        # PyTorch's own does not converge for some correlations of less than full rank.
        variance, axes = (torch.from_numpy(part).to(features.dtype) for part in np.linalg.eigh(correlation.numpy()))
        self.variance = variance.clamp(min=0)
        self.axes = axes / deviation[:, None].to(features.dtype)
        for block in _blocks(features):
            block.copy_(block @ self.axes)
        self.features = features

    def linear(self, weights: Tensor, intercept: Tensor) -> Linear:
        """The same scores from features as they were given."""
        weights = self.axes @ weights
        return Linear(weights, intercept - self.mean @ weights)


def _blocks(features: Tensor) -> Iterator[Tensor]:
    return (features[begin : begin + _BLOCK] for begin in range(0, len(features), _BLOCK))


def fit_ridge(axes: PrincipalAxes, values: NDArray[Any]) -> Iterator[tuple[float, Linear]]:
    """Ridge regressions of `(samples, outputs)` values, in closed form, from the strongest regularisation down.

    Minimises the mean squared error plus strength times the squared norm of the weights of standardised features.
    Yields (strength, model).
    """
    dtype = axes.features.dtype
    centre = torch.from_numpy(values.mean(axis=0)).to(dtype)
    product = torch.zeros(len(axes.variance), len(centre), dtype=dtype)
    for begin, block in enumerate(_blocks(axes.features)):
        wanted = torch.from_numpy(values[begin * _BLOCK : (begin + 1) * _BLOCK]).to(dtype)
        product.addmm_(block.T, wanted - centre)
    product /= len(values)
    for strength in RIDGE_STRENGTHS:
        yield strength, axes.linear(product / (axes.variance[:, None] + strength), centre)


def fit_logistic(
    axes: PrincipalAxes,
    labels: NDArray[Any],
    strengths: Iterable[float] = LOGISTIC_STRENGTHS,
    *,
    max_iterations: int = 30,
    tolerance: float = 1e-3,
) -> Iterator[tuple[float, Linear]]:
    """Logistic regressions of `(samples, targets)` labels on a path of strengths, each starting where the last ended.

    Minimises, for each target, the mean cross-entropy plus half the strength times the squared norm of the weights of
    standardised features; the intercept is free. In scikit-learn's terms C = 1 / (samples * strength). Every weight is
    scaled by the square root of its expected curvature: the variance along its axis times the target's p (1 - p), plus
    the strength. So a few steps suffice, however rare the target.
    Yields (strength, model).

    Args:
        axes: Training features.
        labels: Zeros and ones, or between them for one that is not certain.
        strengths: From strong to weak.
        max_iterations: The most L-BFGS iterations for each strength.
        tolerance: Stops once an iteration lowers the loss of all targets together by less than this share.
    """
    positives = torch.from_numpy(labels.sum(axis=0, dtype=np.float64)).to(axes.features.dtype)
    # Half a sample keeps targets without positives finite.
    share = (positives + 0.5) / (len(labels) + 1)
    spread = share * (1 - share)
    weights = torch.zeros(len(axes.variance) + 1, len(share), dtype=axes.features.dtype)
    weights[-1] = torch.logit(share)
    for strength in strengths:
        penalty = torch.full((len(weights), 1), strength, dtype=weights.dtype)
        penalty[-1] = 0
        scale = torch.cat([axes.variance[:, None] * spread + strength, spread[None]]).sqrt()

        def loss(point: Tensor, scale: Tensor = scale, penalty: Tensor = penalty) -> tuple[Tensor, Tensor]:
            weights = point / scale
            value, gradient = _cross_entropy(axes.features, labels, weights)
            value += 0.5 * (penalty * weights.square()).sum(0)
            return value, gradient.addcmul_(penalty, weights) / scale

        weights = _minimise(loss, weights * scale, max_iterations, tolerance) / scale
        yield strength, axes.linear(weights[:-1], weights[-1])


def _cross_entropy(features: Tensor, labels: NDArray[Any], weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of each target, `(targets,)`, and its gradient; the weights' last row is the intercept."""
    value = torch.zeros(weights.shape[1], dtype=torch.float64)
    gradient = torch.zeros_like(weights)
    for begin in range(0, len(features), _BLOCK):
        block = features[begin : begin + _BLOCK]
        wanted = torch.from_numpy(labels[begin : begin + _BLOCK]).to(features.dtype)
        logits = torch.addmm(weights[-1], block, weights[:-1])
        value += (softplus(logits) - wanted * logits).sum(0)
        residual = torch.sigmoid(logits) - wanted
        gradient[:-1].addmm_(block.T, residual)
        gradient[-1] += residual.sum(0)
    return value / len(features), gradient / len(features)


def _minimise(
    loss: Callable[[Tensor], tuple[Tensor, Tensor]], point: Tensor, max_iterations: int, tolerance: float
) -> Tensor:
    """L-BFGS on every column by itself, all at once (Nocedal and Wright, Numerical Optimization, algorithm 7.4).

    Columns that share no parameter deserve their own curvature and step; one run over all of them would take the step
    of the worst. `loss` gives the value of each column and the gradient.
    """
    # The rounding error of a value, below which a step uphill cannot be told from a good one.
    slack = 10 * torch.finfo(point.dtype).eps
    # Its inverse would be infinite.
    smallest = torch.finfo(point.dtype).tiny
    value, gradient = loss(point)
    memory: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=8)
    for _ in range(max_iterations):
        direction = -_newton_step(gradient, memory)
        expected = 1e-4 * (direction * gradient).sum(0)
        length = torch.ones_like(expected)
        for _ in range(8):
            trial = point + length * direction
            trial_value, trial_gradient = loss(trial)
            uphill = trial_value > value * (1 + slack) + length * expected
            if not uphill.any():
                break
            length = torch.where(uphill, length / 4, length)
        else:
            trial = torch.where(uphill, point, trial)
            trial_value = torch.where(uphill, value, trial_value)
            trial_gradient = torch.where(uphill, gradient, trial_gradient)
        step, change = trial - point, trial_gradient - gradient
        curvature = (step * change).sum(0)
        memory.append((step, change, torch.where(curvature > smallest, 1 / curvature, 0)))
        gained = float((value - trial_value).sum())
        point, value, gradient = trial, trial_value, trial_gradient
        if gained < tolerance * float(value.sum()):
            break
    return point


def _newton_step(gradient: Tensor, memory: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The gradient times the inverse Hessian that past (step, change of gradient, 1 / their product) tell of."""
    newton, shares = gradient, []
    for step, change, inverse in reversed(memory):
        shares.append(inverse * (step * newton).sum(0))
        newton = newton - shares[-1] * change
    if memory:
        _, change, inverse = memory[-1]
        newton = newton * torch.where(inverse > 0, 1 / (inverse * change.square().sum(0)), 1)
    for (step, change, inverse), share in zip(memory, reversed(shares), strict=True):
        newton = newton + (share - inverse * (change * newton).sum(0)) * step
    return newton


def choose_strength(
    path: Iterator[tuple[float, Linear]], features: Tensor, labels: NDArray[np.int8], store: Store
) -> tuple[Linear, float, float]:
    """Follows a path until the mean average precision on validation has fallen twice; returns the best by then.

    As in training, the mean is over targets with enough positives, or over the most frequent where none has.
    Returns the model, its strength, and that precision.
    """
    counted = counted_targets((labels == 1).sum(axis=0, dtype=np.int64), (labels != MISSING).sum(axis=0))
    if not counted.any():
        raise EvaluationError(
            "no target has both positives and negatives among validation samples, on which baselines are tuned",
            file=store.path,
            remedy="Import with a larger validation split",
        )
    best, highest, fallen = None, -1.0, 0
    for strength, model in path:
        scores = np.broadcast_to(model(features).numpy(), labels.shape)
        mean = float(rank_targets(labels, scores).average_precision[counted].mean())
        if mean > highest:
            best, highest, fallen = (model, strength), mean, 0
        else:
            fallen += 1
        if fallen == 2:
            break
    assert best is not None
    return *best, highest
