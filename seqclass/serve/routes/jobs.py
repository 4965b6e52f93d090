"""Jobs: a file of sequences is taken, judged in its turn, and its result fetched later."""

from __future__ import annotations

import asyncio
import csv
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from itertools import islice
from pathlib import Path as FilePath
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from seqclass.alphabets import Tokens
from seqclass.atomic import atomic_file
from seqclass.bundle import Bundle
from seqclass.drift.observe import place
from seqclass.drift.pictures import plot_map
from seqclass.errors import BundleError
from seqclass.predict.memory import batch_residues
from seqclass.predict.records import TOP
from seqclass.predict.stretches import read_stretches
from seqclass.progress import watched
from seqclass.serve.asked import JobStatus, Label, Parameters, PreviewRow
from seqclass.serve.hosted import Hosted
from seqclass.serve.job_run import PLOT, RESULT, SEQUENCES
from seqclass.serve.job_table import Job
from seqclass.serve.jobs import ID
from seqclass.serve.key import Keyed
from seqclass.serve.problems import RequestError, documented
from seqclass.serve.reading import CSV, FASTA, MULTIPART
from seqclass.serve.service import Served, Service
from seqclass.training_summary import Floats

router = APIRouter(tags=["jobs"], dependencies=[Keyed])

_PREVIEW, _PLOTTED = 5, 500

_FORM = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "model": {"type": "string"},
        "top_k": {"type": "string"},
        "length_policy": {"type": "string"},
    },
    "required": ["file"],
}
_BODY = {
    **{kind: {"schema": {"type": "string"}, "example": ">mine\nACGTACGTAC\n"} for kind in FASTA},
    MULTIPART: {"schema": _FORM},
}
JobId = Annotated[str, Path(pattern=ID)]


F = TypeVar("F", bound=Callable[..., object])


def _both(method: str, path: str, alias: str, **told: Any) -> Callable[[F], F]:
    """Answers under a path, and under the one by which the route was called before."""

    def register(answer: F) -> F:
        router.add_api_route(path, answer, methods=[method], **told)
        router.add_api_route(alias, answer, methods=[method], deprecated=True, **told)
        return answer

    return register


@_both(
    "POST",
    "/jobs",
    "/submit_job",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(401, 404, 408, 413, 415, 422, 429, 503, 507),
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def submit(
    request: Request, response: Response, service: Served, given: Annotated[Parameters, Query()]
) -> JobStatus:
    """Takes FASTA (plain or gzip), as the body or as the file of a form, to be judged in its turn.

    Parameters come in the query, or as fields of the form. The id in the answer is the key to the job.
    """

    def reads_letters(name: str | None) -> Hosted:
        hosted = service.model(name)
        if hosted.kind != "tokens":
            raise RequestError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"'{hosted.name}' reads vectors, where jobs are of sequences",
                remedy="Send the vectors to /predict",
            )
        return hosted

    # A large file is not received in vain; a form may still name another model than the first.
    service.loaded()
    if given.model is not None:
        reads_letters(given.model)
    job = await service.jobs.submit(request, given, reads_letters)
    response.headers["Location"] = f"jobs/{job.id}"
    return _status(service, job, None)


@_both("GET", "/jobs/{id}", "/status/{id}", responses=documented(401, 404, 422))
def status(id: JobId, service: Served) -> JobStatus:
    """How far a job is; once it is done, its first records."""
    return _status(service, *service.jobs.get(id))


@_both(
    "GET",
    "/jobs/{id}/result.csv",
    "/download/{id}",
    response_class=Response,
    responses={**documented(401, 404, 409, 422), 200: {"content": {CSV: {"schema": {"type": "string"}}}}},
)
def result(id: JobId, service: Served) -> Response:
    """The table that `seqclass predict --out result.csv` writes."""
    job, _ = service.jobs.get(id)
    return FileResponse(service.jobs.file(job, RESULT), media_type=CSV, filename=RESULT)


