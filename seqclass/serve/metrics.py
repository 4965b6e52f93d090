"""What Prometheus reads: requests, batches, queues. The names of routes are templates, so their number is bounded."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seqclass.serve.batcher import Batcher

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PIECES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """The counters of one service, apart from those of any other in the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "seqclass_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "seqclass_request_seconds",
            "From a request's headers to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batches = Histogram(
            "seqclass_batch_sequences",
            "Sequences, or windows of them, that were scored at once",
            ["model"],
            buckets=_PIECES,
            registry=self._registry,
        )
        self._residues = Counter("seqclass_residues", "Residues scored", ["model"], registry=self._registry)
        self._busy = Counter("seqclass_model_seconds", "Seconds of scoring", ["model"], registry=self._registry)
        self._queues = Gauge(
            "seqclass_queue_residues",
            "Residues that wait for the model or are being scored",
            ["model"],
            registry=self._registry,
        )

    def observe_batch(self, model: str, pieces: int, residues: int, seconds: float) -> None:
        """Counts a batch of a model."""
        self._batches.labels(model).observe(pieces)
        self._residues.labels(model).inc(residues)
        self._busy.labels(model).inc(seconds)

    def watch_queue(self, model: str, batcher: Batcher) -> None:
        """Shows how much waits for a model."""
        self._queues.labels(model).set_function(lambda: batcher.residues)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class CountRequests:
    """ASGI middleware that counts and times requests.

    Args:
        app: What answers them.
        metrics: Where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            # Anyone can send any word as a method.
            method = scope["method"] if route != "unknown" else "any"
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
