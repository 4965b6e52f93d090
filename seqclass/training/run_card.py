"""What a run is, for whoever opens its logs: its options beside its metrics, and the stages of its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from seqclass.models.summary import Stage
from seqclass.training.loggers import board, log_scalars

VALIDATION = ("valid/loss", "valid/accuracy", "valid/average_precision", "valid/auroc")
TEST = ("test/accuracy", "test/average_precision", "test/auroc")


class RunCard(pl.Callback):
    """Writes, as training starts, hyper-parameters and the table of stages; and `best/METRIC` after each validation.

    TensorBoard's HParams tab shows beside the hyper-parameters the latest value of each metric: when training is over,
    these are the final ones.

    Args:
        options: By dotted name.
        monitor: The metric on validation that is to be large.
        stages: Of the model.
    """

    def __init__(self, options: Mapping[str, Any], monitor: str, stages: list[Stage]) -> None:
        self._options = {name: _plain(value) for name, value in options.items() if value is not None}
        self._monitor = monitor
        self._best_tag = monitor.replace("valid/", "best/")
        self._stages = stages
        self._best: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best = state_dict["best"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(self._options)
        writer = board(trainer)
        if writer is not None:
            metrics = dict.fromkeys((self._best_tag, *VALIDATION, *TEST), 0.0)
            for summary in hparams(self._options, metrics):
                writer.file_writer.add_summary(summary)
            writer.add_text("model", stage_table(self._stages))

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        value = float(trainer.callback_metrics[self._monitor])
        self._best = value if self._best is None else max(self._best, value)
        log_scalars(trainer, {self._best_tag: self._best}, max(0, trainer.global_step - 1))


def stage_table(stages: list[Stage]) -> str:
    """The stages of a model as a table in Markdown; the last line is the whole model."""
    rows = ["stage | block | output | parameters | FLOPs a sample", "---|---|---|---:|---:"]
    for stage in stages:
        shape = "" if stage.shape is None else " x ".join(f"{size:,}" for size in stage.shape)
        name = stage.name or "whole model"
        rows.append(f"{name} | {stage.kind} | {shape} | {stage.parameters:,} | {stage.flops:,}")
    return "\n".join(rows)


def log_test_metrics(trainer: pl.Trainer, metrics: Mapping[str, Any]) -> None:
    """Logs what a report on the test split holds: means over targets, and mean accuracy of exclusive groups.

    Args:
        trainer: Of the run.
        metrics: As `metrics.json` holds them.
    """
    values = {f"test/{name}": metrics["model"][name]["mean"] for name in ("average_precision", "auroc")}
    accuracy = [scorers["model"]["accuracy"] for scorers in metrics.get("accuracy", {}).values()]
    if accuracy:
        values["test/accuracy"] = sum(accuracy) / len(accuracy)
    found = {name: value for name, value in values.items() if value is not None}
    # Beyond the last step of training, so that a run that goes on from there hides what is logged anew.
    log_scalars(trainer, found, trainer.global_step)
    for logger in trainer.loggers:
        logger.finalize("success")


def _plain(value: Any) -> str | float | bool:
    return value if isinstance(value, str | bool | int | float) else str(value)
