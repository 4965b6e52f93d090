"""A classifier in one ONNX file, which onnxruntime runs without the library that trained it.

The graph takes tokens, or vectors, and a mask if the model takes more than one length; it ends in what
`seqclass.predict` answers: both strands averaged, votes counted, probabilities calibrated. The entry "seqclass" of the
file's metadata is a JSON object with all else that a bundle knows: the alphabet's letters in the order of their tokens,
targets, exclusive groups, windows, calibration, version, provenance. `seqclass.export` writes such files; this module
reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqclass.alphabets import get_alphabet
from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.errors import AssemblyError, BundleError, MissingPackageError, SeqclassError
from seqclass.models import Classifier
from seqclass.targets import Target

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SUFFIX = ".onnx"
METADATA = "seqclass"
"""The entry of the file's metadata that describes it."""

_VERSION = 1


class OnnxModel(Classifier):
    """A graph that answers with probabilities; where it runs, a GPU or the CPU, is onnxruntime's choice.

    Args:
        session: The graph, loaded.
        description: What the file's metadata says of it.

    Attributes:
        attention_residues: The most residues that its attention takes at once, None where it has none.
    """

    def __init__(self, session: InferenceSession, description: Mapping[str, Any]) -> None:
        super().__init__()
        self.alphabet = get_alphabet(description["alphabet"]).name
        self.vector_size = description["vector_size"]
        self.input_kind = "tokens" if self.vector_size is None else "vectors"
        self.length = description["length"]
        self.num_targets = len(description["targets"])
        self.attention_residues: int | None = description["attention_residues"]
        self._longest: int | None = description["longest"]
        self._session = session
        self._inputs = [each.name for each in session.get_inputs()]
        self._outputs = [each.name for each in session.get_outputs()]
        self.has_spread = "spread" in self._outputs
        # What asks a model where it is, asks its parameters.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)

    @property
    def longest(self) -> int | None:
        return self._longest

    def judge(self, inputs: Tensor, mask: Tensor | None, *, calibrated: bool) -> tuple[Tensor, Tensor | None]:
        """Probabilities `(batch, targets)`, and of an ensemble the members' standard deviation, else None.

        Args:
            inputs: `(batch, length)` tokens, or `(batch, length, vector_size)` vectors.
            mask: `(batch, length)`, True at real residues; None where all are real.
            calibrated: Whether the calibration that is part of the graph is applied.
        """
        outputs = self.run(inputs, mask)
        return outputs["probabilities" if calibrated else "uncalibrated"], outputs.get("spread")

    def run(self, inputs: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """All outputs by name; arguments as for `judge`. Without a calibration, "uncalibrated" is "probabilities"."""
        values = inputs.cpu().to(torch.uint8 if self.vector_size is None else torch.float32).numpy()
        given: dict[str, NDArray[Any]] = {self._inputs[0]: values}
        if len(self._inputs) > 1:
            given[self._inputs[1]] = np.ones(values.shape[:2], bool) if mask is None else mask.cpu().numpy()
        answers = self._session.run(self._outputs, given)
        outputs = {
            name: torch.from_numpy(each).to(inputs.device) for name, each in zip(self._outputs, answers, strict=True)
        }
        return {"uncalibrated": outputs["probabilities"], **outputs}

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        raise AssemblyError(
            "an exported model gives probabilities, and neither logits nor gradients",
            remedy="Give the bundle that it was exported from",
        )


@dataclass
class OnnxBundle(Bundle):
    """A bundle whose model is an ONNX file's graph. It predicts and is evaluated; it cannot be trained or explained.

    Args:
        exported_version: The version of the bundle that it was exported from; after a hyphen, what was done to it.
    """

    exported_version: str = ""

    @property
    def graph(self) -> OnnxModel:
        assert isinstance(self.model, OnnxModel)
        return self.model

    @property
    def version(self) -> str:
        return self.exported_version

    def save(self, path: str | Path, *, force: bool = False) -> None:
        raise BundleError(
            "an ONNX file is no bundle's model", remedy="Copy the file, or the bundle it came from", file=self.path
        )


def describe(bundle: Bundle, *, length: int | None, attention_residues: int | None) -> dict[str, Any]:
    """What an exported file says of itself, as plain data.

    Args:
        bundle: What is exported.
        length: The one length that the graph takes, in residues, or None for any.
        attention_residues: The most residues that its attention takes at once, None where it has none.
    """
    letters = bundle.alphabet
    return {
        "format": _VERSION,
        "version": bundle.version,
        "alphabet": letters.name,
        "letters": letters.letters + letters.unknown,
        "vector_size": bundle.model.vector_size,
        "length": length,
        "longest": length or bundle.model.longest,
        "attention_residues": attention_residues,
        "window": bundle.window,
        "bin": bundle.bin,
        "targets": [
            {"name": target.name, "group": target.group, "train_positives": int(count)}
            for target, count in zip(bundle.targets, bundle.train_positives, strict=True)
        ],
        "exclusive": list(bundle.exclusive),
        "calibration": None if bundle.calibration is None else asdict(bundle.calibration),
        "provenance": bundle.provenance,
    }


def is_onnx(path: str | Path) -> bool:
    """Whether a path is that of an ONNX file."""
    return Path(path).suffix.lower() == SUFFIX


def open_bundle(path: str | Path) -> Bundle:
    """The bundle in a folder or on the hub, or in an ONNX file.

    Raises:
        BundleError: It is neither, is damaged, or was written by a newer version.
        MissingPackageError: A package that it needs is not installed.
    """
    return load_onnx(path) if is_onnx(path) else Bundle.load(path)


def load_onnx(path: str | Path) -> OnnxBundle:
    """The classifier in an ONNX file that `seqclass export` wrote.

    Raises:
        BundleError: There is no such file, it is damaged, holds no classifier, or was written by a newer version.
        MissingPackageError: onnxruntime is not installed.
    """
    path = Path(path)
    session = _session(path)
    try:
        description = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
        version = int(description["format"])
    except (KeyError, TypeError, ValueError):
        raise BundleError(
            "this ONNX file does not say what it predicts",
            remedy="Give one that 'seqclass export --to onnx' wrote",
            file=path,
        ) from None
    if version > _VERSION:
        raise BundleError(
            f"it has format version {version}, newer than version {_VERSION} that is understood here",
            remedy="Install a newer seqclass",
            file=path,
        )
    try:
        calibration = description["calibration"]
        return OnnxBundle(
            model=OnnxModel(session, description).eval(),
            targets=[Target(each["name"], each["group"]) for each in description["targets"]],
            train_positives=[each["train_positives"] for each in description["targets"]],
            window=description["window"],
            bin=description["bin"],
            exclusive=description["exclusive"],
            provenance=description["provenance"],
            path=path,
            calibration=None if calibration is None else Calibration(**calibration),
            exported_version=description["version"],
        )
    except (KeyError, TypeError, SeqclassError) as error:
        raise _damaged(path, error) from None


def _session(path: Path) -> InferenceSession:
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as raised
    except ImportError:
        raise MissingPackageError("Running an ONNX file", "onnxruntime", "onnx") from None
    if not path.is_file():
        raise BundleError("there is no such file", remedy="Write one with 'seqclass export --to onnx'", file=path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    known = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [each for each in known if each in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers)
    except (raised.Fail, raised.InvalidGraph, raised.InvalidProtobuf, raised.InvalidArgument) as error:
        raise _damaged(path, error) from None
    except (raised.NotImplemented, raised.RuntimeException) as error:
        raise BundleError(
            f"this onnxruntime cannot run it ({_one_line(error)})", remedy="Install a newer onnxruntime", file=path
        ) from None


def _damaged(path: Path, error: Exception) -> BundleError:
    return BundleError(
        f"this is not an ONNX file of a classifier, or it is damaged ({_one_line(error)})",
        remedy="Copy it again, or export the bundle again",
        file=path,
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
