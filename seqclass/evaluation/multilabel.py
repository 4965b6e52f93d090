"""How well many targets are told apart at once: AUROC and average precision of each, and what they come to together.

Where most samples carry no label at all, AUROC mostly says that labelled samples look different from the rest; AUROC
within labelled samples says whether targets are told from each other. So it stands beside the other two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from seqclass.errors import EvaluationError
from seqclass.metrics import MISSING, RankingMetrics, rank_targets
from seqclass.metrics.on_device import rank_tensors
from seqclass.targets import Target

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Scores = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

# A mean over targets leaves out those with fewer positives: their metrics are mostly chance.
MIN_POSITIVES = 10

METRICS = ("average_precision", "auroc", "auroc_labelled", "max_f1")


def counted_targets(positives: Counts, known: Counts | int) -> NDArray[np.bool_]:
    """Which targets a choice on validation goes by, `(targets,)`: those with enough positives and any negative.

    Where none has `MIN_POSITIVES`, as in small data, those with the most do.

    Args:
        positives: `(targets,)`, how many of the samples carry each.
        known: `(targets,)`, or one number: of how many samples it is known whether they carry it.
    """
    ranked = (positives > 0) & (positives < known)
    return ranked & (positives >= min(MIN_POSITIVES, int(positives[ranked].max(initial=0))))


class Baseline(NamedTuple):
    """What a model is held against: scores `(samples, targets)`, and how they were made, as JSON can hold it."""

    scores: Scores
    settings: dict[str, Any]


@dataclass(frozen=True)
class Metrics:
    """The metrics of each target on one set of samples; arrays are `(targets,)`, NaN where a metric is undefined.

    Args:
        targets: Names and groups.
        average_precision: Step-wise area under the precision-recall curve.
        auroc: Area under the ROC curve.
        auroc_labelled: AUROC among the samples that carry at least one label.
        max_f1: The highest F1 of any threshold, which no threshold chosen beforehand reaches.
        positives: How many of the samples carry the target.
        train_positives: How many training samples do; the weights of the weighted means.
        known: Of how many samples it is known whether they carry the target.
        num_samples: How many samples were scored.
        min_positives: Targets with fewer positives are left out of `summary`.
    """

    targets: Sequence[Target]
    average_precision: Floats
    auroc: Floats
    auroc_labelled: Floats
    max_f1: Floats
    positives: Counts
    train_positives: Counts
    known: Counts
    num_samples: int
    min_positives: int

    @property
    def prevalence(self) -> Floats:
        """The share of samples with a label that carry each target, which is also the average precision of chance."""
        return self.positives / np.maximum(self.known, 1)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which targets have `min_positives` positives and at least one negative."""
        return (self.positives >= self.min_positives) & (self.positives < self.known)

    @property
    def groups(self) -> list[str]:
        """The targets' groups in order of appearance; none where there is only one."""
        names = list(dict.fromkeys(target.group for target in self.targets))
        return names if len(names) > 1 else []

    @property
    def left_out(self) -> list[str]:
        """Names of the targets that are not `scored`."""
        return [target.name for target, scored in zip(self.targets, self.scored, strict=True) if not scored]

    def summary(self) -> dict[str, Any]:
        """Means over the scored targets, as JSON can hold them (None where undefined).

        "targets" is their number; each metric has its mean, its median and its mean weighted by training positives.
        The same again by group under "groups", where there are several.
        """
        out = self._means(self.scored)
        if self.groups:
            group = np.array([target.group for target in self.targets])
            out["groups"] = {name: self._means(self.scored & (group == name)) for name in self.groups}
        return out

    def _means(self, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        out: dict[str, Any] = {"targets": int(chosen.sum())}
        for name in METRICS:
            values: Floats = getattr(self, name)
            defined = chosen & ~np.isnan(values)
            out[name] = _means(values[defined], self.train_positives[defined])
        return out


def measure(
    labels: Labels,
    scores: Scores,
    targets: Sequence[Target],
    train_positives: NDArray[np.integer[Any]],
    min_positives: int = MIN_POSITIVES,
) -> Metrics:
    """Measures how well scores rank the samples of every target.

    Args:
        labels: `(samples, targets)` zeros and ones, -1 where a label is missing.
        scores: `(samples, targets)`, probabilities or logits.
        targets: Names and groups, in the order of the columns.
        train_positives: `(targets,)`, how many training samples carry each.
        min_positives: Targets with fewer positives are measured, but left out of means.

    Raises:
        EvaluationError: Shapes do not fit, there are no samples, a label is none of 0, 1 and -1, or a score is NaN.
    """
    shape = (len(labels), len(targets))
    if labels.shape != shape or scores.shape != shape or train_positives.shape != shape[1:]:
        raise EvaluationError(
            f"{len(targets)} targets have labels of shape {labels.shape}, scores of shape {scores.shape} "
            f"and {len(train_positives)} counts of training positives",
            remedy="Pass one column a target and one row a sample to each",
        )
    if not len(labels):
        raise EvaluationError("there are no samples to evaluate", remedy="Choose a split that has samples")
    everywhere, labelled = _rank(labels, scores, np.asarray((labels == 1).any(axis=1)))
    return Metrics(
        targets=targets,
        average_precision=everywhere.average_precision,
        auroc=everywhere.auroc,
        auroc_labelled=labelled.auroc,
        max_f1=everywhere.max_f1,
        positives=(labels == 1).sum(axis=0, dtype=np.int64),
        train_positives=train_positives.astype(np.int64),
        known=(labels != MISSING).sum(axis=0, dtype=np.int64),
        num_samples=len(labels),
        min_positives=min_positives,
    )


def _rank(labels: Labels, scores: Scores, labelled: NDArray[np.bool_]) -> tuple[RankingMetrics, RankingMetrics]:
    """Of all samples, and of the labelled ones; on a GPU where there is one."""
    if not torch.cuda.is_available():
        return rank_targets(labels, scores), rank_targets(labels, scores, labelled)
    here, there = (torch.from_numpy(np.ascontiguousarray(each)).cuda() for each in (labels, scores))
    return rank_tensors(here, there), rank_tensors(here, there, torch.from_numpy(labelled).cuda())


def per_target_table(
    model: Metrics, baselines: Mapping[str, Metrics], more: Mapping[str, Sequence[Any] | NDArray[Any]] | None = None
) -> str:
    """One tab-separated line a target below a header; an undefined metric is an empty field.

    Columns: name, group, positives, prevalence, train_positives, the model's metrics, more of the model, then average
    precision and AUROC of each baseline, as "average_precision:NAME" and "auroc:NAME".

    Args:
        model: What was measured of it.
        baselines: And of each baseline.
        more: Further columns about the model, `(targets,)` each.
    """
    columns: dict[str, Sequence[Any] | NDArray[Any]] = {
        "name": [target.name for target in model.targets],
        "group": [target.group for target in model.targets],
        "positives": model.positives,
        "prevalence": model.prevalence,
        "train_positives": model.train_positives,
        **{name: getattr(model, name) for name in METRICS},
        **(more or {}),
    }
    for baseline, metrics in baselines.items():
        columns[f"average_precision:{baseline}"] = metrics.average_precision
        columns[f"auroc:{baseline}"] = metrics.auroc
    rows = zip(*columns.values(), strict=True)
    return "".join("\t".join(map(_field, row)) + "\n" for row in [tuple(columns), *rows])


def _field(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return str(value)


def _means(values: Floats, weights: Counts) -> dict[str, float | None]:
    if not len(values):
        return {"mean": None, "median": None, "weighted_mean": None}
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "weighted_mean": float(np.average(values, weights=weights)) if weights.any() else None,
    }
