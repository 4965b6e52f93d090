"""What all routes share: the models that are served, jobs, the limits, and waiting for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from seqclass.bundle import Bundle
from seqclass.errors import UnknownNameError, find_name
from seqclass.serve.hosted import Hosted
from seqclass.serve.intake import Intake
from seqclass.serve.jobs import Jobs
from seqclass.serve.limits import Limits
from seqclass.serve.metrics import Metrics
from seqclass.serve.problems import RequestError

T = TypeVar("T")


class Service:
    """The models that are served.

    Args:
        limits: Of requests.
        key: What clients must bring as a bearer token, None for nothing.
        jobs: Folder in which jobs are kept.

    Attributes:
        models: Those that are served, by name; the first is the one that is asked where no name is given. There are
            none as long as they are being loaded.

    Raises:
        SeqclassError: The folder of the jobs cannot be used.
    """

    def __init__(self, limits: Limits, key: str | None, jobs: Path) -> None:
        self.limits, self.key, self.metrics = limits, key, Metrics()
        self.models: dict[str, Hosted] = {}
        # Matplotlib's settings are those of the process: one picture is drawn at a time.
        self._drawing = ThreadPoolExecutor(1, thread_name_prefix="drawing")
        self.intake = Intake(limits)
        self.jobs = Jobs(jobs, limits)

    async def host(self, bundles: Mapping[str, Bundle]) -> None:
        """Warms models up and begins to work.

        Args:
            bundles: By name; the first is the one that is asked where no name is given.
        """
        models: dict[str, Hosted] = {}
        for name, bundle in bundles.items():
            observe = partial(self.metrics.observe_batch, name)
            models[name] = hosted = await asyncio.to_thread(Hosted, name, bundle, self.limits, observe)
            await asyncio.to_thread(hosted.warm_up)
            self.metrics.watch_queue(name, hosted.batcher)
            hosted.start()
        self.models = models
        self.jobs.start(models)

    async def stop(self) -> None:
        """Ends the work."""
        await self.jobs.stop()
        for hosted in self.models.values():
            await hosted.stop()
        self._drawing.shutdown()

    @property
    def is_ready(self) -> bool:
        """Whether every model answers."""
        return bool(self.models) and all(hosted.batcher.is_ready for hosted in self.models.values())

    def loaded(self) -> dict[str, Hosted]:
        """The models by name.

        Raises:
            RequestError: They are being loaded.
        """
        if not self.models:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE, "the models are being loaded", remedy="Ask again soon", retry_after=2
            )
        return self.models

    def model(self, name: str | None) -> Hosted:
        """The model of that name, or the first.

        Raises:
            RequestError: There is none of that name, or they are being loaded.
        """
        models = self.loaded()
        try:
            return models[next(iter(models)) if name is None else find_name("model", name, models)]
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
        leaving = asyncio.ensure_future(_gone(request))
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


async def _gone(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
"""What a route takes to have the service."""
