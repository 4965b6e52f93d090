"""What a model has to beat, over all targets on the same samples: k-mers, one score for all targets, and chance.

- `kmer_logistic`: L2-regularised logistic regression on k-mer counts, one for each target.
- `shared_count`: ridge regression of a sample's number of labels on the same counts, its prediction serving as the
  score of every target. It knows nothing of any one target, and yet ranks well where targets share hotspots.
- `prevalence`: the share of training samples that carry the target, a constant score.

In DNA, a k-mer and its reverse complement count as the same (2,080 features for k = 6), so that both strands of a
sample score alike; in proteins the k-mers are pairs of residues. For vectors, there is the prevalence only. A missing
label counts as the target's prevalence, which says nothing for or against it.

What is labelled may be the centre of a much longer window: whether k-mers are counted in all of it or near its centre,
and how strong the regularisation is, is decided by the mean average precision on the validation split. The samples
scored have no say in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from seqclass.alphabets import DNA
from seqclass.blocks.kmers import K, canonical_kmers
from seqclass.data.sampling import cut
from seqclass.data.store import Indices, Store
from seqclass.data.tape import Tape
from seqclass.errors import EvaluationError
from seqclass.evaluation.multilabel import Baseline, counted_targets
from seqclass.metrics import MISSING, rank_targets
from seqclass.progress import progress, track

MAX_TRAIN_SAMPLES = 100_000
"""More training samples than this are subsampled, which bounds memory: 2,080 counts in float32 are 8.3 kB a sample."""

SHARES = (1.0, 0.4, 0.2)
"""The central shares of a window among which validation decides; 400 and 200 of 1,000 bp."""

LOGISTIC_STRENGTHS = tuple(10 ** (-exponent / 2) for exponent in range(9))
RIDGE_STRENGTHS = tuple(10 ** (2 - exponent / 2) for exponent in range(9))

_BLOCK = 4096
_COUNT_SAMPLES, _COUNT_RESIDUES = 512, 1 << 19

Features = NDArray[np.float32]


class Linear(NamedTuple):
    """A linear score of k-mer counts: weights `(features, targets)` and intercepts `(targets,)`."""

    weights: Tensor
    intercept: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return torch.addmm(self.intercept, features, self.weights)


def compute_baselines(
    store: Store, samples: Indices, *, k: int | None = None, seed: int = 0, max_train_samples: int = MAX_TRAIN_SAMPLES
) -> dict[str, Baseline]:
    """Fits the three baselines on the training split and scores `samples` with each.

    Args:
        store: With training and validation samples.
        samples: Indices of the samples to score.
        k: Length of the k-mers, in residues. Default: 6 for DNA, 2 for proteins.
        seed: Decides which samples are taken where there are too many.
        max_train_samples: The most training samples to fit on; a quarter as many validation samples are used at most.

    Raises:
        EvaluationError: Its training or validation split has nothing to learn from.
    """
    shape = (len(samples), store.num_targets)
    positives, known, _ = store.label_counts("train")
    prevalence = (positives / np.maximum(known, 1)).astype(np.float32)
    chance = Baseline(np.broadcast_to(prevalence, shape), {"train_samples": len(store.samples("train"))})
    if store.vector_size:
        return {"prevalence": chance}
    k = K[store.alphabet.name] if k is None else k
    train = _subsample(store, "train", max_train_samples, seed)
    valid = _subsample(store, "valid", max(1, max_train_samples // 4), seed)
    train_labels, valid_labels = store.known_labels(train), store.known_labels(valid)
    if (train_labels == MISSING).any():
        train_labels = np.where(train_labels == MISSING, prevalence, train_labels)

    def prepare(share: float) -> tuple[PrincipalAxes, Tensor]:
        axes = PrincipalAxes(torch.from_numpy(count_kmers(store, train, k, share)))
        return axes, torch.from_numpy(count_kmers(store, valid, k, share))

    def choose(path: Iterator[tuple[float, Linear]], features: Tensor, what: str) -> tuple[Linear, float, float]:
        return _choose(track(path, f"Fitting {what}", unit="strengths"), features, valid_labels, store)

    def precision_at(share: float) -> float:
        axes, features = prepare(share)
        return choose(fit_ridge(axes, train_labels), features, f"k-mers in the central {share:.0%}")[2]

    # Ridge regression has a closed form, and is good enough to tell where to count.
    share = max(SHARES, key=precision_at)
    axes, features = prepare(share)
    fit = {"k": k, "central_share": share, "train_samples": len(train), "valid_samples": len(valid), "seed": seed}
    num_labels = train_labels.sum(axis=1, dtype=np.float64)[:, None]
    ridge, ridge_strength, ridge_precision = choose(fit_ridge(axes, num_labels), features, "number of labels")
    logistic, strength, precision = choose(fit_logistic(axes, train_labels), features, "logistic regression")

    probability, count = np.empty(shape, dtype=np.float32), np.empty((len(samples), 1), dtype=np.float32)
    for begin in track(range(0, len(samples), _BLOCK), "Scoring baselines", -(-len(samples) // _BLOCK), "blocks"):
        block = slice(begin, begin + _BLOCK)
        features = torch.from_numpy(count_kmers(store, samples[block], k, share))
        probability[block] = torch.sigmoid(logistic(features)).numpy()
        count[block] = ridge(features).numpy()
    return {
        "kmer_logistic": Baseline(probability, fit | {"strength": strength, "valid_average_precision": precision}),
        "shared_count": Baseline(
            np.broadcast_to(count, shape),
            fit | {"strength": ridge_strength, "valid_average_precision": ridge_precision},
        ),
        "prevalence": chance,
    }


def count_kmers(store: Store, samples: Indices, k: int = 6, share: float = 1.0) -> Features:
    """How often each k-mer or its reverse complement occurs in each sample, `(samples, features)`.

    k-mers that hold an unknown base count for nothing. Overlapping views share the work: each stretch of the genome is
    turned into k-mers once. Memory beyond the counts does not depend on how far apart the views lie.

    Args:
        store: Tokens.
        samples: Indices of samples.
        k: Length of the k-mers, in residues.
        share: The share of each view, around its centre, in which to count.
    """
    letters = len(store.alphabet.letters)
    every = np.arange(letters**k, dtype=np.int32), letters**k
    table, num_features = canonical_kmers(k) if store.alphabet is DNA else every
    table = np.append(table, np.int32(num_features))
    counts = np.empty((len(samples), num_features), dtype=np.float32)
    views = store.views[samples]
    margin = np.rint(views.length * (1 - share) / 2).astype(np.int64)
    origin, limit = store.contig_start[views.contig], store.contig_length[views.contig]
    begin = origin + np.clip(views.start + margin, 0, limit)
    end = origin + np.clip(views.start + views.length - margin, 0, limit)
    order = np.argsort(begin, kind="stable")
    bounds = cut(views.length[order], _COUNT_RESIDUES, _COUNT_SAMPLES)
    with progress("Counting k-mers", len(samples), "samples") as advance:
        for block in (order[at:to] for at, to in pairwise(bounds)):
            tape = Tape(store, views[block])
            features = table[_kmer_indices(tape.residues, k, letters)]
            lengths = np.maximum(end[block] - begin[block] - k + 1, 0)
            first = np.cumsum(lengths) - lengths
            position = np.arange(lengths.sum()) + np.repeat(tape.place(begin[block]) - first, lengths)
            row = np.repeat(np.arange(len(block)) * (num_features + 1), lengths)
            histogram = np.bincount(row + features[position], minlength=len(block) * (num_features + 1))
            counts[block] = histogram.reshape(len(block), num_features + 1)[:, :num_features]
            advance(len(block))
    return counts


def _kmer_indices(tokens: NDArray[np.uint8], k: int, letters: int) -> NDArray[np.int32]:
    """The k-mer that begins at each token; letters ** k where it holds an unknown residue."""
    num = max(len(tokens) - k + 1, 0)
    index = np.zeros(num, dtype=np.int32)
    known = np.ones(num, dtype=bool)
    for offset in range(k):
        token = tokens[offset : offset + num]
        index = index * letters + token
        known &= token < letters
    return np.where(known, index, np.int32(letters**k))


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
        variance, axes = (part.to(features.dtype) for part in torch.linalg.eigh(correlation))
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


def _choose(
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


def _subsample(store: Store, split: str, most: int, seed: int) -> Indices:
    samples = store.samples(split)
    if not len(samples):
        raise EvaluationError(
            f"there are no {split} samples, which baselines need",
            file=store.path,
            remedy="Import with a training and a validation split",
        )
    if len(samples) > most:
        samples = np.sort(np.random.default_rng(seed).choice(samples, most, replace=False))
    return samples
