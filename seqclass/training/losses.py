"""What training lowers: how surprising the labels are to the model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from seqclass.data.labels import LabelLayout
from seqclass.data.loader import Batch
from seqclass.metrics import MISSING


def label_loss(logits: Tensor, batch: Batch, layout: LabelLayout) -> Tensor:
    """Binary cross-entropy of the yes-or-no targets plus the cross-entropy of each exclusive group.

    Each is the mean over the labels that are not missing; one of which the batch knows none adds nothing.

    Args:
        logits: `(batch, targets)`.
        batch: Its labels.
        layout: What they mean.
    """
    loss = logits.new_zeros((), dtype=torch.float32)
    logits = logits.float()
    if len(layout.binary):
        columns = torch.from_numpy(layout.binary).to(logits.device)
        ours = logits if len(columns) == logits.shape[1] else logits[:, columns]
        present = batch.present(layout)
        if present is None:
            loss = loss + F.binary_cross_entropy_with_logits(ours, batch.binary(layout))
        else:
            each = F.binary_cross_entropy_with_logits(ours, batch.binary(layout), reduction="none")
            loss = loss + torch.where(present, each, 0).sum() / present.sum().clamp_min(1)
    for group, classes in zip(layout.exclusive, batch.classes(layout).unbind(1), strict=True):
        columns = torch.from_numpy(layout.members(group)).to(logits.device)
        ours = logits if len(columns) == logits.shape[1] else logits[:, columns]
        total = F.cross_entropy(ours, classes, ignore_index=MISSING, reduction="sum")
        loss = loss + total / (classes != MISSING).sum().clamp_min(1)
    return loss
