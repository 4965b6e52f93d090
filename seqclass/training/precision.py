"""Which arithmetic the hardware does fastest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

Precision = Literal["bf16-mixed", "32-true"]


def default_precision() -> Precision:
    """bfloat16 where the GPU, or the matrix unit of the CPU (AMX), computes in it; else single precision."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    flags = Path("/proc/cpuinfo")
    return "bf16-mixed" if flags.exists() and "amx_bf16" in flags.read_text() else "32-true"
