"""A calibration fitted on validation: probabilities that come true, and what is called on their strength.

What is fitted on is what `seqclass.predict` would answer uncalibrated: the logit of the mean of both strands'
probabilities for DNA, of the joint probability for an ensemble.

- Yes-or-no targets: a slope and an intercept each, rare ones learning from the others (`platt.py`); and the threshold
  at which F1 is highest.
- Exclusive groups: one temperature each, least log loss on validation; and the highest probability of a class below
  which a sample is taken to be of none of them, so that 95 % of the validation samples are kept. (Maximum softmax
  probability: Hendrycks and Gimpel 2017, arXiv:1610.02136.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from seqclass.bundle import Bundle
from seqclass.calibration import Calibration, log_probabilities, logits
from seqclass.data.store import Store
from seqclass.errors import EvaluationError
from seqclass.evaluation.multilabel import Labels, Scores
from seqclass.evaluation.platt import fit_platt
from seqclass.metrics import MISSING, rank, reliability
from seqclass.metrics.columns import map_targets
from seqclass.predict import score_samples

MIN_SAMPLES = 50
"""From fewer samples nothing is fitted."""

KEPT = 0.95
"""The share of validation samples that the abstention threshold keeps."""

NO_THRESHOLD = 0.5
"""The threshold of a target without positives or without negatives, which validation says nothing of."""

# So many scores are held and looked at, of evenly spaced samples; more would not move the few numbers fitted.
_MOST_SCORES = 1 << 25
_BLOCK = 1 << 22
_LOG_TEMPERATURES = (-7.0, 7.0)


class Fitted(NamedTuple):
    """A calibration and, as JSON can hold it, what it changed on the samples that it was fitted on.

    `change` has "samples", and of the yes-or-no targets together ("targets") and each exclusive group ("groups"), the
    "log_loss" and the "expected_calibration_error", "raw" and "calibrated".
    """

    calibration: Calibration
    change: dict[str, Any]


def calibrate(bundle: Bundle, store: Store) -> Bundle:
    """The same bundle with a calibration fitted on a store's validation samples; its provenance says what it changed.

    A calibration that it had is not looked at, and its training summary, which tells what was called, is left out. The
    strands of a locus count once.

    Raises:
        StoreError: The store does not fit the bundle.
        EvaluationError: There are fewer than `MIN_SAMPLES` validation samples with labels, or a score is not finite.
    """
    samples = store.distinct(store.samples("valid"))
    most = max(MIN_SAMPLES, _MOST_SCORES // len(bundle.targets))
    samples = samples[:: -(-len(samples) // most) or 1]
    _check_enough(len(samples))
    scores = score_samples(bundle, store, samples, calibrated=False)
    fitted = fit_calibration(store.known_labels(samples), scores, bundle.binary, bundle.groups)
    provenance = bundle.provenance | {"calibration": fitted.change}
    return replace(bundle, calibration=fitted.calibration, provenance=provenance, summary=None)


def fit_calibration(
    labels: Labels, scores: Scores, binary: Sequence[int], groups: Mapping[str, Sequence[int]]
) -> Fitted:
    """Fits what `Calibration` holds. On these samples the log loss is never higher than before.

    Args:
        labels: `(samples, targets)` zeros and ones, -1 where one is missing.
        scores: `(samples, targets)` probabilities; those of an exclusive group add up to 1.
        binary: Columns of the yes-or-no targets.
        groups: Columns of each exclusive group.

    Raises:
        EvaluationError: There are fewer than `MIN_SAMPLES` samples, or no question has that many labels; or a score is
            not from 0 to 1.
    """
    known = labels != MISSING
    _check_enough(int(known.sum(axis=0).max(initial=0)))
    if not ((scores >= 0) & (scores <= 1)).all():
        raise EvaluationError(
            "a probability is NaN or not from 0 to 1", remedy="Look for a diverged training run, or for an overflow"
        )
    raw = torch.from_numpy(np.asarray(scores))
    slope, intercept = _fit_binary(labels[:, binary], logits(raw[:, binary]).numpy())
    temperature = {group: _fit_group(labels[:, columns], raw[:, columns]) for group, columns in groups.items()}
    unread = Calibration(slope.tolist(), intercept.tolist(), [], temperature, {})
    after = unread.apply(raw, binary, groups).numpy()
    threshold = map_targets(lambda _, *column: best_f1_threshold(*column), labels[:, binary], after[:, binary])
    abstain_below = {group: _abstain_below(labels[:, columns], after[:, columns]) for group, columns in groups.items()}
    before = raw.numpy()
    change: dict[str, Any] = {"samples": len(labels)}
    if known[:, binary].any():
        change["targets"] = _change(_of_targets, labels[:, binary], before[:, binary], after[:, binary])
    change["groups"] = {
        group: _change(_of_classes, labels[:, columns], before[:, columns], after[:, columns])
        for group, columns in groups.items()
        if known[:, columns].any()
    }
    return Fitted(replace(unread, threshold=threshold, abstain_below=abstain_below), change)


def best_f1_threshold(labels: NDArray[np.integer[Any]], probabilities: Scores) -> float:
    """The threshold of one target at which F1 is highest, halfway down to the next lower probability.

    Of equally good ones it is the highest. Without positives or without negatives it is `NO_THRESHOLD`.

    Args:
        labels: `(samples,)` zeros and ones, -1 where one is missing.
        probabilities: `(samples,)`.
    """
    labels, probabilities = _known(labels, probabilities)
    lowest = rank(labels, probabilities).max_f1_threshold
    if np.isnan(lowest):
        return NO_THRESHOLD
    return (lowest + float(probabilities[probabilities < lowest].max(initial=0))) / 2


def sentence(change: Mapping[str, Any]) -> str:
    """What a calibration changed, in words; see `Fitted`."""
    parts = {"": change["targets"]} if "targets" in change else {}
    parts |= {f"{group}: ": each for group, each in change["groups"].items()}
    figures = (
        f"{name}log loss {each['log_loss']['raw']:.4f} -> {each['log_loss']['calibrated']:.4f}, "
        f"expected calibration error {each['expected_calibration_error']['raw']:.4f} -> "
        f"{each['expected_calibration_error']['calibrated']:.4f}"
        for name, each in parts.items()
    )
    return f"calibrated on {change['samples']:,} validation samples: {'; '.join(figures)}"


def _check_enough(known: int) -> None:
    if known < MIN_SAMPLES:
        raise EvaluationError(
            f"{known} validation samples with labels, where a calibration needs at least {MIN_SAMPLES}",
            remedy="Import the data again with a larger validation split",
        )


def _fit_binary(labels: Labels, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slopes and intercepts, `(2, targets)`: fitted ones, unless raw probabilities do better over all targets."""
    if not (labels != MISSING).any():
        return np.stack([np.ones(labels.shape[1]), np.zeros(labels.shape[1])])
    fitted = fit_platt(np.ascontiguousarray(logits.T), np.ascontiguousarray(labels.T))
    slope, intercept = np.exp(fitted[:, 0]), fitted[:, 1]
    if _log_loss(labels, slope * logits + intercept) > _log_loss(labels, logits):
        return np.stack([np.ones(len(slope)), np.zeros(len(slope))])
    return np.stack([slope, intercept])


