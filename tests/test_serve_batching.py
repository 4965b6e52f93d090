"""Dynamic batching: every request gets its own rows, in batches that hold many, and none waits for a large one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqclass.serve.batcher import Batcher
from seqclass.serve.problems import RequestError

Inputs = Sequence[NDArray[Any]]


def pieces(values: Sequence[int], length: int = 1) -> list[NDArray[np.int64]]:
    """Pieces of a length that hold nothing but their value."""
    return [np.full(length, value) for value in values]


class Model:
    """Scores a piece with its value and length, and remembers the batches; waits for `gate` before each."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        self.batches.append([int(piece[0]) for piece in inputs])
        assert self.gate.wait(10)
        if any(piece[0] < 0 for piece in inputs):
            raise ArithmeticError("below zero")
        return np.array([[piece[0], len(piece)] for piece in inputs], dtype=np.float32)


def with_batcher(
    work: Callable[[Batcher, Model], Awaitable[Any]], batch: int = 100, most: int = 1000, queue: int = 10_000
) -> Any:
    async def run() -> Any:
        model = Model()
        batcher = Batcher("test", model, batch, most, queue, lambda *_: None)
        batcher.start()
        try:
            return await work(batcher, model)
        finally:
            model.gate.set()
            await batcher.stop()

    return asyncio.run(run())


async def line_up(batcher: Batcher, requests: Sequence[Inputs]) -> list[asyncio.Task[NDArray[np.float32]]]:
    """Requests that wait, but for the first, which is in the model's hands."""
    tasks = []
    for request in requests:
        tasks.append(asyncio.create_task(batcher.score(request)))
        await asyncio.sleep(0.02)
    return tasks


@settings(max_examples=25, deadline=None)
@given(
    requests=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=8),
    batch=st.integers(1, 120),
    most=st.integers(1, 20),
)
def test_every_request_gets_its_own_rows_in_order(requests: list[list[int]], batch: int, most: int) -> None:
    asked = [
        [np.full(length, 100 * number + place) for place, length in enumerate(lengths)]
        for number, lengths in enumerate(requests)
    ]

    async def work(batcher: Batcher, model: Model) -> None:
        answers = await asyncio.gather(*(batcher.score(each) for each in asked))
        for lengths, number, answer in zip(requests, range(len(requests)), answers, strict=True):
            expected = [[100 * number + place, length] for place, length in enumerate(lengths)]
            np.testing.assert_array_equal(answer, expected)
        scored = sorted(value for one in model.batches for value in one)
        assert scored == sorted(int(piece[0]) for each in asked for piece in each)
        assert max(map(len, model.batches)) <= most
        assert batcher.residues == 0

    with_batcher(work, batch, most)


def test_what_arrives_while_the_model_is_busy_is_scored_together() -> None:
    async def work(batcher: Batcher, model: Model) -> None:
        model.gate.clear()
        tasks = await line_up(batcher, [pieces([number]) for number in range(20)])
        model.gate.set()
        await asyncio.gather(*tasks)
        assert model.batches == [[0], list(range(1, 20))]

    with_batcher(work)


def test_a_small_request_does_not_wait_for_the_end_of_a_large_one() -> None:
    async def work(batcher: Batcher, model: Model) -> None:
        model.gate.clear()
        large, small = await line_up(batcher, [pieces(range(1000)), pieces([5000])])
        model.gate.set()
        await small
        assert not large.done()
        assert 5000 in model.batches[1]
        assert len(await large) == 1000

    with_batcher(work, batch=10)


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def work(batcher: Batcher, model: Model) -> None:
        await batcher.score(pieces([1], 50))
        model.gate.clear()
        tasks = await line_up(batcher, [pieces([1], 200), pieces([2], 40)])
        assert batcher.residues == 240
        with pytest.raises(RequestError, match="240 residues wait") as refused:
            await batcher.score(pieces([3], 20))
        assert refused.value.status == 429
        assert 1 <= (refused.value.retry_after or 0) <= 60
        model.gate.set()
        await asyncio.gather(*tasks)
        assert batcher.residues == 0
        assert len(await batcher.score(pieces([3], 20))) == 1

    with_batcher(work, queue=250)


def test_a_request_larger_than_the_queue_is_answered_if_nothing_waits() -> None:
    async def work(batcher: Batcher, _: Model) -> None:
        assert len(await batcher.score(pieces(range(30), 10))) == 30

    with_batcher(work, queue=50)


def test_nothing_more_is_computed_for_a_client_that_has_gone() -> None:
    async def work(batcher: Batcher, model: Model) -> None:
        model.gate.clear()
        busy, gone, other = await line_up(batcher, [pieces([1]), pieces([2, 3]), pieces([4])])
        gone.cancel()
        await asyncio.sleep(0.05)
        assert batcher.residues == 2
        model.gate.set()
        await asyncio.gather(busy, other)
        assert model.batches == [[1], [4]]

    with_batcher(work)


def test_what_one_request_brings_does_not_fail_the_others() -> None:
    async def work(batcher: Batcher, model: Model) -> None:
        model.gate.clear()
        tasks = await line_up(batcher, [pieces([1]), pieces([2]), pieces([-1]), pieces([3])])
        model.gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [np.ndarray, np.ndarray, ArithmeticError, np.ndarray]
        assert batcher.is_ready

    with_batcher(work)


def test_a_model_that_fails_is_not_ready_until_it_answers_again() -> None:
    async def work(batcher: Batcher, _: Model) -> None:
        assert batcher.is_ready
        with pytest.raises(ArithmeticError):
            await batcher.score(pieces([-1]))
        assert not batcher.is_ready
        await batcher.score(pieces([1]))
        assert batcher.is_ready

    with_batcher(work)


def test_other_work_has_its_turn_in_the_same_thread() -> None:
    async def work(batcher: Batcher, model: Model) -> None:
        model.gate.clear()
        first, last = await line_up(batcher, [pieces([1]), pieces(range(10, 30))])
        errand = asyncio.create_task(batcher.run(lambda: (threading.current_thread().name, len(model.batches)), 5))
        await asyncio.sleep(0.05)
        model.gate.set()
        name, before = await errand
        assert name.startswith("test")
        assert before < len(model.batches) or not last.done()
        await asyncio.gather(first, last)
        with pytest.raises(ZeroDivisionError):
            await batcher.run(lambda: 1 // 0, 5)

    with_batcher(work, batch=5)
