"""`GET /models`: what is served."""

from __future__ import annotations

from fastapi import APIRouter

from seqclass.serve.asked import ModelDetails, ModelLimits, ModelSummary, TargetName
from seqclass.serve.hosted import Hosted
from seqclass.serve.key import Keyed
from seqclass.serve.problems import documented
from seqclass.serve.service import Served

router = APIRouter(tags=["models"], dependencies=[Keyed])


@router.get("/models", responses=documented(401, 503))
async def models(service: Served) -> list[ModelSummary]:
    """The models; the first is the one that is asked where no name is given."""
    return [_summary(hosted) for hosted in service.loaded().values()]


@router.get("/models/{model}", responses=documented(401, 404, 422, 503))
async def model(model: str, service: Served) -> ModelDetails:
    """What a model tells apart and takes."""
    hosted = service.model(model)
    bundle, limits = hosted.bundle, hosted.limits
    return ModelDetails(
        **_summary(hosted).model_dump(),
        targets=[TargetName(name=target.name, group=target.group) for target in bundle.targets],
        exclusive=list(bundle.exclusive),
        calibrated=bundle.calibration is not None,
        ensemble=bundle.model.has_spread,
        length=bundle.length,
        window=bundle.window,
        vector_size=bundle.model.vector_size,
        methods=hosted.methods,
        limits=ModelLimits(
            max_body_bytes=limits.body,
            max_sequences=hosted.max_sequences,
            max_length=limits.length,
            timeout_seconds=limits.timeout,
        ),
    )


def _summary(hosted: Hosted) -> ModelSummary:
    return ModelSummary(
        name=hosted.name,
        version=hosted.version,
        alphabet=hosted.bundle.alphabet.name,
        input_kind=hosted.bundle.model.input_kind,
        num_targets=len(hosted.bundle.targets),
    )
