"""The learning rate of each step that is logged."""

from __future__ import annotations

import pytorch_lightning as pl
import torch

from seqclass.training.loggers import is_logged, log_scalars


class LearningRates(pl.Callback):
    """Logs `train/learning_rate`, the largest of all weights' in the step just before it is taken.

    Where weights learn at different rates by depth, each has its own curve: `train/learning_rate/depth_0` is the
    head's.
    """

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        step = trainer.global_step
        if not is_logged(trainer, step):
            return
        by_depth = {group["depth"]: float(group["lr"]) for group in optimizer.param_groups}
        values = {"train/learning_rate": max(by_depth.values())}
        if len(by_depth) > 1:
            values |= {f"train/learning_rate/depth_{depth}": rate for depth, rate in by_depth.items()}
        log_scalars(trainer, values, step)
