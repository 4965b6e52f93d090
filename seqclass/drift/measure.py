"""How far new sequences are from what a model was trained on, aspect by aspect.

    composition    Kullback-Leibler divergence of the mean letter shares, new from training, in bits a residue
    length         the largest difference of the two cumulative distributions (Kolmogorov and Smirnov), training
    embedding      the same, the largest along the principal components, the norm and the distance from the components
    predictions    Bray and Curtis' dissimilarity of how often each target is called, validation
    abstention     the difference of the shares of sequences of which a class is not called, validation

Embedding, predictions and abstention are held against validation samples, since a model is surer of those it was
trained on. Each aspect is "shifted" if it differs by more than chance makes it, and by at least as much as matters;
"same" if it does not, and such a shift would have been seen; else there are too few sequences to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from seqclass.bundle import Bundle
from seqclass.drift.observe import observe_sequences
from seqclass.drift.permutation import Difference, Means, compare
from seqclass.drift.sequences import Sample, draw_sequences
from seqclass.drift.traits import Calls, calls, letter_shares
from seqclass.errors import BundleError
from seqclass.predict import LengthPolicy
from seqclass.training_summary import Floats, TrainingSummary

Verdict = Literal["same", "shifted", "cannot say"]

MATTERS = {"composition": 0.01, "length": 0.1, "embedding": 0.1, "predictions": 0.1, "abstention": 0.05}
"""The smallest shift of each aspect that is called one."""

_UNITS = {"composition": "bits a residue"}

# Cumulative distributions are compared at so many places of each axis.
_PLACES = 64

# Before logarithms, shares are drawn so far towards being alike that a letter that is missing does not decide.
_SMOOTHING = 1e-4

_MOST_NAMED = 5


@dataclass(frozen=True)
class Aspect:
    """What was found of one aspect.

    Args:
        name: Of the aspect.
        verdict: Whether it is shifted.
        shift: How far, None where that cannot be measured.
        by_chance: How far chance alone makes it seem, but for one in a hundred comparisons.
        statement: In words.
        details: The largest changes, as JSON can hold them.
    """

    name: str
    verdict: Verdict
    shift: float | None
    by_chance: float | None
    statement: str
    details: list[dict[str, Any]]


class Drift(NamedTuple):
    """What was found, and what pictures are drawn from.

    Attributes:
        aspects: In the order of `MATTERS`.
        sample: The sequences that were looked at.
        letters: `(sequences, letters)`, their shares.
        points: `(sequences, components)`, where they lie among the training samples.
        norms: `(sequences,)`, of their embeddings.
        residuals: `(sequences,)`, the distances of those from what the components span.
        calls: What is called of them.
    """

    aspects: list[Aspect]
    sample: Sample
    letters: Floats
    points: Floats
    norms: Floats
    residuals: Floats
    calls: Calls


def measure_drift(bundle: Bundle, fasta: str | Path, *, length_policy: LengthPolicy = "error") -> Drift:
    """Holds the sequences of a FASTA file against the training summary of a bundle.

    Args:
        bundle: With a summary.
        fasta: Sequences, plain or gzip; of many, 10,000 are drawn at random.
        length_policy: What becomes of sequences that a model of a fixed length cannot take.

    Raises:
        BundleError: The bundle has no training summary.
        SequenceError: The file cannot be read, or a length does not fit; file and record are named.
    """
    summary = bundle.summary
    if summary is None:
        raise BundleError(
            "the bundle has no training summary to hold new sequences against",
            remedy="Write one with 'seqclass calibrate BUNDLE STORE --out NEW', where STORE is what it was trained on",
            file=bundle.path,
        )
    sample = draw_sequences(bundle, fasta, length_policy)
    letters = letter_shares(sample.tokens, bundle.alphabet)
    probabilities, embeddings = observe_sequences(bundle, sample.tokens)
    found = calls(bundle, probabilities)
    points, residuals = summary.project(embeddings), summary.residuals(embeddings)
    norms = np.linalg.norm(embeddings, axis=1).astype(np.float32)
    aspects = [
        _composition(summary, letters, bundle.alphabet.letters),
        _length(summary, sample.lengths, bundle.alphabet.unit),
        _embedding(summary, points, norms, residuals),
        _predictions(summary, found, [target.name for target in bundle.targets]),
        _abstention(bundle, summary, found),
    ]
    return Drift(aspects, sample, letters, points, norms, residuals, found)


def _composition(summary: TrainingSummary, letters: Floats, names: str) -> Aspect:
    def divergence(reference: Means, new: Means) -> Means:
        theirs, ours = ((means + _SMOOTHING) / (1 + _SMOOTHING * len(names)) for means in (reference, new))
        found: Means = (ours * np.log2(ours / theirs)).sum(axis=1)
        return np.maximum(found, 0)

    before, after = summary.letters.mean(axis=0), letters.mean(axis=0)
    changes = _changes(list(names), before, after)
    told = ", ".join(f"{each['name']} {_percent(each['before'])} -> {_percent(each['new'])}" for each in changes[:3])
    return _judge("composition", compare(summary.letters, letters, divergence), len(letters), told, changes)


def _length(summary: TrainingSummary, lengths: NDArray[np.int32], unit: str) -> Aspect:
    axis = np.concatenate([summary.lengths, lengths])[:, None]
    below, _ = _at_most(axis)
    found = compare(below[: len(summary.lengths)], below[len(summary.lengths) :], _largest_gap)
    changes = [
        {"name": name, "before": float(np.quantile(summary.lengths, q)), "new": float(np.quantile(lengths, q))}
        for name, q in (("5 %", 0.05), ("median", 0.5), ("95 %", 0.95))
    ]
    told = f"median {changes[1]['before']:,.0f} -> {changes[1]['new']:,.0f} {unit}"
    return _judge("length", found, len(lengths), told, changes)


def _embedding(summary: TrainingSummary, points: Floats, norms: Floats, residuals: Floats) -> Aspect:
    if not len(summary.components):
        return Aspect(
            "embedding", "cannot say", None, None, "the model has no layers before its head that tell samples apart", []
        )
    names = [f"component {number}" for number in range(1, points.shape[1] + 1)]
    names += ["norm", "distance from the components"]
    before = np.column_stack([summary.held_out_points, summary.held_out_norms, summary.held_out_residuals])
    after = np.column_stack([points, norms, residuals])
    below, axis_of = _at_most(np.concatenate([before, after]))
    reference, new = below[: len(before)], below[len(before) :]
    found = compare(reference, new, _largest_gap)
    gaps = np.abs(reference.mean(axis=0) - new.mean(axis=0))
    changes = [
        {
            "name": name,
            "before": float(np.median(before[:, axis])),
            "new": float(np.median(after[:, axis])),
            "shift": float(gaps[axis_of == axis].max(initial=0)),
        }
        for axis, name in enumerate(names)
    ]
    changes.sort(key=lambda each: -float(str(each["shift"])))
    return _judge("embedding", found, len(points), f"most along {changes[0]['name']}", changes)


def _predictions(summary: TrainingSummary, found: Calls, names: Sequence[str]) -> Aspect:
    reference = _called_matrix(Calls(summary.calls_each, summary.calls), len(names))
    new = _called_matrix(found, len(names))

    def dissimilarity(before: Means, after: Means) -> Means:
        both = (before + after).sum(axis=1)
        result: Means = np.abs(before - after).sum(axis=1) / np.maximum(both, np.finfo(float).tiny)
        return result

    changes = _changes(list(names), reference.mean(axis=0), new.mean(axis=0))
    told = ", ".join(f"{each['name']} {_percent(each['before'])} -> {_percent(each['new'])}" for each in changes[:3])
    return _judge("predictions", compare(reference, new, dissimilarity), new.shape[0], f"called: {told}", changes)


def _abstention(bundle: Bundle, summary: TrainingSummary, found: Calls) -> Aspect:
    if bundle.calibration is None or not bundle.exclusive:
        why = "the bundle has no calibration" if bundle.calibration is None else "there is no class to abstain from"
        return Aspect("abstention", "cannot say", None, None, why, [])
    reference, new = (
        _abstained(each, len(bundle.targets)) for each in (Calls(summary.calls_each, summary.calls), found)
    )
    before, after = float(reference.mean()), float(new.mean())
    told = f"{_percent(before)} -> {_percent(after)}"
    difference = compare(reference, new, lambda one, other: np.abs(one - other)[:, 0])
    return _judge("abstention", difference, len(new), told, [{"name": "abstained", "before": before, "new": after}])


def _judge(name: str, found: Difference, count: int, told: str, changes: list[dict[str, Any]]) -> Aspect:
    matters, unit = MATTERS[name], f" {_UNITS[name]}" if name in _UNITS else ""
    verdict: Verdict
    if found.is_real and found.size >= matters:
        verdict, statement = "shifted", f"shifted by {found.size:.3f}{unit}: {told}"
    elif found.by_chance > matters:
        verdict = "cannot say"
        statement = f"{count:,} sequences are too few: by chance alone it may seem {found.by_chance:.3f}{unit}"
    else:
        verdict = "same"
        statement = f"differs by {found.size:.3f}{unit}, " + (
            f"less than the {matters:g} that matter" if found.is_real else "which is no more than chance"
        )
    return Aspect(name, verdict, found.size, found.by_chance, statement, changes)


def _at_most(axes: NDArray[Any]) -> tuple[Means, NDArray[np.int64]]:
    """Of each sequence, whether it is at most at each of some places on each axis; and the axis of each column.

    Args:
        axes: `(sequences, axes)`.
    """
    columns, axis_of = [], []
    for number, values in enumerate(axes.T):
        places = np.unique(np.quantile(values, np.linspace(0, 1, _PLACES), method="lower"))
        columns.append(values[:, None] <= places)
        axis_of += [number] * len(places)
    return np.concatenate(columns, axis=1).astype(np.float64), np.array(axis_of)


def _largest_gap(before: Means, after: Means) -> Means:
    gaps: Means = np.abs(before - after).max(axis=1)
    return gaps


def _called_matrix(found: Calls, num_targets: int) -> csr_array:
    """`(sequences, targets)`, 1 where a target is called."""
    rows = np.repeat(np.arange(len(found.each)), found.each)
    kept = found.columns < num_targets
    ones = np.ones(int(kept.sum()))
    return csr_array((ones, (rows[kept], found.columns[kept])), shape=(len(found.each), num_targets))


def _abstained(found: Calls, num_targets: int) -> Means:
    """`(sequences, 1)`, 1 where any group was abstained from."""
    rows = np.repeat(np.arange(len(found.each)), found.each)
    abstained = np.zeros((len(found.each), 1))
    abstained[rows[found.columns == num_targets]] = 1
    return abstained


def _changes(names: Sequence[str], before: Any, after: Any) -> list[dict[str, Any]]:
    """The largest changes of shares, the largest first."""
    before, after = np.asarray(before), np.asarray(after)
    order = np.argsort(-np.abs(after - before), kind="stable")[:_MOST_NAMED]
    return [{"name": names[i], "before": float(before[i]), "new": float(after[i])} for i in order.tolist()]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
