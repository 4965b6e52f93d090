"""Whether a model's probabilities can be taken at their word: Brier skill and calibration error, and the diagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.evaluation.multilabel import Floats, Labels, Metrics, Scores
from seqclass.evaluation.single_label import call_classes
from seqclass.metrics import MISSING, Reliability, brier_score, brier_skill, reliability
from seqclass.metrics.columns import map_targets
from seqclass.metrics.reliability import pool


@dataclass(frozen=True)
class Trust:
    """What was found.

    Args:
        brier_score: Of each target, `(targets,)`.
        brier_skill: Against always answering the prevalence, `(targets,)`; NaN where that is 0 or 1.
        calibration_error: Of each target, in ten bins of equal mass, `(targets,)`.
        summary: As JSON can hold it. "targets" has the means over the yes-or-no targets with enough positives; each
            exclusive group, by name, the Brier score and skill over its classes and the "calibration_error" of the
            probability of the called class.
        diagrams: By the same names, "targets" pooled over targets.
    """

    brier_score: Floats
    brier_skill: Floats
    calibration_error: Floats
    summary: dict[str, dict[str, float | None]]
    diagrams: dict[str, Reliability]


def are_probabilities(scores: Scores) -> bool:
    """Whether all scores lie from 0 to 1."""
    return bool(scores.size) and float(scores.min()) >= 0 and float(scores.max()) <= 1


def examine(labels: Labels, scores: Scores, metrics: Metrics, exclusive: Sequence[str]) -> Trust:
    """Holds probabilities against what came true.

    Args:
        labels: `(samples, targets)` ones and zeros, -1 where one is missing.
        scores: `(samples, targets)`, probabilities; those of an exclusive group add up to 1.
        metrics: What was measured from them.
        exclusive: Groups of targets of which exactly one is true.
    """

    def of_target(target: int, labels: NDArray[Any], scores: NDArray[Any]) -> tuple[float, float, Reliability]:
        known = labels != MISSING
        if not known.all():
            labels, scores = labels[known], scores[known]
        if not len(labels):
            return float("nan"), float("nan"), reliability(labels, scores)
        return brier_score(labels, scores), brier_skill(labels, scores), reliability(labels, scores)

    scores_of, skills, diagrams = zip(*map_targets(of_target, labels, scores), strict=True)
    errors = [diagram.calibration_error for diagram in diagrams]
    columns = {
        "brier_score": np.array(scores_of),
        "brier_skill": np.array(skills),
        "calibration_error": np.array(errors),
    }
    summary: dict[str, dict[str, float | None]] = {}
    drawn: dict[str, Reliability] = {}
    binary = np.array([target.group not in exclusive for target in metrics.targets])
    chosen = np.flatnonzero(binary & metrics.scored)
    if len(chosen):
        summary["targets"] = {name: float(values[chosen].mean()) for name, values in columns.items()}
        drawn["targets"] = pool([diagrams[target] for target in chosen])
    for group in exclusive:
        calls = call_classes(labels, scores, metrics.targets, group)
        rows, ours = calls.known, np.ix_(calls.known, calls.members)
        drawn[group] = reliability(calls.right.astype(np.int8), scores[rows, calls.members[calls.calls[rows]]])
        skill = brier_skill(labels[ours], scores[ours])
        summary[group] = {
            "brier_score": brier_score(labels[ours], scores[ours]),
            "brier_skill": None if np.isnan(skill) else skill,
            "calibration_error": drawn[group].calibration_error,
        }
    return Trust(**columns, summary=summary, diagrams=drawn)
