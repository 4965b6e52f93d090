"""A bundle as one graph: tokens in, the probabilities out that `seqclass.predict` gives.

All that stands between them is in it: both strands of DNA, the members of an ensemble and their vote, the calibration.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.nn.attention import SDPBackend, sdpa_kernel

from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError
from seqclass.models import Ensemble
from seqclass.onnx_file import OnnxBundle
from seqclass.predict import judge

_LOGGERS = ("onnxscript", "onnx_ir", "torch.onnx")

_LENGTH = 128
"""Residues of the example that is traced, where the model takes any length and was trained on no single one."""


class Judgement(nn.Module):
    """From inputs and a mask to what `output_names` lists.

    Args:
        bundle: Its model is part of this module.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.model = bundle.model
        self._bundle = bundle

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        raw, spread = judge(replace(self._bundle, calibration=None), inputs, mask)
        outputs: tuple[Tensor, ...] = (raw,)
        calibration = self._bundle.calibration
        if calibration is not None:
            outputs = (calibration.apply(raw, self._bundle.binary, self._bundle.groups), raw)
        return outputs if spread is None else (*outputs, spread)


def output_names(bundle: Bundle) -> list[str]:
    """ "probabilities"; of a calibrated bundle, "uncalibrated"; of an ensemble, "spread"."""
    names = ["probabilities"] if bundle.calibration is None else ["probabilities", "uncalibrated"]
    return [*names, "spread"] if isinstance(bundle.model, Ensemble) else names


def input_names(bundle: Bundle, length: int | None) -> list[str]:
    """ "tokens" or "vectors", and "mask" where sequences of several lengths share a batch."""
    return [bundle.model.input_kind] if length is not None else [bundle.model.input_kind, "mask"]


def graph_length(bundle: Bundle, length: int | None) -> int | None:
    """The one length that the graph is to take, in residues, or None for any.

    Args:
        bundle: What is exported.
        length: The length that is asked for; None for what the model takes.

    Raises:
        AssemblyError: The model takes another, or no sequence of that length.
    """
    if isinstance(bundle, OnnxBundle):
        raise AssemblyError("this was exported already", remedy="Give the bundle that it came from")
    longest = bundle.model.longest
    if length is None or length == bundle.length:
        return bundle.length
    if bundle.length is not None or length < 1 or (longest is not None and length > longest):
        takes = "at least 1" if longest is None else f"at most {longest}" if bundle.length is None else f"{longest}"
        raise AssemblyError(
            f"an export for sequences of {length} residues, where the model takes {takes}",
            remedy="Choose another --length" if bundle.length is None else "Leave out --length",
        )
    return length


def example(bundle: Bundle, batch: int, length: int, ragged: bool, seed: int = 0) -> tuple[Tensor, ...]:
    """Random inputs of a graph, `(batch, length)` tokens or `(batch, length, vector_size)` vectors, and a mask.

    Args:
        bundle: What is exported.
        batch: Number of sequences.
        length: Of the longest of them, in residues.
        ragged: Whether there is a mask; then all but the first sequence end earlier.
        seed: Other seeds give other inputs.
    """
    generator = torch.Generator().manual_seed(seed)
    size = bundle.model.vector_size
    if size is None:
        tokens = bundle.alphabet.unknown_token + 1
        inputs = torch.randint(0, tokens, (batch, length), generator=generator, dtype=torch.uint8)
    else:
        inputs = torch.randn(batch, length, size, generator=generator)
    if not ragged:
        return (inputs,)
    lengths = torch.randint((length + 1) // 2, length + 1, (batch, 1), generator=generator)
    lengths[0] = length
    return inputs, torch.arange(length) < lengths


def typical_length(bundle: Bundle) -> int:
    """Residues of an ordinary sequence of a model that takes any length."""
    return min(bundle.window or _LENGTH, bundle.model.longest or _LENGTH)


@contextmanager
def silently() -> Iterator[None]:
    """Within the block tracer and converter keep to themselves what is for those who work on them."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def trace(bundle: Bundle, length: int | None) -> ExportedProgram:
    """The graph of a bundle in evaluation mode, for batches of any size.

    Args:
        bundle: Its model is on the CPU.
        length: The one length that the graph takes, or None for any; see `graph_length`.

    Raises:
        AssemblyError: The model is made of what cannot be exported, or not for all lengths.
    """
    inputs = example(bundle, 3, length or typical_length(bundle), ragged=length is None)
    free = {0: Dim.DYNAMIC} if length is not None else {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    try:
        # Attention written out gives memory in the order that all processors and converters know; the fused kernels of
        # this CPU give another, and a view of that would be in the graph.
        with silently(), sdpa_kernel(SDPBackend.MATH):
            program = export(
                Judgement(bundle).eval(),
                inputs,
                dynamic_shapes=(free,) * len(inputs),
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            # Once more through the tracer, which makes a reshape of a view that only some memory allows.
            decomposed: ExportedProgram = program.run_decompositions({})
        return decomposed
    except AssemblyError as error:
        if length is not None:
            raise
        raise AssemblyError(
            error.problem,
            remedy="Pass --length N to export it for sequences of N residues; others are then cropped or padded, as of "
            "any model of one length",
            file=bundle.path,
        ) from None
    except (RuntimeError, ValueError, TypeError) as error:
        raise cannot_export(bundle, error) from error


def cannot_export(bundle: Bundle, error: Exception) -> AssemblyError:
    """What to raise about a model that PyTorch could not turn into a graph."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return AssemblyError(
        f"{type(bundle.model).__name__} cannot be exported ({lines[0] if lines else type(error).__name__})",
        remedy="Look for what in its blocks depends on the values of tensors; --debug shows where",
        file=bundle.path,
    )
