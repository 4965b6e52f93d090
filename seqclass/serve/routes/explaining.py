"""`POST /explain`: where in a sequence the evidence for a target lies, as numbers or as a picture."""

from __future__ import annotations

import tempfile
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from seqclass.attribution.attribute import ask, attribute
from seqclass.attribution.methods import METHODS
from seqclass.attribution.plots import plot_saliency
from seqclass.attribution.question import Question
from seqclass.serve.asked import ExplainRequest, Explanation, Named
from seqclass.serve.hosted import Hosted
from seqclass.serve.key import Keyed
from seqclass.serve.problems import RequestError, documented
from seqclass.serve.reading import JSON, accepted, content_type, unsupported
from seqclass.serve.scoring import Piece, score
from seqclass.serve.service import Served
from seqclass.targets import find_target

PNG, SVG = "image/png", "image/svg+xml"

router = APIRouter(tags=["predictions"], dependencies=[Keyed])


class _Found(NamedTuple):
    """What the model's thread finds out: the target's probability, saliency `(length,)`, and by how much it misses."""

    probability: float
    saliency: np.ndarray[tuple[int], np.dtype[np.float32]]
    delta: float | None


@router.post(
    "/explain",
    response_model=Explanation,
    responses={**documented(401, 404, 408, 413, 415, 422, 429, 503, 504, 507), 200: {"content": {PNG: {}, SVG: {}}}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"$ref": "#/components/schemas/ExplainRequest"}}},
        }
    },
)
async def explain(request: Request, service: Served) -> Response:
    """Says where in a sequence the evidence for a target lies: as JSON, or with `Accept: image/png` as a picture."""
    if content_type(request) != JSON:
        raise unsupported(content_type(request), JSON)
    async with service.intake.body(request) as body:
        asked = await run_in_threadpool(ExplainRequest.model_validate_json, body)
    hosted = service.model(asked.parameters.model)
    target = find_target(hosted.bundle.targets, asked.target)
    options = asked.parameters.model_dump(exclude={"model", "length_policy"})
    name, letters = ("sequence_1", asked.input) if not isinstance(asked.input, Named) else _pair(asked.input)
    (piece,) = await run_in_threadpool(hosted.pieces, [(name, letters)], asked.parameters.length_policy)
    question = ask(hosted.bundle, target, **options)
    residues = _cost(question, len(piece.inputs))
    if residues > service.limits.explained:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{question.name} would send {residues:,} residues through the model, where {service.limits.explained:,} "
            "may be",
            remedy="Choose another method, fewer steps or references, or a shorter sequence",
            record=f"record '{name}'",
        )
    work = partial(_explain, hosted, piece, target, options)
    found = await service.answer(request, hosted.batcher.run(work, residues))
    answer = Explanation(
        model=hosted.name,
        version=hosted.version,
        id=name,
        target=hosted.bundle.targets[target].name,
        method=question.name,
        faithful=question.method.faithful,
        probability=found.probability,
        start=piece.start,
        end=piece.start + len(piece.inputs),
        letters=hosted.bundle.alphabet.decode(piece.inputs),
        saliency=found.saliency.tolist(),
        delta=found.delta,
    )
    kind = accepted(request, JSON, PNG, SVG)
    if kind == JSON:
        return Response(answer.model_dump_json(exclude_none=True), media_type=JSON)
    picture = await service.answer(request, service.draw(partial(_draw, hosted, answer, kind)))
    return Response(picture, media_type=kind)


def _pair(given: Named) -> tuple[str, str]:
    return given.id, given.sequence


def _cost(question: Question, length: int) -> int:
    """Residues that are sent through the model to answer."""
    references = question.num_references if question.reference == "shuffled" else 1
    if question.name == "occlusion":
        return references * length * max(1, length - question.window + 1)
    if question.name == "smoothgrad":
        return question.steps * length
    if question.method.complete:
        return references * length * (question.steps if question.method.of_gradients else 2)
    return length


def _explain(hosted: Hosted, piece: Piece, target: int, options: dict[str, Any]) -> _Found:
    try:
        found = attribute(hosted.bundle, [piece.inputs], target, **options)
    except torch.OutOfMemoryError:
        raise RequestError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the GPU has no memory left for this explanation",
            remedy="Ask again later, or for a shorter sequence or a method of fewer passes",
            retry_after=10,
        ) from None
    probability = float(score(hosted.bundle, hosted.device, [piece.inputs])[0, target])
    return _Found(probability, found.scores[0], None if found.delta is None else float(found.delta[0]))


def _draw(hosted: Hosted, told: Explanation, kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("saliency.png" if kind == PNG else "saliency.svg")
        label = told.method if METHODS[told.method].faithful else f"{told.method}\n(not model-faithful)"
        plot_saliency(
            path,
            told.letters,
            {label: np.array(told.saliency)},
            title=f"{told.id}: {told.target}, predicted probability {told.probability:.3f}",
            start=told.start,
            unit=hosted.bundle.alphabet.unit,
        )
        return path.read_bytes()
