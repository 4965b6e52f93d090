"""Running the service: one process, one port, a clean end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from seqclass.errors import SeqclassError
from seqclass.serve.app import create_app
from seqclass.serve.hosted import read_bundles
from seqclass.serve.key import read_key
from seqclass.serve.limits import Limits
from seqclass.terminal import say

# Seconds in which a client sends the headers of a request.
_HEADERS = 20.0


class Connection(H11Protocol):
    """HTTP/1.1, where a client that never ends the headers of its request is hung up on."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self._wait_for_headers()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def _wait_for_headers(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(_HEADERS, self._hang_up)

    def _hang_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def serve(
    bundles: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    api_key_file: str | Path | None = None,
    limits: Limits | None = None,
) -> None:
    """Serves bundles until the process is told to end (SIGTERM, SIGINT); what was accepted is answered before that.

    Args:
        bundles: Folders; the first is asked where a request names no model.
        host: Address to listen at; "0.0.0.0" for all of this machine's.
        port: To listen at; 0 for any that is free.
        api_key_file: Holds the key that clients must bring, None for none.
        limits: Of requests.

    Raises:
        BundleError: A folder is no bundle, is damaged, or two have the same name.
        SeqclassError: The port is taken, or the key file holds no key.
    """
    limits = limits or Limits()
    key = None if api_key_file is None else read_key(api_key_file)
    with _listen(host, port) as listener:
        served = read_bundles(bundles)
        app = create_app(served, limits, key)
        config = uvicorn.Config(
            app,
            http=Connection,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=round(2 * limits.timeout) + 5,
        )
        address, taken = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        say(f"serving {', '.join(served)} at http://{shown}:{taken}/ (Ctrl+C ends it)")
        # Uvicorn raises again what ended it, once all is answered; by then that is no reason to die of.
        before = {sign: signal.signal(sign, lambda *_: None) for sign in (signal.SIGTERM, signal.SIGINT)}
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SeqclassError(
            f"cannot listen at port {port} of {host} ({error.strerror or error})",
            remedy="Stop what listens there, or choose another --port or --host",
        ) from None
    except OverflowError:
        raise SeqclassError(f"there is no port {port}", remedy="Choose one from 0 to 65535") from None
