"""What does not fit into memory ends in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from seqclass.errors import TrainingError

# PyTorch has an exception of its own for a GPU's memory alone.
_SAID_OF_THE_CPU = ("can't allocate memory", "Storage size calculation overflowed")


@contextmanager
def within_memory() -> Iterator[None]:
    """Turns what NumPy and PyTorch raise when memory runs out, of the machine or of a GPU, into one error.

    Raises:
        TrainingError: The block asked for more than there is.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        where = "the GPU's memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
        wanted = re.search(r"allocate ([\d.]+) (\w+)", str(error))
        raise TrainingError(
            f"model and batch do not fit into {where}"
            + (f", of which they want {_size(*wanted.groups())} more" if wanted else ""),
            remedy="Choose a smaller model with --model options, or lower --data.batch_size (and raise "
            "--trainer.accumulate_grad_batches as much)",
        ) from error


def _size(number: str, unit: str) -> str:
    return f"{int(number) / 2**30:,.1f} GiB" if unit == "bytes" else f"{number} {unit}"


def _is_of_memory(error: MemoryError | RuntimeError) -> bool:
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(part in said for part in _SAID_OF_THE_CPU)