@_both(
    "GET",
    "/jobs/{id}/plot.png",
    "/download_plot/{id}",
    response_class=Response,
    responses={**documented(401, 404, 409, 422, 503, 504, 507), 200: {"content": {"image/png": {}}}},
)
async def plot(id: JobId, request: Request, service: Served) -> Response:
    """Where the first sequences of a job lie among what the model was trained on.

    The axes are the first two principal components of the training samples' embeddings, as the bundle has them.
    """
    job, _ = await asyncio.to_thread(service.jobs.get, id)
    picture = service.jobs.file(job, PLOT)
    if not picture.exists():
        await service.answer(request, _draw(service, job, picture))
    return FileResponse(picture, media_type="image/png")


@router.delete("/jobs/{id}", status_code=HTTPStatus.NO_CONTENT, responses=documented(401, 404, 422))
def cancel(id: JobId, service: Served) -> None:
    """Ends a job that waits or runs, and removes its files; one that has ended is forgotten."""
    service.jobs.cancel(id)


def _status(service: Service, job: Job, eta: float | None) -> JobStatus:
    return JobStatus(
        id=job.id,
        state=job.state,
        model=job.model,
        version=job.version,
        done=job.done,
        total=job.total,
        eta_seconds=None if eta is None else round(eta, 1),
        created=datetime.fromtimestamp(job.created, UTC),
        finished=None if job.finished is None else datetime.fromtimestamp(job.finished, UTC),
        error=job.error,
        preview=_preview(service.jobs.file(job, RESULT), job.top_k) if job.state == "done" else None,
    )


def _preview(table: FilePath, top_k: int | None) -> list[PreviewRow]:
    """The first rows of a result."""
    with open(table, encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        header = next(rows)
        first, last = 3, len(header) - (5 if header[-5:-3] == ["calls", "abstained"] else 3)
        names = [name for name in header[first:last] if top_k is not None or not name.endswith(":spread")]
        return [_preview_row(row[:3], names, row[first : first + len(names)], top_k) for row in islice(rows, _PREVIEW)]


def _preview_row(place: list[str], names: list[str], cells: list[str], top_k: int | None) -> PreviewRow:
    if top_k is not None:
        top = list(zip(cells[::2], map(float, cells[1::2]), strict=True))[:TOP]
    else:
        top = sorted(zip(names, map(float, cells), strict=True), key=lambda pair: -pair[1])[:TOP]
    labels = [Label(label=name, probability=probability) for name, probability in top]
    return PreviewRow(id=place[0], start=int(place[1]), end=int(place[2]), top=labels)


async def _draw(service: Service, job: Job, picture: FilePath) -> None:
    hosted = service.model(job.model)
    if hosted.version != job.version:
        raise RequestError(
            HTTPStatus.NOT_FOUND,
            "the model that judged is not served any more, and only that one can place its sequences",
            remedy="Send the job again",
        )
    sequences = service.jobs.file(job, SEQUENCES)
    tokens = await asyncio.to_thread(_first_tokens, hosted.bundle, job, sequences)
    points = [await hosted.batcher.lend(partial(_place, hosted.bundle, part)) for part in _parts(hosted, tokens)]
    content = await service.draw(partial(_picture, hosted.bundle, np.concatenate(points)))
    await asyncio.to_thread(_write, picture, content)


def _first_tokens(bundle: Bundle, job: Job, sequences: FilePath) -> list[Tokens]:
    return [stretch.tokens for stretch in islice(read_stretches(bundle, sequences, job.length_policy), _PLOTTED)]


def _parts(hosted: Hosted, tokens: list[Tokens]) -> list[list[Tokens]]:
    """As many at once as the model takes in a turn."""
    size = max(1, batch_residues(hosted.device) // max(map(len, tokens)))
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]


def _place(bundle: Bundle, tokens: list[Tokens]) -> Floats:
    try:
        with watched(lambda *_: None):
            return place(bundle, tokens)
    except BundleError as error:
        raise RequestError(HTTPStatus.NOT_FOUND, error.problem, remedy=error.remedy) from None


def _picture(bundle: Bundle, points: Floats) -> bytes:
    assert bundle.summary is not None
    with tempfile.TemporaryDirectory() as folder:
        path = FilePath(folder) / PLOT
        plot_map(path, bundle.summary, bundle.targets, points)
        return path.read_bytes()


def _write(picture: FilePath, content: bytes) -> None:
    with atomic_file(picture, force=True) as partial:
        partial.write_bytes(content)
