"""The processes that torchrun starts, on one machine or several: who does what, and who waits for whom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

from seqclass.errors import SeqclassError

# The slowest may be hours behind. One that dies takes the others with it: torchrun sees to that.
_PATIENCE = timedelta(days=30)

Value = TypeVar("Value")


class Processes:
    """This process among those that share a run.

    Attributes:
        rank: Its number; 0 is the one that writes and speaks.
        count: How many there are.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Within the block each does its own; it ends for all when it has ended for the last.

        Raises:
            SeqclassError: What went wrong in any of them is raised in all.
        """
        failure: SeqclassError | None = None
        try:
            yield
        except SeqclassError as error:
            failure = error
        except OSError as error:
            failure = SeqclassError(
                f"the system refused ({error.strerror or error})",
                remedy="Check the path, its permissions and the room on the disk",
                file=error.filename,
            )
        told = None if failure is None else (failure.problem, failure.remedy, failure.file, failure.record)
        for rank, other in enumerate(self._gather(told)):
            if failure is not None:
                raise failure
            if other is not None:
                problem, remedy, file, record = other
                raise SeqclassError(f"process {rank}: {problem}", remedy=remedy, file=file, record=record)

    def from_first(self, value: Value) -> Value:
        """What the first process gives here, in all."""
        return self._gather(value)[0]

    def _gather(self, value: Value) -> list[Value]:
        if self.count == 1:
            return [value]
        values: list[Value] = [value] * self.count
        dist.all_gather_object(values, value)
        return values


@contextmanager
def processes() -> Iterator[Processes]:
    """This process among those that torchrun started; elsewhere it is alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or not dist.is_torchelastic_launched():
        yield Processes(0, 1)
        return
    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()
