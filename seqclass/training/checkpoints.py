"""Checkpoints: written whole or not at all, of the best validation and of the last moment to go on from."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins import TorchCheckpointIO

from seqclass.atomic import atomic_file
from seqclass.data.loader import Batch
from seqclass.errors import TrainingError
from seqclass.training.interruption import Interrupted, StopSignal
from seqclass.training.processes import gather_objects
from seqclass.training.progress import Moment, settle_progress
from seqclass.training.random_state import random_state, restore_random_state
from seqclass.training.resume import KEY, stamp
from seqclass.training.run_folder import CHECKPOINTS, last_checkpoint

BEST = "best.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints by way of a temporary neighbour: a killed process leaves the last good one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with atomic_file(path, force=True) as partial, partial.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # PyTorch reports a full disk as a broken archive.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from error
                raise


class RunCheckpoints(Checkpoint):
    """Keeps the weights of the best validation, and what a run needs to go on where it stopped.

    Of validations with the same metric, that of the lowest loss is the best, and of these the first. The last
    checkpoint is written every so many minutes between two batches, after each epoch, and when a signal asks to stop;
    then `Interrupted` ends training. While gradients add up over batches, it waits for the optimiser's step.

    Args:
        out: The run's folder.
        monitor: The metric on validation that is to be large.
        minutes: Between two checkpoints; 0 for one after every optimiser step.
        terms: What must be the same when the run goes on.

    Attributes:
        best: The largest value of the metric so far, None before the first validation.
        seconds: Of training so far, all starts together.
    """

    def __init__(self, out: Path, monitor: str, minutes: float, terms: dict[str, str]) -> None:
        self.best: float | None = None
        self._best_loss = math.inf
        self.best_path = out / CHECKPOINTS / BEST
        self._last_path = last_checkpoint(out)
        self._monitor = monitor
        self._seconds_between = 60 * minutes
        self._terms = terms
        self._signal = StopSignal()
        self._saved_at = self._started_at = time.monotonic()
        self._seconds_before = 0.0
        self._validated = False
        self._moment: Moment | None = None
        self._random: dict[Moment, dict[str, Any]] = {}
        self._loader_state: dict[str, int] | None = None
        self._saved_step: int | None = None
        self._saves = True

    @property
    def where(self) -> str | None:
        """Where the last checkpoint lies and of which step it is, in words; None if there is none."""
        step = self._saved_step
        return None if step is None else f"the last good checkpoint is {self._last_path}, of step {step:,}"

    @property
    def seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started_at

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_loss": self._best_loss, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self._seconds_before = state_dict["best"], state_dict["seconds"]
        self._best_loss = state_dict.get("best_loss", math.inf)
        if self.best is not None and not self.best_path.exists():
            raise TrainingError(
                "the weights of the best validation so far are gone",
                remedy="Restore this file from a copy, or begin anew with --force",
                file=self.best_path,
            )

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = stamp(self._terms, trainer.world_size, self._moment)
        checkpoint[KEY]["random"] = gather_objects(trainer, random_state(module.device))
        if self._moment is not None:
            settle_progress(
                checkpoint["loops"]["fit_loop"],
                self._moment,
                trainer.global_step,
                epoch_ends=trainer.is_last_batch and self._moment is not Moment.BATCH,
                validated=self._validated,
            )

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        ours = checkpoint[KEY]
        self._random = {Moment(ours["moment"]): ours["random"][trainer.global_rank]}
        (self._loader_state,) = checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
        self._saved_step = checkpoint["global_step"]

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self._saves = not vars(trainer)["fast_dev_run"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._started_at = self._saved_at = time.monotonic()
        loader = trainer.train_dataloader
        if self._loader_state is not None and loader is not None:
            # Lightning does this only where the number of steps was not asked for before; schedules ask for it.
            loader.load_state_dict(self._loader_state)
        if Moment.EPOCH in self._random:
            # With max_steps, Lightning takes every start for one in the middle of an epoch.
            trainer.fit_loop.epoch_loop.restarting = False
        self._restore_random(Moment.EPOCH, module)
        self._signal.listen()

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self._restore_random(Moment.BATCH, module)
        if batch_idx and batch_idx % trainer.accumulate_grad_batches:
            return
        due = time.monotonic() - self._saved_at >= self._seconds_between
        if not self._any(trainer, due or self._signal.received is not None):
            return
        if batch_idx:
            self._save_last(trainer, Moment.BATCH)
        self._stop_if_told(trainer)

    def on_train_batch_end(self, *_: Any) -> None:
        self._validated = False

    def on_validation_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self._restore_random(Moment.VALIDATION, module)
        if self._any(trainer, self._signal.received is not None) and self._between_steps(trainer):
            self._save_last(trainer, Moment.VALIDATION)
            self._stop_if_told(trainer)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._validated = True
        score = float(trainer.callback_metrics[self._monitor])
        score = -math.inf if math.isnan(score) else score
        loss = float(trainer.callback_metrics.get("valid/loss", math.inf))
        loss = math.inf if math.isnan(loss) else loss
        better = self.best is None or (score, -loss) > (self.best, -self._best_loss)
        if self._saves and trainer.strategy.reduce_boolean_decision(better):
            self.best, self._best_loss = score, loss
            trainer.save_checkpoint(self.best_path)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # A limit of steps or time may end training, and with it the epoch, before its last batch.
        if self._between_steps(trainer):
            self._save_last(trainer, Moment.EPOCH if trainer.is_last_batch else Moment.BATCH)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop_if_told(trainer)
        self._signal.ignore()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._signal.ignore()

    def _between_steps(self, trainer: pl.Trainer) -> bool:
        """Whether no gradients are waiting for more batches."""
        return trainer.is_last_batch or (trainer.fit_loop.batch_idx + 1) % trainer.accumulate_grad_batches == 0

    def _any(self, trainer: pl.Trainer, here: bool) -> bool:
        """Whether it holds in any of the processes, which must all do the same."""
        return trainer.strategy.reduce_boolean_decision(here, all=False)

    def _save_last(self, trainer: pl.Trainer, moment: Moment) -> None:
        if not self._saves:
            return
        self._moment = moment
        try:
            trainer.save_checkpoint(self._last_path)
        finally:
            self._moment = None
        self._saved_step = trainer.global_step
        self._saved_at = time.monotonic()

    def _stop_if_told(self, trainer: pl.Trainer) -> None:
        told = [signum for signum in gather_objects(trainer, self._signal.received) if signum is not None]
        if told:
            raise Interrupted(told[0])

    def _restore_random(self, moment: Moment, module: pl.LightningModule) -> None:
        if moment in self._random:
            restore_random_state(self._random.pop(moment), module.device)
