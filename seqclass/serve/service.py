"""What all routes share: the models that are served, the limits, and waiting for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from seqclass.bundle import Bundle
from seqclass.errors import UnknownNameError, find_name
from seqclass.serve.hosted import Hosted
from seqclass.serve.intake import Intake
from seqclass.serve.limits import Limits
from seqclass.serve.metrics import Metrics
from seqclass.serve.problems import RequestError

T = TypeVar("T")


class Service:
    """The models that are served.

    Args:
        bundles: By name; the first is the one that is asked where no name is given.
        limits: Of requests.
        key: What clients must bring as a bearer token, None for nothing.
    """

    def __init__(self, bundles: Mapping[str, Bundle], limits: Limits, key: str | None = None) -> None:
        self.limits, self.key, self.metrics = limits, key, Metrics()
        self.models = {
            name: Hosted(name, bundle, limits, partial(self.metrics.observe_batch, name))
            for name, bundle in bundles.items()
        }
        for name, hosted in self.models.items():
            self.metrics.watch_queue(name, hosted.batcher)
        # Matplotlib's settings are those of the process: one picture is drawn at a time.
        self._drawing = ThreadPoolExecutor(1, thread_name_prefix="drawing")
        self.intake = Intake(limits)

    async def start(self) -> None:
        """Warms the models up and begins to work."""
        for hosted in self.models.values():
            await asyncio.to_thread(hosted.warm_up)
            await hosted.start()

    async def stop(self) -> None:
        """Ends the work."""
        for hosted in self.models.values():
            await hosted.stop()
        self._drawing.shutdown()

    @property
    def is_ready(self) -> bool:
        """Whether every model answers."""
        return all(hosted.batcher.is_ready for hosted in self.models.values())

    def model(self, name: str | None) -> Hosted:
        """The model of that name, or the first.

        Raises:
            RequestError: There is none of that name.
        """
        try:
            return self.models[next(iter(self.models)) if name is None else find_name("model", name, self.models)]
        except UnknownNameError as error:
            raise RequestError(HTTPStatus.NOT_FOUND, error.problem, remedy=error.remedy) from None

    async def draw(self, work: Callable[[], bytes]) -> bytes:
        """Draws a picture, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._drawing, work)

    async def answer(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Waits for work, as long as the client does and the limit allows; then it is given up.

        Raises:
            RequestError: Time is over.
            ClientDisconnect: The client has gone.
        """
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(request.receive())
        try:
            done, _ = await asyncio.wait(
                {working, leaving}, timeout=self.limits.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if working in done:
                return working.result()
            if leaving in done:
                raise ClientDisconnect
            raise RequestError(
                HTTPStatus.GATEWAY_TIMEOUT,
                f"no answer within {self.limits.timeout:g} seconds",
                remedy="Send fewer or shorter sequences, or ask again later",
            )
        finally:
            working.cancel()
            leaving.cancel()


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
"""What a route takes to have the service."""
