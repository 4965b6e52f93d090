"""Dynamic batching: what arrived while the model was busy is scored together, in one thread that is the model's own.

Nothing waits for a batch to fill: at one client a batch is one request, under load it is as large as it may be. The
queue lives on the event loop and needs no lock; only the model's work leaves it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqclass.errors import DeviceMemoryError
from seqclass.serve.problems import RequestError
from seqclass.serve.scoring import Floats

T = TypeVar("T")
Score = Callable[[Sequence[NDArray[Any]]], Floats]
Observe = Callable[[int, int, float], None]

_LONGEST_RETRY = 60


@dataclass(eq=False)
class _Asked:
    """Pieces of one request: those that are not taken yet, and the scores of those that are."""

    inputs: Sequence[NDArray[Any]]
    answer: asyncio.Future[Floats]
    taken: int = 0
    scored: list[Floats] = field(default_factory=list)

    def take(self, residues: int, pieces: int) -> Sequence[NDArray[Any]]:
        """The next pieces: one, and more while they are not beyond so many residues and pieces."""
        first, last = self.taken, min(len(self.inputs), self.taken + pieces)
        while self.taken < last and (self.taken == first or residues >= len(self.inputs[self.taken])):
            residues -= len(self.inputs[self.taken])
            self.taken += 1
        return self.inputs[first : self.taken]

    def give(self, scores: Floats) -> None:
        """Scores of the next pieces, in the order in which they were taken."""
        self.scored.append(scores)
        if sum(map(len, self.scored)) == len(self.inputs) and not self.answer.done():
            self.answer.set_result(np.concatenate(self.scored))


@dataclass(eq=False)
class _Errand:
    """Something else to be done with the model, on its own."""

    work: Callable[[], Any]
    answer: asyncio.Future[Any]


class Batcher:
    """Feeds a model with what requests ask, each in its turn.

    Args:
        name: Of the model, which the thread is named after.
        score: Gives a row of numbers a piece; called in the model's thread.
        batch: Residues that are scored at once.
        pieces: How many pieces are scored at once, at most.
        queue: Residues that may wait.
        observe: Is told pieces, residues and seconds of every batch.
    """

    def __init__(self, name: str, score: Score, batch: int, pieces: int, queue: int, observe: Observe) -> None:
        self._score, self._batch, self._pieces, self._queue, self._observe = score, batch, pieces, queue, observe
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: deque[_Asked | _Errand] = deque()
        self._arrived = asyncio.Event()
        self._rate: float | None = None
        self.residues = 0
        self.failed = False
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to work; called in the event loop."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Ends after the batch that is being scored."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        self._thread.shutdown()

    @property
    def is_ready(self) -> bool:
        """Whether the worker is alive, and the last batch did not fail."""
        return self._worker is not None and not self._worker.done() and not self.failed

    async def score(self, inputs: Sequence[NDArray[Any]]) -> Floats:
        """Scores the pieces of a request, beside those of others.

        Raises:
            RequestError: Too much waits already.
        """
        residues = sum(map(len, inputs))
        self._refuse_crowd(residues)
        asked = _Asked(inputs, asyncio.get_running_loop().create_future())
        with self._in_line(asked, residues):
            return await asked.answer

    async def run(self, work: Callable[[], T], residues: int) -> T:
        """Does something else in the model's thread, when it is its turn.

        Args:
            work: What to do.
            residues: As how many it counts in the queue.

        Raises:
            RequestError: Too much waits already.
        """
        self._refuse_crowd(residues)
        return await self.lend(work, residues)

    async def lend(self, work: Callable[[], T], residues: int = 0) -> T:
        """As `run`, for those who never have more than one thing in line, and are not refused.

        Args:
            work: What to do.
            residues: As how many it counts in the queue.
        """
        errand = _Errand(work, asyncio.get_running_loop().create_future())
        with self._in_line(errand, residues):
            result: T = await errand.answer
            return result

    def _refuse_crowd(self, residues: int) -> None:
        if self.residues and self.residues + residues > self._queue:
            raise RequestError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self.residues:,} residues wait for the model already, and {self._queue:,} may",
                remedy="Ask again later, or send fewer sequences",
                retry_after=self._until_free(),
            )

    @contextmanager
    def _in_line(self, asked: _Asked | _Errand, residues: int) -> Iterator[None]:
        self.residues += residues
        self._waiting.append(asked)
        self._arrived.set()
        try:
            yield
        finally:
            # Of a client that has gone, nothing more is computed.
            self.residues -= residues
            asked.answer.cancel()
            if asked in self._waiting:
                self._waiting.remove(asked)

    def _until_free(self) -> int:
        return 1 if self._rate is None else min(_LONGEST_RETRY, max(1, math.ceil(self.residues / self._rate)))

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            if isinstance(self._waiting[0], _Errand):
                await self._run(self._waiting.popleft())
            else:
                await self._score_batch(self._next_batch())

    async def _run(self, errand: _Asked | _Errand) -> None:
        assert isinstance(errand, _Errand)
        done = asyncio.get_running_loop().run_in_executor(self._thread, errand.work)
        await asyncio.wait([done])
        if errand.answer.done():
            done.exception()
        elif (error := done.exception()) is not None:
            errand.answer.set_exception(error)
        else:
            errand.answer.set_result(done.result())

    def _next_batch(self) -> list[tuple[_Asked, Sequence[NDArray[Any]]]]:
        """Pieces of the requests at the front, of each a fair share; those with more line up again at the back."""
        batch: list[tuple[_Asked, Sequence[NDArray[Any]]]] = []
        room, pieces = self._batch, self._pieces
        while room > 0 and pieces > 0 and self._waiting:
            asked = self._waiting[0]
            if isinstance(asked, _Errand):
                break
            self._waiting.popleft()
            part = asked.take(room // (1 + len(self._waiting)), pieces)
            batch.append((asked, part))
            room -= sum(map(len, part))
            pieces -= len(part)
            if asked.taken < len(asked.inputs):
                self._waiting.append(asked)
        return batch

    async def _score_batch(self, batch: list[tuple[_Asked, Sequence[NDArray[Any]]]]) -> None:
        inputs = [piece for _, part in batch for piece in part]
        began = time.perf_counter()
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._score, inputs)
        await asyncio.wait([done])
        error = done.exception()
        if error is not None and len(batch) > 1:
            # What one request brought must not fail the others.
            for part_of_one in batch:
                await self._score_batch([part_of_one])
            return
        self.failed = error is not None and not isinstance(error, DeviceMemoryError)
        if error is not None:
            if not batch[0][0].answer.done():
                batch[0][0].answer.set_exception(error)
            return
        seconds, residues = time.perf_counter() - began, sum(map(len, inputs))
        self._observe(len(inputs), residues, seconds)
        self._rate = residues / seconds if self._rate is None else 0.8 * self._rate + 0.2 * residues / seconds
        first, scores = 0, done.result()
        for asked, part in batch:
            asked.give(scores[first : first + len(part)])
            first += len(part)
