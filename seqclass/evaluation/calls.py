"""What a model says yes to: the calls of yes-or-no targets at a threshold, and of classes by the highest score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.evaluation.multilabel import Labels, Metrics, Scores
from seqclass.evaluation.single_label import call_classes
from seqclass.metrics import BinaryCounts

THRESHOLD = 0.5
"""From which probability on a target is called, where a model knows no better."""


def count_calls(
    labels: Labels, scores: Scores, metrics: Metrics, exclusive: Sequence[str], thresholds: NDArray[Any]
) -> BinaryCounts:
    """How often each target was called, and rightly so.

    Args:
        labels: `(samples, targets)` ones and zeros, -1 where one is missing.
        scores: `(samples, targets)`.
        metrics: What was measured from them.
        exclusive: Groups of targets, of which that with the highest score is called.
        thresholds: `(targets,)`, of the others.
    """
    counts = BinaryCounts.of(labels, scores, thresholds)
    for group in exclusive:
        calls = call_classes(labels, scores, metrics.targets, group)
        classes = calls.counts
        for ours, theirs in (
            (counts.known, len(calls.known)),
            (counts.support, classes.support),
            (counts.called, classes.called),
            (counts.hits, classes.hits),
        ):
            ours[calls.members] = theirs
    return counts


def summarise_calls(counts: BinaryCounts, metrics: Metrics, exclusive: Sequence[str]) -> dict[str, Any] | None:
    """Figures of the yes-or-no targets with enough positives, as JSON can hold them; None where there are none.

    "micro" has precision, recall and F1 of all their calls together, "macro" the means over targets of these, of
    Matthews' correlation, of accuracy and of balanced accuracy.
    """
    chosen = metrics.scored & [target.group not in exclusive for target in metrics.targets]
    if not chosen.any():
        return None
    names = ("precision", "recall", "f1", "mcc", "accuracy", "balanced_accuracy")
    return {
        "targets": int(np.count_nonzero(chosen)),
        "micro": counts.micro(chosen),
        "macro": {name: float(getattr(counts, name)[chosen].mean()) for name in names},
    }
