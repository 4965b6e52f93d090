"""Keeps what is drawn while training from costing more than a small share of the time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Allowance:
    """Time that may be spent on one side of a work, as a share of all time since the first question.

    Args:
        share: Such as .02.
        clock: Seconds, as from `time.perf_counter`.

    Attributes:
        spent: Seconds so far, by kind of work.
    """

    def __init__(self, share: float = 0.02, clock: Callable[[], float] = time.perf_counter) -> None:
        self.share = share
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._clock = clock
        self._start: float | None = None
        self._latest: dict[str, float] = {}

    def allows(self, kind: str) -> bool:
        """Whether work that will take as long as the latest of its kind is within the share; the first always is."""
        now = self._clock()
        if self._start is None:
            self._start = now
        if kind not in self._latest:
            return True
        return sum(self.spent.values()) + self._latest[kind] <= self.share * (now - self._start)

    @contextmanager
    def spend(self, kind: str) -> Iterator[None]:
        """Counts the time within the block."""
        begin = self._clock()
        try:
            yield
        finally:
            self._latest[kind] = self._clock() - begin
            self.spent[kind] += self._latest[kind]
