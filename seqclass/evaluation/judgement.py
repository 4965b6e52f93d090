"""The figures that a classifier is judged by on some samples, each with what it is on test sets drawn anew.

Where there are yes-or-no questions, these are the means of average precision and AUROC over the targets with enough
positives. Of each exclusive group they are accuracy and its kin. From them come intervals, and from those of two
classifiers on the same draws the paired comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.evaluation.bootstrap import (
    Draw,
    RankingReplicates,
    interval,
    mean_over,
    resample_classes,
    resample_ranking,
)
from seqclass.evaluation.multilabel import Floats, Labels, Metrics, Scores
from seqclass.evaluation.paired import Figure, compare_figures, mcnemar
from seqclass.evaluation.single_label import Calls, call_classes, figures_of
from seqclass.metrics import ClassCounts
from seqclass.targets import Target

RANKING = ("average_precision", "auroc")


@dataclass(frozen=True)
class Judgement:
    """What a classifier is judged by.

    Args:
        means: Of "average_precision" and "auroc" over targets; none where all targets are in exclusive groups.
        targets: Of each target, in each replicate; None in that case.
        classes: By exclusive group, the figures of its calls.
        right: By exclusive group, whether the call is right, of the samples whose class is known.
        blocks: How many blocks the replicates were drawn from.
    """

    means: dict[str, Figure]
    targets: RankingReplicates | None
    classes: dict[str, dict[str, Figure]]
    right: dict[str, NDArray[np.bool_]]
    blocks: int

    def mean_interval(self, metric: str) -> list[float] | None:
        """The 95 % interval of a mean over targets."""
        return interval(*self.means[metric], self.blocks) if metric in self.means else None

    def class_intervals(self, group: str) -> dict[str, list[float] | None]:
        """The 95 % intervals of the figures of an exclusive group."""
        return {
            name: interval(*figure, self.blocks, lowest=-1.0 if name == "mcc" else 0.0)
            for name, figure in self.classes[group].items()
        }


def judge(labels: Labels, scores: Scores, metrics: Metrics, exclusive: Sequence[str], draw: Draw) -> Judgement:
    """Judges scores.

    Args:
        labels: `(samples, targets)` ones and zeros, -1 where one is missing.
        scores: `(samples, targets)`.
        metrics: What was measured from them.
        exclusive: Groups of targets of which exactly one is true.
        draw: Of the samples' blocks.
    """
    means: dict[str, Figure] = {}
    replicates = None
    if asks_yes_or_no(metrics.targets, exclusive):
        replicates = resample_ranking(labels, scores, draw)
        for name in RANKING:
            values: Floats = getattr(metrics, name)[metrics.scored]
            value = float(values.mean()) if len(values) else float("nan")
            means[name] = Figure(value, mean_over(metrics.scored, getattr(replicates, name)))
    classes, right = {}, {}
    for group in exclusive:
        calls = call_classes(labels, scores, metrics.targets, group)
        drawn = resample_classes(calls.truth, calls.calls, len(calls.members), draw, figures_of)
        classes[group] = {name: Figure(float(value), drawn[name]) for name, value in figures_of(calls.counts).items()}
        right[group] = calls.right
    return Judgement(means, replicates, classes, right, draw.blocks.number)


def recall_intervals(calls: Calls, draw: Draw) -> Floats:
    """The 95 % interval of each class's recall, `(classes, 2)`; NaN where its samples are in fewer than two blocks.

    Only the blocks that hold a class say anything of it, so their number is what an interval goes by.

    Args:
        calls: Of an exclusive group.
        draw: Of the samples' blocks.
    """

    def recall(counts: ClassCounts) -> dict[str, Floats]:
        return {"recall": np.where(counts.support > 0, counts.recall, np.nan).T}

    classes = len(calls.members)
    drawn = resample_classes(calls.truth, calls.calls, classes, draw, recall)["recall"]
    held = np.unique(calls.truth[calls.known] * draw.blocks.number + draw.blocks.index[calls.known])
    blocks = np.bincount(held // draw.blocks.number, minlength=classes)
    found = (interval(*each) for each in zip(calls.counts.recall, drawn.T, blocks, strict=True))
    return np.array([(np.nan, np.nan) if ends is None else ends for ends in found])


def asks_yes_or_no(targets: Sequence[Target], exclusive: Sequence[str]) -> bool:
    """Whether any target is in no exclusive group."""
    return any(target.group not in exclusive for target in targets)


def compare(names: tuple[str, str], first: Judgement, second: Judgement) -> list[dict[str, Any]]:
    """The paired comparison of two classifiers on the same samples and draws, in each headline figure.

    That is the mean average precision, and the accuracy of each exclusive group; see `compare_figures`.

    Args:
        names: Of the two.
        first: Of one.
        second: Of the other.
    """
    found = []
    if first.means:
        one, other = (each.means["average_precision"] for each in (first, second))
        found.append(compare_figures("mean average precision", names, one, other, first.blocks))
    for group in first.classes:
        one, other = (each.classes[group]["accuracy"] for each in (first, second))
        test = mcnemar(first.right[group], second.right[group])
        found.append(compare_figures(f"accuracy of {group}", names, one, other, first.blocks, test))
    return found
