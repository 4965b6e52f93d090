"""Stops training when loss or gradients are no longer numbers, before any weight is touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from seqclass.data.loader import Batch
from seqclass.data.store import Indices, Store
from seqclass.errors import TrainingError
from seqclass.training.processes import gather_objects

_SHOWN = 8


class StopAtNonFinite(pl.Callback):
    """Ends the run at a loss or gradient that is NaN or infinite, and names the samples it came from.

    Args:
        store: Where the samples are.

    Raises:
        TrainingError: In training, before the optimiser takes such a step.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._samples = torch.empty(0, dtype=torch.int64)

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, number: int) -> None:
        self._samples = batch.samples

    def on_before_backward(self, trainer: pl.Trainer, module: pl.LightningModule, loss: Tensor) -> None:
        self._seen.append((loss.detach(), self._samples))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        seen, self._seen = self._seen, []
        gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
        health = torch.nn.utils.get_total_norm(gradients)
        # All processes have the same gradients, but not the same losses, and must agree on whether to go on.
        if trainer.world_size == 1:
            health = health + torch.stack([loss for loss, _ in seen]).sum()
        if torch.isfinite(health):
            return
        ours = [(loss.item(), samples.tolist()) for loss, samples in seen]
        losses = [each for process in gather_objects(trainer, ours) for each in process]
        bad = [(loss, samples) for loss, samples in losses if not np.isfinite(loss)]
        if not bad and trainer.precision == "16-mixed":
            return  # the scale was too large; Lightning lowers it and leaves this step out
        what = f"the loss became {bad[0][0]}" if bad else "the gradients became infinite or NaN"
        samples = np.concatenate([samples for _, samples in bad or losses]).astype(np.int64)
        raise TrainingError(
            f"{what} at step {trainer.global_step} on samples {self._listed(samples)}",
            remedy="Lower --recipe.learning_rate, or train with --trainer.precision 32-true",
            file=self.store.path,
        )

    def _listed(self, samples: Indices) -> str:
        views = self.store.views[samples[:_SHOWN]]
        names: list[Any] = self.store.names(samples[:_SHOWN])
        ends = views.start + views.length
        rows = zip(samples.tolist(), names, views.start.tolist(), ends.tolist(), strict=False)
        listed = ", ".join(f"{sample} ({name}:{start}-{end})" for sample, name, start, end in rows)
        return listed + (f" and {len(samples) - _SHOWN:,} more" if len(samples) > _SHOWN else "")
