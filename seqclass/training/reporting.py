"""What a training run says while it runs: one line an epoch, and its speed."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from seqclass.terminal import say


class EpochLines(pl.Callback):
    """Prints a line after each validation and logs samples a second."""

    def __init__(self) -> None:
        self._start = 0.0
        self._seconds = 0.0
        self._samples = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._start = time.monotonic()
        self._samples = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # A run that goes on in the middle of an epoch does not start one.
        self.on_train_epoch_start(trainer, module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._samples += len(batch.samples) * trainer.world_size
        self._seconds = time.monotonic() - self._start

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        values = trainer.callback_metrics
        parts = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
        if self._samples:
            speed = self._samples / self._seconds
            module.log("train/samples_per_second", speed)
            parts.append(f"{speed:,.0f} samples/s")
        parts += [
            f"{name} {float(values[name]):.4f}"
            for name in ("train/loss", "valid/loss", "valid/accuracy", "valid/average_precision", "valid/auroc")
            if name in values
        ]
        if trainer.is_global_zero:
            say("  ".join(parts))
