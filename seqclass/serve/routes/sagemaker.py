"""The routes that SageMaker asks of a container: `GET /ping` and `POST /invocations`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from http import HTTPStatus

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from seqclass.predict.records import Prediction
from seqclass.serve.asked import Parameters, PredictAnswer
from seqclass.serve.hosted import Hosted
from seqclass.serve.key import Keyed
from seqclass.serve.problems import documented
from seqclass.serve.reading import (
    CSV,
    JSON,
    NPY,
    Asked,
    accepted,
    content_type,
    read_csv,
    read_json,
    read_npy,
    unsupported,
)
from seqclass.serve.routes.predicting import as_json, judged
from seqclass.serve.service import Served

router = APIRouter(tags=["SageMaker"])

_BODY = {
    JSON: {"schema": {"$ref": "#/components/schemas/PredictRequest"}},
    CSV: {"schema": {"type": "string"}, "example": "mine,ACGTACGTAC\n"},
    NPY: {"schema": {"type": "string", "format": "binary"}},
}


@router.get("/ping", response_class=Response, responses={503: {"description": "A model cannot answer"}})
async def ping(service: Served) -> Response:
    """Whether every model answers."""
    return Response(status_code=HTTPStatus.OK if service.is_ready else HTTPStatus.SERVICE_UNAVAILABLE)


@router.post(
    "/invocations",
    dependencies=[Keyed],
    response_model=PredictAnswer,
    responses={
        **documented(401, 404, 408, 413, 415, 422, 429, 503, 504, 507),
        200: {"content": {CSV: {"schema": {"type": "string"}}, NPY: {}}},
    },
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def invocations(request: Request, service: Served) -> Response:
    """Scores JSON as `/predict` does; rows of CSV; or vectors, as numpy.save writes them.

    With `Accept: text/csv` or `application/x-npy` the answer is the probabilities alone: a row a sequence, a column a
    target, in the order of `/models`.
    """
    kind = content_type(request)
    async with service.intake.body(request) as body:
        if kind == JSON:
            asked = await run_in_threadpool(read_json, body, Parameters())
        elif kind == CSV:
            vectors = service.model(None).kind == "vectors"
            asked = Asked(await run_in_threadpool(read_csv, body, vectors=vectors), Parameters())
        elif kind == NPY:
            asked = Asked(await run_in_threadpool(read_npy, body), Parameters())
        else:
            raise unsupported(kind, JSON, CSV, NPY)
    hosted = service.model(asked.parameters.model)
    told = await judged(request, service, hosted, asked.inputs, asked.parameters)
    wanted = accepted(request, JSON, CSV, NPY)
    content = await run_in_threadpool(_told, hosted, told, wanted, asked.parameters.top_k)
    return Response(content, media_type=wanted)


def _told(hosted: Hosted, told: Sequence[Prediction], wanted: str, top_k: int | None) -> bytes:
    rows = np.stack([one.probabilities for one in told])
    if wanted == NPY:
        array = io.BytesIO()
        np.save(array, rows, allow_pickle=False)
        return array.getvalue()
    if wanted == CSV:
        table = io.StringIO(newline="")
        csv.writer(table, lineterminator="\n").writerows([f"{value:.6g}" for value in row] for row in rows.tolist())
        return table.getvalue().encode()
    return as_json(hosted, told, top_k)
