"""Where a run's figures go: TensorBoard, a CSV file, or Weights & Biases, through Lightning's loggers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from seqclass.errors import TrainingError

LoggerName = Literal["tensorboard", "csv", "wandb"]

LOGS = "logs"


def build_logger(kind: LoggerName, out: Path, name: str, step: int | None = None) -> Logger:
    """A logger that writes below `logs/` of a run's folder.

    Args:
        kind: "tensorboard"; "csv" (scalars alone, in `metrics.csv`); or "wandb" (scalars alone).
        out: The run's folder.
        name: Of the run.
        step: Optimiser steps taken, where a run goes on: TensorBoard hides what was logged after it, and CSV goes on in
            a folder of its own beside the first file.

    Raises:
        TrainingError: It needs a package that is not installed.
    """
    if kind == "csv":
        version = "" if step is None else f"from_step_{step}"
        return CSVLogger(out, name=LOGS, version=version, flush_logs_every_n_steps=1)
    if kind == "wandb":
        if find_spec("wandb") is None:
            raise TrainingError(
                "--logger wandb needs the package wandb, which is not installed",
                remedy="Install it with 'pip install wandb', or choose --logger tensorboard or csv",
            )
        return WandbLogger(name=name, save_dir=out, project="seqclass")
    # The hyper-parameters name metrics of their own.
    return TensorBoardLogger(out, name=LOGS, version="", purge_step=step, default_hp_metric=False)


def where_logged(kind: LoggerName, out: Path) -> str:
    """What to do to see the figures of a run in the folder `out`."""
    logs = out / LOGS
    return {
        "tensorboard": f"TensorBoard: tensorboard --logdir {logs}",
        "csv": f"figures: {logs / 'metrics.csv'}",
        "wandb": "figures: Weights & Biases",
    }[kind]


def board(trainer: pl.Trainer) -> Any:
    """TensorBoard's `SummaryWriter`, for what is no scalar; None where another logger or process is at work."""
    logger = trainer.logger
    return logger.experiment if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero else None


def is_logged(trainer: pl.Trainer, step: int) -> bool:
    """Whether optimiser step `step`, 0-based, is one of every `log_every_n_steps`, as Lightning counts them."""
    every = int(vars(trainer)["log_every_n_steps"])
    return every > 0 and (step + 1) % every == 0


def log_scalars(trainer: pl.Trainer, values: Mapping[str, float], step: int) -> None:
    """Writes scalars to the logger of the run, if it has one."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=step)
