"""A bundle as an ONNX file."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from seqclass.atomic import atomic_file, check_free
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, MissingPackageError
from seqclass.export.check import check_same
from seqclass.export.graph import cannot_export, graph_length, input_names, output_names, silently, trace
from seqclass.onnx_file import METADATA, SUFFIX, describe, is_onnx, load_onnx
from seqclass.predict import evaluating
from seqclass.predict.memory import attention_residues

_MOST_BYTES = 2_000_000_000


def export_onnx(bundle: Bundle, out: str | Path, *, length: int | None = None, force: bool = False) -> float:
    """Writes an ONNX file that predicts alone, after comparing it with the model at three shapes.

    Its inputs are "tokens" `(batch, length)` uint8, or "vectors" `(batch, length, vector_size)` float32, and, where
    it takes any length, "mask" `(batch, length)` bool; its outputs "probabilities" `(batch, targets)` and what else
    `output_names` lists. What they stand for is in its metadata (see `seqclass.onnx_file`).

    Args:
        bundle: The model.
        out: The file, whose name ends in .onnx.
        length: Sequences of this length only, in residues; by default what the model takes.
        force: Replace the file that stands there.

    Returns:
        The largest difference of a probability.

    Raises:
        AssemblyError: The model cannot be exported, or the graph answers differently.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is no file or an input, or the disk is full.
        MissingPackageError: onnx, onnxscript or onnxruntime is not installed.
    """
    check_onnx_file(out, force, bundle.path)
    length = graph_length(bundle, length)
    size = sum(each.numel() * each.element_size() for each in bundle.model.state_dict().values())
    if size > _MOST_BYTES:
        raise AssemblyError(
            f"the model's weights are {size / 1e9:.1f} GB, and one ONNX file holds 2 GB",
            remedy="Pass --to torch-export",
            file=bundle.path,
        )
    with evaluating(bundle.model, torch.device("cpu")):
        return _write(bundle, Path(out), length, force)


def _write(bundle: Bundle, out: Path, length: int | None, force: bool) -> float:
    proto = _convert(bundle, length)
    description = describe(bundle, length=length, attention_residues=attention_residues(bundle))
    proto.metadata_props.add(key=METADATA, value=json.dumps(description))
    with atomic_file(out, force=force) as partial:
        partial.write_bytes(proto.SerializeToString())
        return check_same(bundle, length, load_onnx(partial).graph.run)


def check_onnx_file(out: str | Path, force: bool, *inputs: str | Path | None) -> None:
    """Makes sure, before long work, that an ONNX file can be written.

    Args:
        out: The file.
        force: Whether it may replace another.
        inputs: What is read for it.

    Raises:
        AssemblyError: By its name, which does not end in .onnx, it would not be known again.
        OutputExistsError, SeqclassError: As for `check_free`.
        MissingPackageError: onnx, onnxscript or onnxruntime is not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise MissingPackageError("Export to ONNX", package, "onnx")
    if not is_onnx(out):
        raise AssemblyError(f"an ONNX file called {Path(out).name}", remedy=f"Let its name end in {SUFFIX}")
    check_free(out, force, inputs=inputs)


def _convert(bundle: Bundle, length: int | None) -> Any:
    program = trace(bundle, length)
    try:
        with silently():
            converted = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=input_names(bundle, length),
                output_names=output_names(bundle),
            )
    except (RuntimeError, ValueError, TypeError) as error:
        raise cannot_export(bundle, error) from error
    assert converted is not None
    proto = converted.model_proto
    _tidy(proto)
    return proto


def _tidy(proto: Any) -> None:
    """Calls free dimensions what they are, and drops what is no part of the model.

    That is the shapes of what lies between, which every runtime infers, and which line of whose file each node is from.
    """
    first = proto.graph.input[0].type.tensor_type.shape.dim
    names = {first[0].dim_param: "batch", first[1].dim_param: "length"}
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = names.get(dim.dim_param, dim.dim_param)
    for part in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del proto.graph.value_info[:]
