"""What the processes of one run tell each other."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch.distributed


def gather_objects(trainer: pl.Trainer, value: Any) -> list[Any]:
    """`value` of each process, in the order of their ranks; all processes must call it."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(values, value)
    return values
