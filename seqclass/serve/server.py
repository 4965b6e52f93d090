"""Running the service: one process, one port, a clean end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from seqclass.errors import SeqclassError
from seqclass.onnx_file import open_bundle
from seqclass.serve.app import create_app
from seqclass.serve.hosted import name_bundles
from seqclass.serve.key import read_key
from seqclass.serve.limits import Limits
from seqclass.serve.service import Service
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


class Server(uvicorn.Server):
    """Listens at once, and loads its bundles meanwhile.

    Args:
        config: With an application that has no bundles yet.
        service: The application's.
        bundles: Where they are, by name.
        loaded: Is called once they answer.

    Attributes:
        failure: Why they could not be loaded; the server has ended then.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        bundles: Mapping[str, str | Path],
        loaded: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._service, self._bundles, self._loaded = service, bundles, loaded
        self._loading: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loading = asyncio.create_task(self._load())
        self._loading.add_done_callback(self._after_loading)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._loading is not None:
            self._loading.cancel()
        await super().shutdown(sockets)

    async def _load(self) -> None:
        bundles = {name: await asyncio.to_thread(open_bundle, path) for name, path in self._bundles.items()}
        await self._service.host(bundles)

    def _after_loading(self, loading: asyncio.Task[None]) -> None:
        if loading.cancelled():
            return
        self.failure = loading.exception()
        if self.failure is None:
            self._loaded()
        else:
            self.should_exit = True


def serve(
    bundles: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    api_key_file: str | Path | None = None,
    limits: Limits | None = None,
    jobs_folder: str | Path | None = None,
) -> None:
    """Serves bundles until the process is told to end (SIGTERM, SIGINT); what was accepted is answered before that.

    It listens at once; as long as the bundles are being loaded, it answers that it is not ready.

    Args:
        bundles: Folders or ONNX files; the first is asked where a request names no model.
        host: Address to listen at; "0.0.0.0" for all of this machine's.
        port: To listen at; 0 for any that is free.
        api_key_file: Holds the key that clients must bring, None for none.
        limits: Of requests.
        jobs_folder: Where jobs are kept; None for a folder that is removed at the end.

    Raises:
        BundleError: A folder is no bundle, is damaged, or two have the same name.
        SeqclassError: The port is taken, the key file holds no key, or the folder of the jobs cannot be used.
    """
    limits = limits or Limits()
    key = None if api_key_file is None else read_key(api_key_file)
    named = name_bundles(bundles)
    with listen(host, port) as listener:
        app = create_app({}, limits, key, jobs_folder=jobs_folder)
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
        ready = f"serving {', '.join(named)} at http://{shown}:{taken}/ (Ctrl+C ends it)"
        server = Server(config, app.state.service, named, lambda: say(ready))
        # Uvicorn raises again what ended it, once all is answered; by then that is no reason to die of.
        before = {sign: signal.signal(sign, lambda *_: None) for sign in (signal.SIGTERM, signal.SIGINT)}
        try:
            server.run(sockets=[listener])
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)
        if server.failure is not None:
            raise server.failure


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for connections.

    Args:
        host: At which address.
        port: And at which port; 0 for any that is free.

    Raises:
        SeqclassError: The port is taken, is no port, or the address is not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        # Connections inherit it. Else the body of an answer waits 40 ms for the client to acknowledge its headers, as
        # asyncio sees to that only for sockets which name their protocol.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise SeqclassError(
            f"cannot listen at port {port} of {host} ({error.strerror or error})",
            remedy="Stop what listens there, or choose another --port or --host",
        ) from None
    except OverflowError:
        raise SeqclassError(f"there is no port {port}", remedy="Choose one from 0 to 65535") from None
