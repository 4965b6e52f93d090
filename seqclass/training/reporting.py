"""What a training run says while it runs: one line an epoch, and a progress bar."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from seqclass.terminal import say
from seqclass.training.throughput import Throughput


class EpochLines(pl.Callback):
    """Prints a line after each epoch.

    Args:
        throughput: Knows the speed.
    """

    def __init__(self, throughput: Throughput) -> None:
        self._throughput = throughput

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        values = trainer.callback_metrics
        parts = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
        if (speed := self._throughput.samples_per_second) is not None:
            parts.append(f"{speed:,.0f} samples/s")
        parts += [
            f"{name} {float(values[name]):.4f}"
            for name in ("train/loss", "valid/loss", "valid/accuracy", "valid/average_precision", "valid/auroc")
            if name in values
        ]
        if trainer.is_global_zero:
            say("  ".join(parts))


class RunProgressBar(RichProgressBar):
    """A bar an epoch, with the time left of the whole run and the metric on validation that decides.

    Args:
        monitor: That metric, as it is logged.
    """

    def __init__(self, monitor: str) -> None:
        super().__init__(leave=False)
        self._monitor = monitor
        self._started_at = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._started_at, self._first_step = time.monotonic(), trainer.global_step

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands behind the bar."""
        shown: dict[str, Any] = {}
        value = trainer.callback_metrics.get(self._monitor)
        if value is not None:
            what = self._monitor.removeprefix("valid/").replace("_", " ")
            shown[f"validation {what}"] = float(value)
        done = trainer.global_step - self._first_step
        left = trainer.estimated_stepping_batches - trainer.global_step
        if done > 0 and 0 <= left < float("inf"):
            shown["run ends in"] = duration((time.monotonic() - self._started_at) / done * left)
        return shown


def duration(seconds: float) -> str:
    """Seconds in words for people: "45 s", "12 min", "3 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
