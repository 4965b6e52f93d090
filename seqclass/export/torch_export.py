"""A bundle as a program of torch.export: PyTorch runs it without the code that the model was written in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from seqclass.atomic import atomic_file, check_free
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError
from seqclass.export.check import check_same
from seqclass.export.graph import graph_length, output_names, trace
from seqclass.onnx_file import METADATA, describe
from seqclass.predict import evaluating
from seqclass.predict.memory import attention_residues

SUFFIX = ".pt2"


def export_torch(bundle: Bundle, out: str | Path, *, length: int | None = None, force: bool = False) -> float:
    """Writes a program that `torch.export.load` reads, after comparing it with the model at three shapes.

    It takes and gives what the ONNX graph does, outputs as a tuple. The same description is its extra file
    "seqclass.json".

    Args:
        bundle: The model.
        out: The file, whose name ends in .pt2.
        length: Sequences of this length only, in residues; by default what the model takes.
        force: Replace the file that stands there.

    Returns:
        The largest difference of a probability.

    Raises:
        AssemblyError: The model cannot be exported, or the program answers differently.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is no file or an input, or the disk is full.
    """
    if Path(out).suffix != SUFFIX:
        raise AssemblyError(f"a program called {Path(out).name}", remedy=f"Let its name end in {SUFFIX}")
    check_free(out, force, inputs=(bundle.path,))
    length = graph_length(bundle, length)
    with evaluating(bundle.model, torch.device("cpu")):
        return _write(bundle, Path(out), length, force)


def _write(bundle: Bundle, out: Path, length: int | None, force: bool) -> float:
    program = trace(bundle, length)
    description = describe(bundle, length=length, attention_residues=attention_residues(bundle))
    with atomic_file(out, force=force) as partial:
        torch.export.save(program, partial, extra_files={f"{METADATA}.json": json.dumps(description)})
        module = torch.export.load(partial).module()

        def run(*inputs: Tensor) -> Mapping[str, Tensor]:
            with torch.inference_mode():
                return dict(zip(output_names(bundle), module(*inputs), strict=True))

        return check_same(bundle, length, run)
