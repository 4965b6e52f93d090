"""The exact ranking metrics of many targets on tensors, where they lie: on a GPU, in seconds for billions of scores.

Each target is sorted once; where neighbours in that order differ, a group of ties ends. Between two such ends the ROC
curve is a straight line, and the precision-recall curve a step, as in `seqclass.metrics.ranking`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from seqclass.errors import EvaluationError
from seqclass.metrics.ranking import MISSING, RankingMetrics

# So many scores are sorted at once; each takes some 100 bytes meanwhile.
_SCORES_AT_ONCE = 1 << 24


def rank_tensors(labels: Tensor, scores: Tensor, within: Tensor | None = None) -> RankingMetrics:
    """As `rank_targets`, for tensors on one device, whose memory holds a copy of a few targets at a time.

    Args:
        labels: `(samples, targets)` zeros and ones, -1 where one is missing.
        scores: `(samples, targets)`.
        within: `(samples,)` bool; only samples where this is true are ranked. Default: all.

    Raises:
        EvaluationError: Shapes differ, a label is neither 0 nor 1, or a score is NaN.
    """
    if labels.ndim != 2 or labels.shape != scores.shape:
        raise EvaluationError(
            f"labels have shape {tuple(labels.shape)} and scores {tuple(scores.shape)}, where both should be "
            "(samples, targets)",
            remedy="Pass one label and one score a sample and target",
        )
    at_once = max(1, _SCORES_AT_ONCE // max(1, len(labels)))
    parts = [torch.empty(3, 0, dtype=torch.float64)]
    for begin in range(0, labels.shape[1], at_once):
        columns = [part[:, begin : begin + at_once] for part in (labels, scores)]
        if within is not None:
            columns = [part[within] for part in columns]
        known, score = (part.T.contiguous() for part in columns)
        _refuse(score.isnan(), begin, "the score is NaN, which has no rank", "Look for a diverged training run")
        odd = (known != 0) & (known != 1) & (known != MISSING)
        _refuse(odd, begin, "the label is none of 0, 1 and -1", "Turn the labels into zeros and ones")
        parts.append(_rank(known, score).cpu())
    return RankingMetrics(*torch.cat(parts, dim=1).numpy().astype(np.float64))


def _rank(labels: Tensor, scores: Tensor) -> Tensor:
    """AUROC, average precision and max-F1, `(3, targets)`, of labels and scores `(targets, samples)`."""
    if not labels.shape[1]:
        return torch.full((3, len(labels)), float("nan"), dtype=torch.float64)
    scores, order = scores.sort(dim=1, descending=True)
    labels = labels.gather(1, order)
    # Where a group of ties ends, these are how many score at least as high; what lies before repeats the last end.
    ends = torch.nn.functional.pad(scores[:, 1:] != scores[:, :-1], (0, 1), value=True)
    hits = torch.where(ends, (labels == 1).cumsum(1), 0).cummax(1).values
    false_alarms = torch.where(ends, (labels == 0).cumsum(1), 0).cummax(1).values
    positives, negatives = hits[:, -1:], false_alarms[:, -1:]
    new_hits, new_alarms = (part.diff(dim=1, prepend=part.new_zeros(len(part), 1)) for part in (hits, false_alarms))
    twice_right = ((2 * hits - new_hits) * new_alarms).sum(1)
    precision = hits.double() / (hits + false_alarms).clamp(min=1)
    metrics = torch.stack(
        [
            twice_right.double() / (2 * positives * negatives)[:, 0],
            (precision * new_hits).sum(1) / positives[:, 0],
            (2 * hits.double() / (hits + false_alarms + positives).clamp(min=1)).amax(1),
        ]
    )
    return metrics.masked_fill(((positives == 0) | (negatives == 0)).T, float("nan"))


def _refuse(bad: Tensor, first_target: int, problem: str, remedy: str) -> None:
    if bad.any():
        target, sample = bad.nonzero()[0].tolist()
        raise EvaluationError(
            problem, record=f"target {first_target + target}, sample {sample} (counted from 0)", remedy=remedy
        )