def _fit_group(labels: Labels, probabilities: torch.Tensor) -> float:
    """The temperature of least log loss; it stays 1 where there are too few labels.

    Its logarithm has a standard normal prior, a nat or two in all: where every sample is classified right, the best
    temperature would else be 0.
    """
    rows = np.flatnonzero((labels != MISSING).all(axis=1))
    if len(rows) < MIN_SAMPLES:
        return 1.0
    shares = log_probabilities(probabilities[rows]).float()
    right = float(shares[torch.arange(len(rows)), torch.from_numpy(labels[rows].argmax(axis=1))].double().sum())
    blocks = torch.split(shares, max(1, _BLOCK // shares.shape[1]))

    def loss(log_temperature: float) -> float:
        scale = float(np.exp(-log_temperature))
        normaliser = sum(float(torch.logsumexp(block.double() * scale, dim=1).sum()) for block in blocks)
        return normaliser - scale * right + log_temperature**2 / 2

    best = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded").x
    return float(np.exp(best)) if loss(best) < loss(0.0) else 1.0


def _abstain_below(labels: Labels, probabilities: Scores) -> float:
    highest = probabilities[(labels != MISSING).all(axis=1)].max(axis=1)
    return float(np.quantile(highest, 1 - KEPT, method="lower")) if len(highest) >= MIN_SAMPLES else 0.0


def _known(labels: NDArray[np.integer[Any]], probabilities: Scores) -> tuple[NDArray[np.integer[Any]], Scores]:
    where = np.flatnonzero(labels != MISSING)
    return labels[where], probabilities[where]


def _log_loss(labels: Labels, logits: NDArray[np.float64]) -> float:
    """The mean over known labels."""
    known = labels != MISSING
    return float(np.logaddexp(0, np.where(labels == 1, -logits, logits)[known]).mean())


def _change(
    measure: Callable[[Labels, Scores], Mapping[str, float]], labels: Labels, *scores: Scores
) -> dict[str, Any]:
    """What is measured before and after, by measure."""
    before, after = (measure(labels, each) for each in scores)
    return {name: {"raw": before[name], "calibrated": after[name]} for name in before}


def _of_targets(labels: Labels, probabilities: Scores) -> dict[str, float]:
    """Log loss over all labels, expected calibration error as the mean over targets that have some."""
    errors = map_targets(lambda _, *column: reliability(*_known(*column)).calibration_error, labels, probabilities)
    loss = _log_loss(labels, logits(torch.from_numpy(probabilities)).numpy())
    return {"log_loss": loss, "expected_calibration_error": float(np.nanmean(errors))}


def _of_classes(labels: Labels, probabilities: Scores) -> dict[str, float]:
    """Log loss, and expected calibration error of the most probable class."""
    rows = np.flatnonzero((labels != MISSING).all(axis=1))
    truth, ours = labels[rows].argmax(axis=1), probabilities[rows]
    right = log_probabilities(torch.from_numpy(ours[np.arange(len(rows)), truth]))
    error = reliability((ours.argmax(axis=1) == truth).astype(np.int8), ours.max(axis=1)).calibration_error
    return {"log_loss": -float(right.mean()), "expected_calibration_error": error}
