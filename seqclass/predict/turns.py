"""Sharing a device: who scores a long run beside others has each batch computed when it is its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

Compute = Callable[[Callable[[], Any]], Any]
"""Calls a function, perhaps later and in another thread, and gives back what it returns or raises what it raises."""

_compute: ContextVar[Compute | None] = ContextVar("compute", default=None)


@contextmanager
def taking_turns(compute: Compute) -> Iterator[None]:
    """Within the block, in this thread, `compute` calls whatever puts a batch through a model."""
    before = _compute.set(compute)
    try:
        yield
    finally:
        _compute.reset(before)


def in_turn(work: Callable[[], T]) -> T:
    """What `work` returns, which is called when it is its turn: at once, unless within `taking_turns`."""
    compute = _compute.get()
    if compute is None:
        return work()
    result: T = compute(work)
    return result
