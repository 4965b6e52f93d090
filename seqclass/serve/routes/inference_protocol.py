"""The Open Inference Protocol, version 2, as KServe and Triton speak it.

https://github.com/open-inference/open-inference-protocol. Sequences are a tensor of BYTES `[n]`, vectors one of FP32
`[n, size]` or `[n, length, size]`; probabilities are FP32 `[n, targets]`.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from seqclass import __version__
from seqclass.serve.asked import Finite, Parameters
from seqclass.serve.hosted import Hosted
from seqclass.serve.key import Keyed
from seqclass.serve.problems import RequestError, documented
from seqclass.serve.reading import JSON, Inputs, content_type, unsupported
from seqclass.serve.routes.predicting import judged
from seqclass.serve.service import Served

_NAME, _OUTPUT = "sequences", "probabilities"

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])


class InferParameters(BaseModel):
    """What a request may set; others of the protocol's are ignored."""

    model_config = ConfigDict(extra="ignore")

    length_policy: Literal["error", "centre"] = "error"


class InputTensor(BaseModel):
    """A tensor, its data flat or nested as JSON arrays."""

    model_config = ConfigDict(extra="ignore")

    name: str
    shape: list[int] = Field(min_length=1, max_length=3)
    datatype: Literal["BYTES", "FP32"]
    data: list[str] | list[Finite] | list[list[Finite]] | list[list[list[Finite]]]


class InferRequest(BaseModel):
    """One tensor of sequences."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"inputs": [{"name": _NAME, "shape": [1], "datatype": "BYTES", "data": ["ACGTACGTAC"]}]}]
        },
    )

    id: str | None = None
    parameters: InferParameters = InferParameters()
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)


class OutputTensor(BaseModel):
    """Probabilities, row by row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class InferAnswer(BaseModel):
    """The probabilities of each sequence, in the order of the model's targets."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class TensorDescription(BaseModel):
    """A tensor of any number of rows (-1)."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorDescription]
    outputs: list[TensorDescription]
    parameters: dict[str, list[str]] = Field(description="'targets': what the columns of the probabilities stand for")


@router.get("")
async def server() -> dict[str, Any]:
    """The server's name, version and extensions of the protocol."""
    return {"name": "seqclass", "version": __version__, "extensions": []}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """The process answers."""
    return {"live": True}


@router.get("/health/ready", responses={503: {"description": "A model cannot answer"}})
async def ready(service: Served, response: Response) -> dict[str, bool]:
    """Every model answers."""
    response.status_code = HTTPStatus.OK if service.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return {"ready": service.is_ready}


@router.get("/models/{model}", dependencies=[Keyed], responses=documented(401, 404, 422, 503))
async def metadata(model: str, service: Served) -> ModelMetadata:
    """What a model takes and gives."""
    hosted = service.model(model)
    size = hosted.bundle.model.vector_size
    taken = (
        TensorDescription(name=_NAME, datatype="BYTES", shape=[-1])
        if size is None
        else TensorDescription(name=_NAME, datatype="FP32", shape=[-1, -1, size])
    )
    names = [target.name for target in hosted.bundle.targets]
    return ModelMetadata(
        name=hosted.name,
        versions=[hosted.version],
        platform="seqclass_pytorch",
        inputs=[taken],
        outputs=[TensorDescription(name=_OUTPUT, datatype="FP32", shape=[-1, len(names)])],
        parameters={"targets": names},
    )


@router.get(
    "/models/{model}/ready",
    dependencies=[Keyed],
    responses={**documented(401, 404, 422), 503: {"description": "The model cannot answer"}},
)
async def model_ready(model: str, service: Served, response: Response) -> dict[str, bool | str]:
    """Whether a model answers."""
    hosted = service.model(model)
    is_ready = hosted.batcher.is_ready
    response.status_code = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return {"name": hosted.name, "ready": is_ready}


@router.post(
    "/models/{model}/infer",
    dependencies=[Keyed],
    response_model=InferAnswer,
    responses=documented(401, 404, 408, 413, 415, 422, 429, 503, 504, 507),
    openapi_extra={
        "requestBody": {"required": True, "content": {JSON: {"schema": {"$ref": "#/components/schemas/InferRequest"}}}}
    },
)
async def infer(model: str, request: Request, service: Served) -> Response:
    """Probabilities of sequences (BYTES) or vectors (FP32)."""
    if content_type(request) not in (JSON, ""):
        raise unsupported(content_type(request), JSON)
    if "inference-header-content-length" in request.headers:
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "tensors as binary data, an extension that is not offered here",
            remedy="Send their data as JSON",
        )
    hosted = service.model(model)
    async with service.intake.body(request) as body:
        asked = await run_in_threadpool(InferRequest.model_validate_json, body)
    inputs = await run_in_threadpool(_read, asked.inputs[0])
    parameters = Parameters(length_policy=asked.parameters.length_policy)
    told = await judged(request, service, hosted, inputs, parameters)
    rows = np.stack([one.probabilities for one in told])
    answer = await run_in_threadpool(_tell, hosted, rows, asked.id)
    return Response(answer, media_type=JSON)


def _read(tensor: InputTensor) -> Inputs:
    remedy = "Send BYTES [n] of sequences, or FP32 [n, size] or [n, length, size] of vectors"
    if tensor.datatype == "BYTES":
        letters = [each for each in tensor.data if isinstance(each, str)]
        if tensor.shape != [len(letters)] or len(letters) != len(tensor.data):
            raise _unfit(f"{len(tensor.data)} values, of which {len(letters)} are strings", tensor, remedy)
        return [(f"sequence_{number}", each) for number, each in enumerate(letters, 1)]
    values = _flat(tensor.data)
    if len(tensor.shape) < 2 or min(tensor.shape) < 1 or math.prod(tensor.shape) != len(values):
        raise _unfit(f"{len(values)} numbers", tensor, remedy)
    rows = np.array(values, dtype=np.float32).reshape(tensor.shape)
    return [(f"sequence_{number}", row) for number, row in enumerate(rows, 1)]


def _flat(data: Any) -> list[float]:
    if not isinstance(data, list):
        return [data]
    return [value for each in data for value in _flat(each)]


def _unfit(found: str, tensor: InputTensor, remedy: str) -> RequestError:
    return RequestError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{found} in a tensor {tensor.datatype} {tensor.shape}",
        remedy=remedy,
        record=f"tensor '{tensor.name}'",
    )


def _tell(hosted: Hosted, rows: np.ndarray[Any, np.dtype[np.float32]], id: str | None) -> str:
    output = OutputTensor(name=_OUTPUT, shape=list(rows.shape), datatype="FP32", data=rows.ravel().tolist())
    answer = InferAnswer(model_name=hosted.name, model_version=hosted.version, id=id, outputs=[output])
    return answer.model_dump_json(exclude_none=True)
