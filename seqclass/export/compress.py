"""An ONNX file made smaller: in half precision, or in 8-bit integers. What is made may be worse or slower: measure it.

Half precision is what onnxruntime's converter makes of it: weights and activations in float16, inputs and outputs as
they were. Integers come in two ways, as onnxruntime advises for each kind of layer: convolutions have fixed ranges of
activations, taken from sequences that are given (static), matrix products find them anew for each batch (dynamic). A
calibration of probabilities stays in double precision in either.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.atomic import atomic_file
from seqclass.bundle import Bundle
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Store
from seqclass.errors import AssemblyError, BundleError
from seqclass.export.onnx_export import check_onnx_file
from seqclass.onnx_file import METADATA, OnnxBundle, load_onnx
from seqclass.predict import check_fits

_SEQUENCES, _BATCH = 128, 16
"""Training samples from which ranges of activations are taken, and how many at once."""


def write_half(exported: str | Path, out: str | Path, *, force: bool = False) -> OnnxBundle:
    """Writes an exported ONNX file anew in half precision.

    Args:
        exported: A file that `export_onnx` wrote.
        out: The file to write, whose name ends in .onnx.
        force: Replace the file that stands there.

    Raises:
        BundleError: `exported` is no such file.
        AssemblyError: The graph cannot be converted.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is no file or is `exported`, or the disk is full.
        MissingPackageError: onnx or onnxruntime is not installed.
    """
    check_onnx_file(out, force, exported)
    load_onnx(exported)
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    proto = onnx.load(exported)
    try:
        # It warns of each number that float16 does not hold; what that costs is measured.
        with warnings.catch_warnings(action="ignore"):
            half = convert_float_to_float16(proto, keep_io_types=True)
    except (ValueError, TypeError, RuntimeError, onnx.shape_inference.InferenceError) as error:
        raise AssemblyError(
            f"onnxruntime cannot write the graph in half precision ({error})",
            remedy="Leave out --half",
            file=exported,
        ) from error
    return _finish(half, "half", out, force)


def write_int8(exported: str | Path, store: Store, out: str | Path, *, force: bool = False) -> OnnxBundle:
    """Writes an exported ONNX file anew with 8-bit integers in its convolutions and matrix products.

    Args:
        exported: A file that `export_onnx` wrote.
        store: Its training samples give the ranges of activations.
        out: The file to write, whose name ends in .onnx.
        force: Replace the file that stands there.

    Raises:
        StoreError: The store does not fit, or has no training samples.
        BundleError, AssemblyError, SeqclassError, MissingPackageError: As for `write_half`.
    """
    check_onnx_file(out, force, exported, store.path)
    bundle = load_onnx(exported)
    check_fits(bundle, store)
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared, static, both = (Path(folder) / name for name in ("prepared.onnx", "static.onnx", "both.onnx"))
        log, level = logging.getLogger(), logging.getLogger().level
        log.setLevel(logging.ERROR)
        try:
            quant_pre_process(exported, prepared, skip_symbolic_shape=True)
            proto = onnx.load(prepared)
            _turn_weights(proto)
            onnx.save(proto, prepared)
            if any(node.op_type == "Conv" for node in proto.graph.node):
                quantize_static(
                    prepared,
                    static,
                    _Samples(bundle, store),
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=["Conv"],
                    per_channel=True,
                    weight_type=QuantType.QInt8,
                    activation_type=QuantType.QUInt8,
                )
            else:
                static = prepared
            quantize_dynamic(
                static,
                both,
                op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=QuantType.QInt8,
                # Behind quantised convolutions it cannot infer that what reaches a product is a float.
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
        except (ValueError, TypeError, RuntimeError, onnx.shape_inference.InferenceError) as error:
            raise AssemblyError(
                f"onnxruntime cannot quantize the graph ({error})", remedy="Leave out --quantize", file=exported
            ) from error
        finally:
            log.setLevel(level)
        return _finish(onnx.load(both), "int8", out, force)


def _turn_weights(proto: Any) -> None:
    """Keeps the weights of matrix products the way they are multiplied.

    onnxruntime would turn a weight once for each product that asks for it turned, and both strands share theirs.
    """
    from onnx import numpy_helper

    weights = {each.name: each for each in proto.graph.initializer}
    turned: dict[str, str] = {}
    for node in proto.graph.node:
        flags = [each for each in node.attribute if each.name == "transB" and each.i]
        if node.op_type != "Gemm" or not flags or node.input[1] not in weights:
            continue
        name = node.input[1]
        if name not in turned:
            turned[name] = f"{name}.turned"
            array = np.ascontiguousarray(numpy_helper.to_array(weights[name]).T)
            proto.graph.initializer.append(numpy_helper.from_array(array, turned[name]))
        node.input[1], flags[0].i = turned[name], 0
    used = {name for node in proto.graph.node for name in node.input}
    for name in turned:
        if name not in used:
            proto.graph.initializer.remove(weights[name])


class _Samples:
    """Training samples of a store, a batch at a time, as onnxruntime's calibration asks for them."""

    def __init__(self, bundle: OnnxBundle, store: Store) -> None:
        self._batches = self._read(bundle, store)

    @staticmethod
    def _read(bundle: Bundle, store: Store) -> Iterator[dict[str, NDArray[Any]]]:
        train = store.samples("train")
        chosen = train[np.linspace(0, len(train) - 1, min(_SEQUENCES, len(train))).astype(np.int64)]
        for batch in StoreLoader(store, np.unique(chosen), _BATCH):
            values: dict[str, NDArray[Any]] = {bundle.model.input_kind: batch.inputs.numpy()}
            if bundle.length is None:
                mask = np.ones(batch.inputs.shape[:2], dtype=bool) if batch.mask is None else batch.mask.numpy()
                values["mask"] = mask
            yield values

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._batches, None)

    def set_range(self, start_index: int, end_index: int) -> None:
        """All of it is one range."""


def _finish(proto: Any, what: str, out: str | Path, force: bool) -> OnnxBundle:
    """Writes the graph, with `what` was done to it as part of its version, and opens it."""
    _describe(proto.metadata_props, what)
    with atomic_file(out, force=force) as partial:
        partial.write_bytes(proto.SerializeToString())
        try:
            load_onnx(partial)
        except BundleError as error:
            raise AssemblyError(
                f"onnxruntime does not run the graph as {what}: {error.problem}",
                remedy="Take the plain ONNX file",
                file=out,
            ) from error
    return load_onnx(out)


def _describe(entries: Sequence[Any], what: str) -> None:
    for entry in entries:
        if entry.key == METADATA:
            told = json.loads(entry.value)
            told["version"] = f"{told['version']}-{what}"
            entry.value = json.dumps(told)
