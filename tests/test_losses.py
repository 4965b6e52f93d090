"""Losses against PyTorch's own options and against the papers' formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqclass.data.labels import LabelLayout
from seqclass.data.loader import Batch
from seqclass.errors import TrainingError
from seqclass.targets import Target
from seqclass.training.losses import LabelLoss, Loss

BINARY = LabelLayout([Target(name) for name in "abcd"])
CLASSES = LabelLayout([Target(name, "family") for name in "abcde"], ("family",))


def yes_or_no(seed: int = 0) -> tuple[Tensor, Tensor, Batch]:
    torch.manual_seed(seed)
    labels = torch.randint(0, 2, (30, 4))
    return 3 * torch.randn(30, 4, requires_grad=False), labels.float(), batch_of(BINARY.pack(labels.numpy()))


def families() -> tuple[Tensor, Tensor, Batch]:
    torch.manual_seed(1)
    classes = torch.randint(0, 5, (30,))
    return 3 * torch.randn(30, 5), classes, batch_of(CLASSES.pack(classes=classes.numpy()[:, None]))


def batch_of(packed: np.ndarray) -> Batch:
    count = len(packed)
    return Batch(torch.zeros(count, 1), None, torch.from_numpy(packed), torch.arange(count), 1.0)


def test_label_smoothing_is_pytorchs() -> None:
    logits, classes, batch = families()
    loss = LabelLoss(CLASSES, Loss(label_smoothing=0.1))(logits, batch)
    torch.testing.assert_close(loss, F.cross_entropy(logits, classes, label_smoothing=0.1))
    logits, labels, batch = yes_or_no()
    loss = LabelLoss(BINARY, Loss(label_smoothing=0.1))(logits, batch)
    two = torch.stack([torch.zeros_like(logits), logits], dim=1)
    torch.testing.assert_close(loss, F.cross_entropy(two, labels.long(), label_smoothing=0.1))


@pytest.mark.parametrize("focus", [0.0, 0.5, 2.0])
def test_focal_loss_is_that_of_the_paper(focus: float) -> None:
    logits, labels, batch = yes_or_no()
    right = torch.where(labels > 0, torch.sigmoid(logits), 1 - torch.sigmoid(logits))
    expected = (-((1 - right) ** focus) * right.log()).mean()
    torch.testing.assert_close(LabelLoss(BINARY, Loss("focal", focus))(logits, batch), expected)
    logits, classes, batch = families()
    right = torch.softmax(logits, dim=1)[torch.arange(30), classes]
    expected = (-((1 - right) ** focus) * right.log()).mean()
    torch.testing.assert_close(LabelLoss(CLASSES, Loss("focal", focus))(logits, batch), expected)


def test_asymmetric_loss_is_that_of_the_paper() -> None:
    logits, labels, batch = yes_or_no()
    p = torch.sigmoid(logits)
    shifted = (p - 0.05).clamp_min(0)
    expected = -(labels * p.log() + (1 - labels) * shifted**4 * (1 - shifted).log()).mean()
    torch.testing.assert_close(LabelLoss(BINARY, Loss("asymmetric", 4.0))(logits, batch), expected)


@pytest.mark.parametrize("kind", ["cross-entropy", "focal", "asymmetric"])
@pytest.mark.parametrize("focus", [0.5, 4.0])
def test_sure_predictions_have_finite_gradients(kind: str, focus: float) -> None:
    _, _, batch = yes_or_no()
    logits = torch.tensor([-300.0, -1.0, 3.0, 300.0]).repeat(30, 1).requires_grad_()
    LabelLoss(BINARY, Loss(kind, focus))(logits, batch).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_positives_weigh_what_pytorchs_pos_weight_says() -> None:
    logits, labels, batch = yes_or_no()
    positives, known = np.array([10, 1, 500, 0]), np.array([1000, 1000, 1000, 1000])
    loss = LabelLoss(BINARY, Loss(balance="positives"), positives, known)
    weight = torch.tensor([99.0, 100.0, 1.0, 100.0])  # the second would be 999, and the last infinite
    torch.testing.assert_close(
        loss(logits, batch), F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weight)
    )


def test_effective_numbers_are_those_of_the_paper() -> None:
    logits, classes, batch = families()
    counts, beta = np.array([1, 10, 100, 1000, 10_000]), 0.999
    weight = (1 - beta) / (1 - beta**counts)
    weight = torch.from_numpy(weight / weight.sum() * 5).float()
    expected = F.cross_entropy(logits, classes, weight=weight, reduction="sum") / 30
    loss = LabelLoss(CLASSES, Loss(balance="effective-number"), counts, np.full(5, counts.sum()))
    torch.testing.assert_close(loss(logits, batch), expected)


def test_a_target_with_as_many_positives_as_negatives_is_not_reweighed() -> None:
    logits, _, batch = yes_or_no()
    counts = np.full(4, 50), np.full(4, 100)
    for balance in ("positives", "effective-number"):
        loss = LabelLoss(BINARY, Loss(balance=balance), *counts)
        torch.testing.assert_close(loss(logits, batch), LabelLoss(BINARY)(logits, batch))


def test_losses_that_do_not_fit_the_targets_are_refused() -> None:
    with pytest.raises(TrainingError, match="an asymmetric loss for 'family', of which exactly one is true"):
        LabelLoss(CLASSES, Loss("asymmetric"))
    with pytest.raises(TrainingError, match="positives are to be weighed, and 'family' has classes"):
        LabelLoss(CLASSES, Loss(balance="positives"))
    with pytest.raises(TrainingError, match="needs their counts"):
        LabelLoss(BINARY, Loss(balance="positives"))
    with pytest.raises(TrainingError, match="label_smoothing 1"):
        Loss(label_smoothing=1.0)
