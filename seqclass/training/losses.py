"""What training lowers: how surprising the labels are to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seqclass.data.labels import LabelLayout
from seqclass.data.loader import Batch
from seqclass.errors import TrainingError
from seqclass.metrics import MISSING

Counts = NDArray[np.int64]

# In the asymmetric loss, so small a probability of a negative is small enough (Ridnik et al. 2021, equation 5).
_MARGIN = 0.05
# A power of exactly 0 may have an infinite slope.
_TINY = 1e-12


@dataclass
class Loss:
    """Which loss, and how rare and frequent labels are weighed against each other.

    Args:
        kind: "cross-entropy", binary or over classes. "focal" (Lin et al. 2017, arXiv:1708.02002) and "asymmetric"
            (Ridnik et al. 2021, arXiv:2009.14119; yes-or-no targets only) hold back what is easy already.
        focus: Power by which they do: of focal losses for all labels, of asymmetric ones for negatives.
        label_smoothing: This share of each label is spread evenly over yes and no, or over the classes.
        balance: "none". "positives" weighs a target's positives by its negatives over its positives, as `pos_weight`
            does; "effective-number" weighs each label by the inverse effective number of its samples (Cui et al. 2019,
            arXiv:1901.05555). Both from the training split.
        overlap: Beta of the effective number `(1 - beta ** n) / (1 - beta)`.
        max_weight: No label weighs more.

    Raises:
        TrainingError: A number is out of range.
    """

    kind: Literal["cross-entropy", "focal", "asymmetric"] = "cross-entropy"
    focus: float = 2.0
    label_smoothing: float = 0.0
    balance: Literal["none", "positives", "effective-number"] = "none"
    overlap: float = 0.999
    max_weight: float = 100.0

    def __post_init__(self) -> None:
        for name, value, right in (
            ("focus", self.focus, self.focus >= 0),
            ("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1),
            ("overlap", self.overlap, 0 <= self.overlap < 1),
            ("max_weight", self.max_weight, self.max_weight > 0),
        ):
            if not right:
                raise TrainingError(
                    f"the loss has {name} {value}",
                    remedy="Let focus be at least 0, label_smoothing and overlap in [0, 1), max_weight positive",
                )


class LabelLoss(torch.nn.Module):
    """The loss of the yes-or-no targets plus that of each exclusive group.

    Each is the mean over the labels that are not missing; one of which the batch knows none adds nothing.

    Args:
        layout: What the labels of a batch mean.
        loss: Which loss.
        positives: Training samples that carry each target, `(targets,)`; for a loss that balances.
        known: Training samples of which it is known whether they do.

    Raises:
        TrainingError: The loss is not defined for such targets, or lacks the counts to balance by.
    """

    def __init__(
        self,
        layout: LabelLayout,
        loss: Loss | None = None,
        positives: Counts | None = None,
        known: Counts | None = None,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.loss = loss or Loss()
        if self.loss.kind == "asymmetric" and layout.exclusive:
            raise TrainingError(
                f"an asymmetric loss for '{layout.exclusive[0]}', of which exactly one is true",
                remedy="Choose --recipe.loss.kind focal or cross-entropy",
            )
        if self.loss.balance == "positives" and not len(layout.binary):
            raise TrainingError(
                f"positives are to be weighed, and '{layout.exclusive[0]}' has classes",
                remedy="Choose --recipe.loss.balance effective-number",
            )
        self.weights: Tensor | None  # (2, targets): of a no and of a yes
        weights = None
        if self.loss.balance != "none":
            if positives is None or known is None:
                raise TrainingError(
                    "a loss that balances labels needs their counts", remedy="Pass those of the training split"
                )
            weights = torch.from_numpy(_weights(self.loss, layout, positives, known)).float()
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of a batch's logits `(batch, targets)`."""
        total = logits.new_zeros((), dtype=torch.float32)
        logits = logits.float()
        if len(self.layout.binary):
            columns = torch.from_numpy(self.layout.binary).to(logits.device)
            each = self._of_yes_or_no(logits[:, columns], batch.binary(self.layout), columns)
            present = batch.present(self.layout)
            if present is None:
                total = total + each.mean()
            else:
                total = total + torch.where(present, each, 0).sum() / present.sum().clamp_min(1)
        for group, classes in zip(self.layout.exclusive, batch.classes(self.layout).unbind(1), strict=True):
            columns = torch.from_numpy(self.layout.members(group)).to(logits.device)
            each = self._of_classes(logits[:, columns], classes, columns)
            total = total + each.sum() / (classes != MISSING).sum().clamp_min(1)
        return total

    def _of_yes_or_no(self, logits: Tensor, labels: Tensor, columns: Tensor) -> Tensor:
        smoothed = labels if not self.loss.label_smoothing else _smooth(labels, self.loss.label_smoothing, 2)
        if self.loss.kind == "asymmetric":
            surprise = self._asymmetric(logits, smoothed)
        else:
            surprise = F.binary_cross_entropy_with_logits(logits, smoothed, reduction="none")
            if self.loss.kind == "focal":
                surprise = surprise * _of_the_other(logits, labels) ** self.loss.focus
        if self.weights is None:
            return surprise
        no, yes = self.weights[:, columns]
        return surprise * torch.where(labels > 0, yes, no)

    def _asymmetric(self, logits: Tensor, labels: Tensor) -> Tensor:
        shifted = (torch.sigmoid(logits) - _MARGIN).clamp_min(_TINY)
        negative = -torch.log1p(-shifted) * shifted**self.loss.focus
        return labels * F.softplus(-logits) + (1 - labels) * negative

    def _of_classes(self, logits: Tensor, classes: Tensor, columns: Tensor) -> Tensor:
        smoothing = self.loss.label_smoothing
        surprise = F.cross_entropy(logits, classes, ignore_index=MISSING, reduction="none", label_smoothing=smoothing)
        there = classes.clamp_min(0)
        if self.loss.kind == "focal":
            right = torch.log_softmax(logits, dim=1).gather(1, there.unsqueeze(1)).squeeze(1).exp()
            surprise = surprise * (1 - right).clamp_min(_TINY) ** self.loss.focus
        return surprise if self.weights is None else surprise * self.weights[1, columns][there]


def _smooth(labels: Tensor, smoothing: float, classes: int) -> Tensor:
    return labels * (1 - smoothing) + smoothing / classes


def _of_the_other(logits: Tensor, labels: Tensor) -> Tensor:
    """The probability of the wrong answer."""
    return torch.sigmoid(torch.where(labels > 0, -logits, logits)).clamp_min(_TINY)


def _weights(loss: Loss, layout: LabelLayout, positives: Counts, known: Counts) -> NDArray[np.float64]:
    """What a no and a yes of each target weigh, `(2, targets)`; those of a group's classes have a mean of 1."""
    counts = np.stack([known - positives, positives]).clip(1).astype(np.float64)
    if loss.balance == "positives":
        weights = np.stack([np.ones(len(positives)), counts[0] / counts[1]])
        for group in layout.exclusive:
            weights[:, layout.members(group)] = 1
    else:
        weights = (
            (1 - loss.overlap) / -np.expm1(counts * np.log(loss.overlap)) if loss.overlap else np.ones_like(counts)
        )
        weights[:, layout.binary] /= weights[:, layout.binary].mean(axis=0)
        for group in layout.exclusive:
            weights[1, layout.members(group)] /= weights[1, layout.members(group)].mean()
    return weights.clip(max=loss.max_weight)
