"""How often the right one of targets that exclude each other has the highest score, and what else follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.data.store import Indices
from seqclass.errors import EvaluationError
from seqclass.evaluation.multilabel import Floats, Labels, Scores
from seqclass.metrics import MISSING, ClassCounts, top_k_accuracy
from seqclass.targets import Target

# Of so many guesses one being right is worth telling where there are more classes.
_GUESSES = (3, 5, 10)


class Calls(NamedTuple):
    """The true and the called class of each sample in an exclusive group.

    Args:
        members: Columns of the group's targets.
        truth: `(samples,)`, -1 where it is missing.
        calls: `(samples,)`, the class of the highest score, the first of equal ones.
    """

    members: Indices
    truth: NDArray[np.int64]
    calls: NDArray[np.int64]

    @property
    def known(self) -> Indices:
        """Indices of the samples whose class is known."""
        return np.flatnonzero(self.truth != MISSING)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the call is right, of the samples whose class is known."""
        right: NDArray[np.bool_] = (self.truth == self.calls)[self.known]
        return right

    @property
    def counts(self) -> ClassCounts:
        """Of the samples whose class is known."""
        return ClassCounts.of(self.truth[self.known], self.calls[self.known], len(self.members))


def call_classes(labels: Labels, scores: Scores, targets: Sequence[Target], group: str) -> Calls:
    """What is called in an exclusive group; arguments and errors as in `measure_classes`."""
    members = np.flatnonzero([target.group == group for target in targets])
    ours = labels[:, members]
    truth = np.where((ours != MISSING).all(axis=1), ours.argmax(axis=1), MISSING)
    if (truth == MISSING).all():
        raise EvaluationError(f"no sample has a label of '{group}'", remedy="Choose a split that has labels")
    return Calls(members, truth, scores[:, members].argmax(axis=1))


def figures_of(counts: ClassCounts) -> dict[str, Floats]:
    """The figures of a set of calls that intervals are given for."""
    names = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc")
    return {name: getattr(counts, name) for name in names}


def measure_classes(labels: Labels, scores: Scores, targets: Sequence[Target], group: str) -> dict[str, Any]:
    """Figures of an exclusive group, as JSON can hold them; samples without its label are left out.

    "samples" is how many have one, "classes" how many targets the group has. "accuracy" is the share of samples whose
    highest score is at their class (the first of equal ones), which micro-averaged F1 is too, and Q10 of ten classes;
    "balanced_accuracy" the mean of that share over the classes that occur; "macro_f1" the mean F1 of classes,
    "weighted_f1" that weighted by samples; "mcc" Matthews' correlation, for several classes in Gorodkin's form;
    "top_3_accuracy" and so on the share of samples whose class is among the three of highest score, where there are
    more classes than that.

    Args:
        labels: `(samples, targets)` zeros and ones, -1 where one is missing.
        scores: `(samples, targets)`.
        targets: Names and groups, in the order of the columns.
        group: Name of the exclusive group.

    Raises:
        EvaluationError: No sample has a label of this group.
    """
    calls = call_classes(labels, scores, targets, group)
    known, classes = calls.known, len(calls.members)
    ours = scores[np.ix_(known, calls.members)]
    return {
        "samples": len(known),
        "classes": classes,
        **{name: float(value) for name, value in figures_of(calls.counts).items()},
        **{f"top_{k}_accuracy": top_k_accuracy(calls.truth[known], ours, k) for k in _GUESSES if k < classes},
    }
