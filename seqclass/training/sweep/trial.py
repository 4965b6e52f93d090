"""One trial of a sweep: as `fit` trains, watched by the study, and without anything kept but its logs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import Namespace
from optuna import Trial, TrialPruned

from seqclass.errors import TrainingError
from seqclass.models import Classifier
from seqclass.models.summary import summarise
from seqclass.training.apex import ApexPrecision, fuse_norms
from seqclass.training.finite import StopAtNonFinite
from seqclass.training.fit import prepare
from seqclass.training.interruption import Interrupted, StopSignal
from seqclass.training.loggers import build_logger
from seqclass.training.memory import within_memory
from seqclass.training.reporting import RunProgressBar
from seqclass.training.run_card import RunCard
from seqclass.training.trainer import build_trainer


class Watch(pl.Callback):
    """Tells the study of each validation, and ends training that the study or a signal wants ended.

    Args:
        trial: Of the study.
        monitor: The metric on validation that is to be large.
        signal: Heard by the whole sweep.

    Attributes:
        best: The largest value of the metric so far; None while there is none.
        validations: How many there were.

    Raises:
        TrialPruned: Other trials were better after as many validations.
        Interrupted: A signal asked to stop.
    """

    def __init__(self, trial: Trial, monitor: str, signal: StopSignal) -> None:
        self.best: float | None = None
        self.validations = 0
        self._trial = trial
        self._monitor = monitor
        self._signal = signal

    def on_train_batch_end(self, *_: Any) -> None:
        self._stop_if_told()

    def on_validation_batch_end(self, *_: Any) -> None:
        self._stop_if_told()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.validations += 1
        score = float(trainer.callback_metrics[self._monitor])
        if math.isnan(score):
            return
        self.best = score if self.best is None else max(self.best, score)
        self._trial.report(score, self.validations)
        goes_on = trainer.global_step < trainer.estimated_stepping_batches
        if goes_on and self._trial.should_prune():
            raise TrialPruned

    def _stop_if_told(self) -> None:
        if self._signal.received is not None:
            raise Interrupted(self._signal.received)


def train_trial(
    build: Callable[..., Classifier], name: str, options: Namespace, folder: Path, trial: Trial, signal: StopSignal
) -> float:
    """Trains once; the best value of the metric that `fit` keeps an epoch by.

    Args:
        build: Builds the model.
        name: Of the study.
        options: As of `fit`.
        folder: For logs.
        trial: Of the study; gets "validations", how many there were.
        signal: Heard by the whole sweep.

    Raises:
        TrialPruned: Other trials were better after as many validations.
        Interrupted: A signal asked to stop.
        SeqclassError: It cannot be trained so.
    """
    data, task = prepare(build, name, options)
    watch = Watch(trial, task.monitor, signal)
    length = task.model.length or int(data.store.views.length[data.store.samples("train")].max())
    card = RunCard(vars(options.as_flat()), task.monitor, summarise(task.model, length))
    plugins = []
    if task.recipe.apex_amp is not None:
        plugins.append(ApexPrecision(task.recipe.apex_amp))
        options.trainer.precision = None
    if task.recipe.apex_norms:
        fuse_norms(task.model)
    callbacks: list[pl.Callback] = [StopAtNonFinite(data.store), card, watch]
    if sys.stderr.isatty():
        callbacks.append(RunProgressBar(task.monitor))
    runner = build_runner(options, callbacks, plugins)
    runner.logger = build_logger(options.logger, folder, name)
    try:
        with within_memory():
            runner.fit(task, data)
    finally:
        trial.set_user_attr("validations", watch.validations)
    if watch.best is None:
        raise TrainingError(
            "no validation gave a number", remedy="Look at the labels of the validation split, or lower learning rates"
        )
    return watch.best


def build_runner(options: Namespace, callbacks: Sequence[pl.Callback] = (), plugins: Sequence[Any] = ()) -> pl.Trainer:
    """Lightning's trainer for one trial, which runs in this process alone.

    Raises:
        TrainingError: The options do not fit each other, or ask for several processes.
    """
    trainer = vars(options.trainer) | {"enable_checkpointing": False}
    # Lightning would take all devices and start this program again for each, with a study of its own.
    if trainer["devices"] == "auto":
        trainer["devices"] = 1
    runner = build_trainer(trainer, Path(), callbacks, plugins)
    if runner.world_size != 1:
        raise TrainingError(
            f"a trial is to run in {runner.world_size} processes, and each runs in one",
            remedy="Give --trainer.devices 1, and start the same command once more for each further device",
        )
    return runner
