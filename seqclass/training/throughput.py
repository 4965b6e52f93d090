"""How fast training goes, how much of it is padding, and how long it waits for data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytorch_lightning as pl
from torch import Tensor

from seqclass.data.loader import Batch, StoreLoader
from seqclass.training.loggers import is_logged, log_scalars


class TimedLoader(StoreLoader):
    """A loader that knows how long was waited for it.

    Attributes:
        waited: Seconds between asking for a batch and having it, of all batches so far.
    """

    waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        batches = super().__iter__()
        while True:
            begin = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - begin
            if batch is None:
                return
            yield batch


class _Reading(NamedTuple):
    """Counts since training began; of this process, save for the samples."""

    samples: int
    positions: int
    tokens: int | Tensor
    seconds: float
    waited: float


class Throughput(pl.Callback):
    """Logs, every `log_every_n_steps` optimiser steps, means over the steps since it last did.

    `train/samples_per_second` and `train/tokens_per_second` (of all processes together; padding is no token),
    `train/padding_share` (of all positions), and `train/data_wait_share` (of the time of training). Validation and what
    is written between epochs are not in that time.
    """

    def __init__(self) -> None:
        self._samples = self._positions = 0
        self._tokens: int | Tensor = 0
        self._seconds = self._since = 0.0
        self._waited_before_pause: float | None = None
        self._loader: TimedLoader | None = None
        self._logged = self._epoch = self._reading()
        self._logged_step = 0

    @property
    def samples_per_second(self) -> float | None:
        """In the epoch so far, of all processes together; None before its first batch."""
        now = self._reading()
        samples, seconds = now.samples - self._epoch.samples, now.seconds - self._epoch.seconds
        return samples / seconds if samples else None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        loader = trainer.train_dataloader
        assert isinstance(loader, TimedLoader), "training batches come from one"
        self._loader = loader
        self._since = time.perf_counter()
        self._waited_before_pause = None
        self._logged = self._epoch = self._reading()
        self._logged_step = trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._epoch = self._reading()

    def on_train_batch_start(self, *_: Any) -> None:
        if self._waited_before_pause is not None and self._loader is not None:
            self._since = time.perf_counter() - (self._loader.waited - self._waited_before_pause)
            self._waited_before_pause = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self._seconds += now - self._since
        self._since = now
        positions = batch.inputs.shape[0] * batch.inputs.shape[1]
        self._samples += len(batch.samples) * trainer.world_size
        self._positions += positions
        # On a GPU the sum stays there until it is read: asking for it would wait for the step.
        self._tokens = self._tokens + (positions if batch.mask is None else batch.mask.sum())
        step = trainer.global_step
        if step > self._logged_step and is_logged(trainer, step - 1):
            self._log(trainer, step)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._pause()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._pause()

    def _pause(self) -> None:
        if self._waited_before_pause is None and self._loader is not None:
            self._waited_before_pause = self._loader.waited

    def _log(self, trainer: pl.Trainer, step: int) -> None:
        before, now = self._logged, self._reading()
        self._logged, self._logged_step = now, step
        seconds, positions = now.seconds - before.seconds, now.positions - before.positions
        tokens = int(now.tokens - before.tokens)
        values = {
            "train/samples_per_second": (now.samples - before.samples) / seconds,
            "train/tokens_per_second": tokens * trainer.world_size / seconds,
            "train/padding_share": 1 - tokens / positions,
            "train/data_wait_share": min(1.0, (now.waited - before.waited) / seconds),
        }
        log_scalars(trainer, values, step - 1)

    def _reading(self) -> _Reading:
        waited = 0.0 if self._loader is None else self._loader.waited
        return _Reading(self._samples, self._positions, self._tokens, self._seconds, waited)
