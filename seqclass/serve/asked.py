"""What clients ask and are told, field by field: the schemas of the service's JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from seqclass.attribution.methods import METHODS, REFERENCES
from seqclass.serve.job_table import State

_LARGEST = float(np.finfo(np.float32).max)

Finite = Annotated[float, Field(allow_inf_nan=False, ge=-_LARGEST, le=_LARGEST)]
"""A number that single precision can hold."""


class Named(BaseModel):
    """A sequence with its name."""

    model_config = ConfigDict(extra="forbid")

    id: str
    sequence: str


class Parameters(BaseModel):
    """How sequences are judged."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, description="Its name; by default the first of /models")
    top_k: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Tell of so many of the most probable targets only; by default of the first five, and the "
        "probabilities of all",
    )
    length_policy: Literal["error", "centre", "tile"] = Field(
        default="error",
        description="What becomes of sequences of another length than the model takes: error refuses them, centre "
        "takes the middle (shorter ones get N or X around), tile scores every window",
    )


class PredictRequest(BaseModel):
    """Sequences, or of a model of vectors one vector each."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"inputs": ["ACGTACGTAC", {"id": "mine", "sequence": "TTGACA"}], "parameters": {"top_k": 3}}]
        },
    )

    inputs: list[Named | str | list[Finite]] = Field(min_length=1)
    parameters: Parameters = Parameters()


class Label(BaseModel):
    """A target and its probability."""

    label: str
    probability: float


class Record(BaseModel):
    """What the model says of a sequence, or of one window of it."""

    id: str
    start: int = Field(description="Where the scored stretch begins, 0-based; negative where N or X was put before")
    end: int = Field(description="Where it ends, exclusive")
    top: list[Label] = Field(description="The most probable targets, the most probable first")
    scores: dict[str, float] | None = Field(default=None, description="The probability of every target, without top_k")
    spread: dict[str, float] | None = Field(
        default=None, description="Of an ensemble, without top_k: the standard deviation of its members' probabilities"
    )
    calls: list[str] | None = Field(default=None, description="Of a calibrated model: what is called")
    abstained: bool = Field(description="Whether of an exclusive group no class is called")
    truncated: bool = Field(description="Whether residues at the ends of the sequence had no part in this")
    windowed: bool = Field(description="Whether this is one of several windows of the sequence")
    model: str


class PredictAnswer(BaseModel):
    """The records in the order of the sequences."""

    model: str
    version: str
    predictions: list[Record]


class ExplainParameters(BaseModel):
    """How a prediction is explained."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, description="Its name; by default the first of /models")
    method: str = Field(default="grad-cam", json_schema_extra={"enum": list(METHODS)})
    layer: str | None = Field(default=None, description="What Grad-CAM and its like look at")
    reference: str | None = Field(
        default=None, description=f"What a sequence is compared with: {', '.join(REFERENCES)}"
    )
    num_references: int = Field(default=10, ge=1, le=100)
    steps: int = Field(default=64, ge=1, le=1024)
    window: int = Field(default=5, ge=1, le=1000)
    correct_gradient: bool = False
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    length_policy: Literal["error", "centre"] = "error"


class ExplainRequest(BaseModel):
    """A sequence and the target whose evidence is looked for in it."""

    model_config = ConfigDict(extra="forbid")

    input: Named | str
    target: str = Field(description="Its name, or the beginning of it")
    parameters: ExplainParameters = ExplainParameters()


class Explanation(BaseModel):
    """Where in the sequence the evidence lies."""

    model: str
    version: str
    id: str
    target: str
    method: str
    faithful: bool = Field(description="False for maps that do not follow from what the model computes for the target")
    probability: float
    start: int
    end: int
    letters: str
    saliency: list[float] = Field(description="Of each letter")
    delta: float | None = Field(
        default=None, description="By how much the saliency misses the difference that it shares out"
    )


class ModelSummary(BaseModel):
    """A model that is served."""

    name: str
    version: str
    alphabet: str
    input_kind: Literal["tokens", "vectors"]
    num_targets: int


class TargetName(BaseModel):
    """What a probability stands for."""

    name: str
    group: str


class ModelLimits(BaseModel):
    """What a request may bring."""

    max_body_bytes: int
    max_sequences: int
    max_length: int
    timeout_seconds: float


class ModelDetails(ModelSummary):
    """All that a client needs to ask the model."""

    targets: list[TargetName]
    exclusive: list[str] = Field(description="Groups of targets of which exactly one is true")
    calibrated: bool
    ensemble: bool
    length: int | None = Field(description="The one length that it takes, in residues; null for any")
    window: int | None = Field(description="Residues of a training sample")
    vector_size: int | None
    methods: list[str] = Field(description="Methods of attribution that apply")
    limits: ModelLimits


class PreviewRow(BaseModel):
    """What a row of the result says, of the most probable targets alone."""

    id: str
    start: int
    end: int
    top: list[Label]


class JobStatus(BaseModel):
    """Where a job stands."""

    id: str
    state: State = Field(description="An ended job is done, failed or cancelled")
    model: str
    version: str | None = Field(default=None, description="Of the model, once the job has begun")
    done: int = Field(description="Sequences, or windows of them, that are scored")
    total: int | None = Field(default=None, description="How many there are, once they are counted")
    eta_seconds: float | None = Field(default=None, description="How long it will take yet, at the present rate")
    created: datetime
    finished: datetime | None = None
    error: str | None = Field(default=None, description="Why it failed")
    preview: list[PreviewRow] | None = Field(default=None, description="The first records, once it is done")
