"""The service as an ASGI application."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from seqclass import __version__
from seqclass.bundle import Bundle
from seqclass.serve.asked import ExplainRequest, PredictRequest
from seqclass.serve.limits import Limits
from seqclass.serve.metrics import CountRequests
from seqclass.serve.problems import answer_problems
from seqclass.serve.routes import explaining, health, inference_protocol, jobs, models, pages, predicting, sagemaker
from seqclass.serve.service import Service

# Bodies that a route reads itself, within the limits, so that their schemas are not found by FastAPI.
_BODIES = (PredictRequest, ExplainRequest, inference_protocol.InferRequest)


class App(FastAPI):
    """FastAPI, whose OpenAPI document also holds the schemas of bodies that routes read themselves."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            _, found = models_json_schema(
                [(body, "validation") for body in _BODIES], ref_template="#/components/schemas/{model}"
            )
            document["components"]["schemas"] |= found["$defs"]
        return super().openapi()


def create_app(
    bundles: Mapping[str, Bundle],
    limits: Limits | None = None,
    key: str | None = None,
    *,
    jobs_folder: str | Path | None = None,
) -> FastAPI:
    """An application that serves bundles.

    Args:
        bundles: By name; the first is asked where a request names none. Without any, the application answers that they
            are being loaded until its `state.service` is to `host` some.
        limits: Of requests.
        key: What clients must bring as a bearer token, None for nothing.
        jobs_folder: Where jobs are kept; None for a folder that is removed at the end.

    Raises:
        SeqclassError: The folder of the jobs cannot be used.
    """
    temporary = ExitStack()
    if jobs_folder is None:
        jobs_folder = temporary.enter_context(tempfile.TemporaryDirectory(prefix="seqclass-jobs-"))
    service = Service(limits or Limits(), key, Path(jobs_folder))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if bundles:
            await service.host(bundles)
        try:
            yield
        finally:
            await service.stop()
            temporary.close()

    app = App(
        title="seqclass",
        version=__version__,
        description="Classifiers of DNA and protein sequences.",
        lifespan=lifespan,
        # FastAPI's own pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    answer_problems(app)
    app.add_middleware(CountRequests, metrics=service.metrics)
    for route in (pages, predicting, explaining, jobs, models, health, sagemaker, inference_protocol):
        app.include_router(route.router)
    return app
