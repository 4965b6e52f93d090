"""Classification as a Lightning task: loss, optimiser, schedule, validation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from seqclass.bundle import Bundle
from seqclass.data.augment import Augmentation
from seqclass.data.labels import LabelLayout
from seqclass.data.loader import Batch
from seqclass.errors import TrainingError
from seqclass.evaluation.multilabel import counted_targets
from seqclass.metrics import MISSING, rank_targets
from seqclass.predict import probabilities
from seqclass.training.losses import label_loss


@dataclass
class Recipe:
    """How a model is trained.

    Args:
        learning_rate: The largest, reached after the warm-up.
        weight_decay: Of AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), on all weights but biases and norms.
        warmup_steps: Steps of linear increase before the cosine decay to zero; at most a tenth of all steps.
        prior_from_train: Start the output biases from each target's share of positives in train.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 500
    prior_from_train: bool = True


class ClassificationTask(pl.LightningModule):
    """The loss of `label_loss`, AdamW, linear warm-up and cosine decay.

    Args:
        bundle: The model that is trained, with its targets.
        layout: What the labels of a batch mean.
        recipe: How.
        augmentation: Which residues are replaced while training.
        seed: Of what is replaced.

    Attributes:
        monitor: The metric on validation by which the best epoch is known: mean average precision of the yes-or-no
            targets, or where there are none, accuracy.
    """

    def __init__(
        self,
        bundle: Bundle,
        layout: LabelLayout,
        recipe: Recipe,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.bundle = bundle
        self.layout = layout
        self.model = bundle.model
        self.recipe = recipe
        self.augmentation = augmentation or Augmentation()
        self.seed = seed
        self.monitor = "valid/average_precision" if len(layout.binary) else "valid/accuracy"
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._right: list[Tensor] = []

    def configure_optimizers(self) -> Any:
        decayed: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            is_matrix = parameter.dim() > 1 and not name.endswith("bias")
            (decayed if is_matrix else others).append(parameter)
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(
            groups,
            lr=self.recipe.learning_rate,
            weight_decay=self.recipe.weight_decay,
            fused=not self._scales_gradients,
        )
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise TrainingError(
                "the learning rate falls until the last step, and there is none",
                remedy="Give --trainer.max_epochs or --trainer.max_steps",
            )
        total = max(1, int(steps))
        warmup = min(self.recipe.warmup_steps, total // 10)

        def rate(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def _scales_gradients(self) -> bool:
        return self.trainer.precision == "16-mixed"

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning refuses to clip under a fused optimiser, in case that unscales gradients; here there is no scale.
        if self._scales_gradients or gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        inputs = batch.inputs
        if not inputs.is_floating_point():
            when = self.current_epoch, number, self.global_rank
            inputs = self.augmentation.corrupt(inputs, self.bundle.alphabet, self.seed, *when)
        logits, penalty = self.model.penalised(inputs, batch.mask)
        loss = label_loss(logits, batch, self.layout) * batch.weight + penalty
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss.item()} at step {self.global_step}",
                remedy="Lower --recipe.learning_rate, or train with --trainer.precision 32-true",
            )
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.packed))
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        self.model.constrain()

    def validation_step(self, batch: Batch, _: int) -> None:
        scores = probabilities(self.bundle, batch.inputs, batch.mask).clamp(1e-7, 1 - 1e-7)
        # Sigmoid and softmax take these back to the probabilities, of which some are means over strands.
        logits = torch.logit(scores)
        for group in self.layout.exclusive:
            members = torch.from_numpy(self.layout.members(group)).to(scores.device)
            logits[:, members] = scores[:, members].log()
        loss = label_loss(logits, batch, self.layout)
        self.log("valid/loss", loss, batch_size=len(batch.packed), sync_dist=True)
        for group, classes in zip(self.layout.exclusive, batch.classes(self.layout).unbind(1), strict=True):
            guess = scores[:, torch.from_numpy(self.layout.members(group)).to(scores.device)].argmax(dim=1)
            self._right.append((guess == classes)[classes != MISSING].float().cpu())
        if len(self.layout.binary):
            columns = torch.from_numpy(self.layout.binary).to(scores.device)
            labels, present = batch.binary(self.layout).to(torch.int8), batch.present(self.layout)
            self._labels.append((labels if present is None else torch.where(present, labels, MISSING)).cpu())
            self._scores.append(scores[:, columns].cpu())

    def on_validation_epoch_end(self) -> None:
        if self._right:
            right = torch.cat(self._right)
            counts = torch.stack([right.sum(), torch.tensor(float(len(right)))]).to(self.device)
            hits, known = self.trainer.strategy.reduce(counts, reduce_op="sum").tolist()
            self.log("valid/accuracy", hits / max(1, known), prog_bar=True)
        if self._scores:
            scores, labels = torch.cat(self._scores), torch.cat(self._labels)
            if self.trainer.world_size > 1:
                scores, labels = self._gather(scores), self._gather(labels)
            metrics = rank_targets(labels.numpy(), scores.numpy())
            known = (labels != MISSING).sum(dim=0).numpy()
            counted = counted_targets((labels == 1).sum(dim=0).numpy(), known)
            self.log("valid/average_precision", float(metrics.average_precision[counted].mean()), prog_bar=True)
            self.log("valid/auroc", float(metrics.auroc[counted].mean()))
        self._scores, self._labels, self._right = [], [], []

    def _gather(self, values: Tensor) -> Tensor:
        """All ranks' rows; the shares differ in size by at most a row, so the shorter are padded for the exchange."""
        strategy = self.trainer.strategy
        counts = strategy.all_gather(torch.tensor(len(values), device=self.device)).flatten()
        padded = F.pad(values.to(self.device), (0, 0, 0, int(counts.max()) - len(values)))
        parts = zip(strategy.all_gather(padded).cpu(), counts.tolist(), strict=True)
        return torch.cat([part[:count] for part, count in parts])
