"""Checkpoints that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from seqclass.atomic import atomic_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints by way of a temporary neighbour: a killed process leaves the last good one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with atomic_file(path, force=True) as partial:
            torch.save(checkpoint, partial)
