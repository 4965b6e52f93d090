"""The answers of a model on validation, collected batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqclass.data.labels import LabelLayout
from seqclass.data.loader import Batch
from seqclass.evaluation.multilabel import counted_targets
from seqclass.metrics import MISSING, RankingMetrics, rank_targets

# Of an exclusive group with more classes, only the answer is kept, and not the probability of each class.
MOST_CLASSES = 40


class Validated(NamedTuple):
    """All answers of one validation, of all processes.

    Attributes:
        ranked: `(ranked,)`, indices of the targets that are ranked: those that are a yes or no, then the classes of
            exclusive groups of at most 40.
        num_binary: How many of them are a yes or no.
        labels: `(samples, ranked)` zeros and ones, -1 where one is missing.
        scores: `(samples, ranked)`, probabilities.
        ranking: AUROC and average precision of the ranked.
        truth: `(samples, exclusive groups)`, index of the true class in its group, -1 where it is missing.
        guess: `(samples, exclusive groups)`, index of the most probable class.
    """

    ranked: NDArray[np.int64]
    num_binary: int
    labels: NDArray[np.int8]
    scores: NDArray[np.float32]
    ranking: RankingMetrics
    truth: NDArray[np.int64]
    guess: NDArray[np.int64]

    @property
    def positives(self) -> NDArray[np.int64]:
        """`(ranked,)`, how many samples carry each."""
        counts: NDArray[np.int64] = np.count_nonzero(self.labels == 1, axis=0)
        return counts

    @property
    def known(self) -> NDArray[np.int64]:
        """`(ranked,)`, of how many samples it is known whether they carry it."""
        counts: NDArray[np.int64] = np.count_nonzero(self.labels != MISSING, axis=0)
        return counts

    @property
    def counted(self) -> NDArray[np.bool_]:
        """`(ranked,)`: yes-or-no targets that means go by."""
        binary = self.num_binary
        counted = np.zeros(len(self.ranked), dtype=bool)
        counted[:binary] = counted_targets(self.positives[:binary], self.known[:binary])
        return counted

    def accuracy(self, group: int | None = None) -> float:
        """The share of known answers that are right, of an exclusive group or of all; 0 where none is known."""
        truth, guess = (each if group is None else each[:, group] for each in (self.truth, self.guess))
        known = truth != MISSING
        return float((guess == truth)[known].sum() / max(1, int(known.sum())))


class ValidationAnswers:
    """Collects what a model answers.

    Args:
        layout: What the labels of a batch mean.
    """

    def __init__(self, layout: LabelLayout) -> None:
        self._layout = layout
        self._groups = [torch.from_numpy(layout.members(group)) for group in layout.exclusive]
        self._small = [number for number, group in enumerate(self._groups) if len(group) <= MOST_CLASSES]
        self._columns = torch.cat([torch.from_numpy(layout.binary), *(self._groups[number] for number in self._small)])
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, scores: Tensor, batch: Batch) -> None:
        """Takes a batch with its probabilities `(batch, targets)`."""
        layout, device = self._layout, scores.device
        truth = batch.classes(layout)
        guess = [scores[:, group.to(device)].argmax(dim=1) for group in self._groups]
        answers = torch.stack([*truth.unbind(1), *guess], dim=1) if guess else truth
        labels, present = batch.binary(layout).to(torch.int8), batch.present(layout)
        parts = [labels if present is None else torch.where(present, labels, MISSING)]
        for number in self._small:
            classes = torch.arange(len(self._groups[number]), device=device)
            right = (truth[:, number, None] == classes).to(torch.int8)
            parts.append(torch.where(truth[:, number, None] == MISSING, MISSING, right))
        ranked = torch.cat(parts, dim=1), scores[:, self._columns.to(device)]
        self._parts.append((answers.cpu(), ranked[0].cpu(), ranked[1].cpu()))

    def finish(self, gather: Callable[[Tensor], Tensor]) -> Validated:
        """What they come to; the next validation begins afresh.

        Args:
            gather: From the rows of this process to those of all.
        """
        answers, labels, scores = (gather(torch.cat(parts)) for parts in zip(*self._parts, strict=True))
        self._parts = []
        truth, guess = answers.numpy()[:, : len(self._groups)], answers.numpy()[:, len(self._groups) :]
        ranking = rank_targets(labels.numpy(), scores.numpy())
        return Validated(
            ranked=self._columns.numpy(),
            num_binary=len(self._layout.binary),
            labels=labels.numpy(),
            scores=scores.numpy(),
            ranking=ranking,
            truth=truth,
            guess=guess,
        )
