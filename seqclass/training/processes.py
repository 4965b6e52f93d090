"""What the processes of one run tell each other."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch.distributed
from pytorch_lightning.utilities import rank_zero_only


def is_first_process() -> bool:
    """Whether this process is the one that writes: Lightning starts the program once more for every further one."""
    return bool(vars(rank_zero_only).get("rank", 0) == 0)


def gather_objects(trainer: pl.Trainer, value: Any) -> list[Any]:
    """`value` of each process, in the order of their ranks; all processes must call it."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(values, value)
    return values


def part() -> None:
    """Ends what the processes have in common, once all is trained; one that simply exits may be aborted."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
