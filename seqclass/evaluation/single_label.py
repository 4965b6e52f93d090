"""How often the right one of targets that exclude each other has the highest score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqclass.errors import EvaluationError
from seqclass.evaluation.multilabel import Labels, Scores
from seqclass.metrics import MISSING
from seqclass.targets import Target


def measure_classes(labels: Labels, scores: Scores, targets: Sequence[Target], group: str) -> dict[str, Any]:
    """Accuracy in an exclusive group, as JSON can hold it; samples without its label are left out.

    "samples" is how many have one, "accuracy" the share of them whose highest score is at their class (the first of
    equal ones), and "balanced_accuracy" the mean of that share over the classes that occur.

    Args:
        labels: `(samples, targets)` zeros and ones, -1 where one is missing.
        scores: `(samples, targets)`.
        targets: Names and groups, in the order of the columns.
        group: Name of the exclusive group.

    Raises:
        EvaluationError: No sample has a label of this group.
    """
    members = np.flatnonzero([target.group == group for target in targets])
    ours = labels[:, members]
    rows = np.flatnonzero((ours != MISSING).all(axis=1))
    if not len(rows):
        raise EvaluationError(f"no sample has a label of '{group}'", remedy="Choose a split that has labels")
    truth, guess = ours[rows].argmax(axis=1), scores[np.ix_(rows, members)].argmax(axis=1)
    right = truth == guess
    count = np.bincount(truth, minlength=len(members))
    hits = np.bincount(truth, right, len(members))[count > 0]
    return {
        "samples": len(rows),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float((hits / count[count > 0]).mean()),
    }
