"""Whether the service lives, whether it answers, and its metrics."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from seqclass.serve.key import Keyed
from seqclass.serve.problems import documented
from seqclass.serve.service import Served

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/health/ready", responses={503: {"description": "A model cannot answer"}})
async def ready(service: Served) -> Response:
    """Every model answers."""
    models = {name: "ready" if hosted.batcher.is_ready else "failed" for name, hosted in service.models.items()}
    if service.is_ready:
        return JSONResponse({"status": "ready", "models": models})
    return JSONResponse({"status": "failed" if models else "loading", "models": models}, HTTPStatus.SERVICE_UNAVAILABLE)


@router.get(
    "/metrics",
    dependencies=[Keyed],
    response_class=Response,
    responses={**documented(401), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(service: Served) -> Response:
    """Requests, batches and queues, for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
