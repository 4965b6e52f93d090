"""Receiving bodies: not too large, not too slowly, and not too many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import Request

from seqclass.serve.limits import Limits
from seqclass.serve.problems import RequestError

# So many bodies of full size are in memory at once; more clients are asked to come back.
_BODIES = 8


class Intake:
    """Counts what the bodies of all requests take of memory until they are read.

    Args:
        limits: Of requests.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body, which is held until the block ends.

        Raises:
            RequestError: It is too large, compressed or too slow, or too much is being received already.
            ClientDisconnect: The client has gone.
        """
        if request.headers.get("content-encoding", "identity") != "identity":
            raise RequestError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "the body is compressed by Content-Encoding",
                remedy="Send it as it is; FASTA may be a gzip file itself",
            )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal():
            # Python refuses to read thousands of digits; so many are too large in any case.
            self._refuse_large(int(declared[:19]))
        body = bytearray()
        try:
            await self._receive(request, body)
            yield bytes(body)
        finally:
            self._held -= len(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        try:
            async with asyncio.timeout(self._limits.timeout):
                async for part in request.stream():
                    body += part
                    self._held += len(part)
                    self._refuse_large(len(body))
                    self._refuse_crowd()
        except TimeoutError:
            raise RequestError(
                HTTPStatus.REQUEST_TIMEOUT,
                f"the body did not arrive within {self._limits.timeout:g} seconds",
                remedy="Send it faster, or in several requests",
            ) from None

    def _refuse_crowd(self) -> None:
        if self._held > _BODIES * self._limits.body:
            raise RequestError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too much is being received from other clients",
                remedy="Ask again later",
                retry_after=1,
            )

    def _refuse_large(self, size: int) -> None:
        if size > self._limits.body:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body has more than {self._limits.body:,} bytes",
                remedy="Send it in several requests",
            )
