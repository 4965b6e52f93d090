"""`POST /predict`: sequences in, records out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from seqclass.predict.records import Prediction
from seqclass.serve.asked import Parameters, PredictAnswer
from seqclass.serve.hosted import Hosted
from seqclass.serve.key import Keyed
from seqclass.serve.problems import documented
from seqclass.serve.reading import (
    FASTA,
    JSON,
    MULTIPART,
    Asked,
    Inputs,
    content_type,
    read_fasta_body,
    read_form,
    read_json,
    unsupported,
)
from seqclass.serve.scoring import predictions
from seqclass.serve.service import Served, Service

router = APIRouter(tags=["predictions"], dependencies=[Keyed])

_FILE = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
_BODY = {
    JSON: {"schema": {"$ref": "#/components/schemas/PredictRequest"}},
    **{kind: {"schema": {"type": "string"}, "example": ">mine\nACGTACGTAC\n"} for kind in FASTA},
    MULTIPART: {"schema": _FILE},
}


@router.post(
    "/predict",
    response_model=PredictAnswer,
    responses=documented(401, 404, 408, 413, 415, 422, 429, 503, 504, 507),
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def predict(request: Request, service: Served, given: Annotated[Parameters, Query()]) -> Response:
    """Scores sequences: JSON, or FASTA (plain or gzip) as the body or as the file of a form.

    Parameters come in the query, or in JSON beside the inputs.
    """
    async with service.intake.body(request) as body:
        asked = await _read(request, service, body, given)
    hosted = service.model(asked.parameters.model)
    told = await judged(request, service, hosted, asked.inputs, asked.parameters)
    content = await run_in_threadpool(as_json, hosted, told, asked.parameters.top_k)
    return Response(content, media_type=JSON)


async def judged(
    request: Request, service: Service, hosted: Hosted, inputs: Inputs, parameters: Parameters
) -> list[Prediction]:
    """What the model says of sequences or vectors, scored beside those of other requests.

    Raises:
        SeqclassError: They do not fit the model or its limits; the queue is full; or time is over.
        ClientDisconnect: The client has gone.
    """
    pieces = await run_in_threadpool(hosted.pieces, inputs, parameters.length_policy)
    scores = await service.answer(request, hosted.batcher.score([piece.inputs for piece in pieces]))
    return await run_in_threadpool(predictions, hosted.bundle, pieces, scores, parameters.length_policy)


async def _read(request: Request, service: Service, body: bytes, given: Parameters) -> Asked:
    kind = content_type(request)
    if kind == JSON:
        return await run_in_threadpool(read_json, body, given)
    if kind == MULTIPART:
        body = await read_form(body, request.headers)
    elif kind not in FASTA:
        raise unsupported(kind, JSON, *FASTA, MULTIPART)
    return Asked(await run_in_threadpool(read_fasta_body, body, service.limits), given)


def as_json(hosted: Hosted, told: Sequence[Prediction], top_k: int | None) -> bytes:
    """The answer to a request, as JSON."""
    answer: dict[str, Any] = {"model": hosted.name, "version": hosted.version}
    answer["predictions"] = [one.as_dict(top_k) for one in told]
    return json.dumps(answer, ensure_ascii=False).encode()
