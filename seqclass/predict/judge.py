"""What a bundle says of a batch: probabilities of both strands, votes of an ensemble, calibration, calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqclass.alphabets import DNA
from seqclass.bundle import Bundle
from seqclass.errors import BundleError
from seqclass.models import Ensemble
from seqclass.models.strands import strand_mean
from seqclass.onnx_file import OnnxModel

ABSTAINED = "abstained"
"""What is called where a sample is taken to be of no class of a group."""


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU. Of several processes on one machine, each has a GPU of its own."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


@contextmanager
def evaluating(model: nn.Module, device: torch.device | None = None) -> Iterator[torch.device]:
    """Within the block the model is in evaluation mode on `device`; afterwards it is as it was."""
    device = device or best_device()
    before = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    model.eval().to(device)
    try:
        yield device
    finally:
        model.to(before)
        for module, mode in modes:
            module.training = mode


def probabilities(bundle: Bundle, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
    """Probabilities `(batch, targets)` of inputs `(batch, length)`, on the inputs' device; both strands for DNA.

    Those of an exclusive group of targets add up to 1. The members of an ensemble see both strands, then they vote.
    Last, the bundle's calibration is applied.
    """
    return judge(bundle, inputs, mask)[0]


def judge(bundle: Bundle, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Probabilities as from `probabilities`; and of an ensemble, how far its members disagree about each, else None.

    That is the standard deviation of the members' probabilities, `(batch, targets)`.
    """
    if isinstance(bundle.model, OnnxModel):
        return bundle.model.judge(inputs, mask, calibrated=bundle.calibration is not None)
    if isinstance(bundle.model, Ensemble):
        each = torch.stack([_of_model(bundle, member, inputs, mask) for member in bundle.model.members])
        joint, spread = bundle.model.combine(each), each.std(dim=0, correction=0)
    else:
        joint, spread = _of_model(bundle, bundle.model, inputs, mask), None
    if bundle.calibration is not None:
        joint = bundle.calibration.apply(joint, bundle.binary, bundle.groups)
    return joint, spread


def _of_model(bundle: Bundle, model: nn.Module, inputs: Tensor, mask: Tensor | None) -> Tensor:
    groups = bundle.groups.values()

    def activation(logits: Tensor) -> Tensor:
        out = torch.sigmoid(logits)
        for members in groups:
            out[:, members] = torch.softmax(logits[:, members], dim=1)
        return out

    if bundle.alphabet is DNA and bundle.model.input_kind == "tokens":
        return strand_mean(model, inputs, mask, activation)
    return activation(model(inputs, mask).float())


def called(bundle: Bundle, probabilities: NDArray[np.floating[Any]]) -> list[list[str]]:
    """What is called on the strength of calibrated probabilities `(samples, targets)`; see `Prediction`.

    Raises:
        BundleError: The bundle has no calibration.
    """
    calibration = bundle.calibration
    if calibration is None:
        raise BundleError(
            "the bundle has no calibration, so no thresholds",
            remedy="Fit one on validation with seqclass.evaluation.calibration.calibrate",
            file=bundle.path,
        )
    names = np.array([target.name for target in bundle.targets])
    calls: list[list[str]] = [[] for _ in probabilities]
    for group, columns in bundle.groups.items():
        ours = probabilities[:, columns]
        known = ours.max(axis=1) >= calibration.abstain_below[group]
        for row, name in enumerate(np.where(known, names[columns][ours.argmax(axis=1)], ABSTAINED).tolist()):
            calls[row].append(name)
    binary = np.array(bundle.binary, dtype=np.int64)
    for row, above in enumerate(probabilities[:, binary] >= np.array(calibration.threshold)):
        calls[row] += names[binary[above]].tolist()
    return calls
