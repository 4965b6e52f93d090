"""Predictions as files: tables (TSV, CSV), JSON lines, HDF5, and the table of the beta-lactamase pipeline."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO

import h5py
import numpy as np

from seqclass import __version__
from seqclass.atomic import atomic_file
from seqclass.bundle import Bundle
from seqclass.data.writer import new_hdf5
from seqclass.errors import SeqclassError, find_name
from seqclass.predict.beta_lactamase import HEADER, row_of
from seqclass.predict.records import Prediction, Write

STDOUT = "-"
FORMATS = ("tsv", "csv", "jsonl", "h5", "beta-lactamase")

_SUFFIXES = {"": "tsv", ".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".h5": "h5", ".hdf5": "h5"}
_CHUNK_BYTES = 1 << 18


def find_format(out: str | Path, wanted: str | None = None) -> str:
    """Which of `FORMATS` to write: that which is wanted, else what the ending of `out` says; without one, TSV.

    Raises:
        UnknownNameError: There is no such format.
        SeqclassError: The ending says nothing, or HDF5 is to go to standard output.
    """
    if wanted is not None:
        found = find_name("format", wanted, FORMATS)
    elif (suffix := Path(out).suffix.lower()) in _SUFFIXES:
        found = _SUFFIXES[suffix]
    else:
        raise SeqclassError(
            f"the ending of '{Path(out).name}' does not say what to write",
            remedy=f"Choose one of {', '.join(filter(None, _SUFFIXES))}, or pass --format",
            file=out,
        )
    if found == "h5" and out == STDOUT:
        raise SeqclassError("HDF5 cannot be written into a pipe", remedy="Name a file, or choose another --format")
    return found


def open_predictions(
    out: str | Path, format: str, bundle: Bundle, *, top_k: int | None = None, force: bool = False
) -> AbstractContextManager[Write]:
    """What takes predictions, portion by portion, and leaves the file whole or not at all.

    Args:
        out: The file, or `STDOUT`.
        format: One of `FORMATS`.
        bundle: Where the predictions come from.
        top_k: Tables and JSON tell only of the most probable targets. HDF5 holds all, always.
        force: Replace what stands at `out`.

    Raises:
        SeqclassError: The bundle does not say what the beta-lactamase pipeline asks, or `top_k` is below 1.
    """
    if top_k is not None and top_k < 1:
        raise SeqclassError(f"the {top_k} most probable targets", remedy="Let --top-k be at least 1")
    if format == "h5":
        return _hdf5(Path(out), bundle, force)
    if format == "beta-lactamase":
        beta_lactamase = row_of(bundle)
        return _table(out, HEADER, beta_lactamase, ",", force)
    if format == "jsonl":
        return _json_lines(out, top_k, force)
    return _table(out, _header(bundle, top_k), lambda one: _row(one, top_k), "\t" if format == "tsv" else ",", force)


def _header(bundle: Bundle, top_k: int | None) -> list[str]:
    names = [target.name for target in bundle.targets]
    if top_k is not None:
        names = [f"{what}_{rank + 1}" for rank in range(min(top_k, len(names))) for what in ("label", "probability")]
    elif bundle.model.has_spread:
        names += [f"{name}:spread" for name in names]
    judged = [] if bundle.calibration is None else ["calls", "abstained"]
    return ["id", "start", "end", *names, *judged, "truncated", "windowed", "model"]


def _row(one: Prediction, top_k: int | None) -> list[str]:
    if top_k is not None:
        numbers = [word for name, value in one.top(top_k) for word in (name, f"{value:.6g}")]
    else:
        values = [one.probabilities] if one.spread is None else [one.probabilities, one.spread]
        numbers = [f"{value:.6g}" for value in np.concatenate(values).tolist()]
    judged = [] if one.calls is None else [";".join(one.calls), _yes(one.abstained)]
    said = [*judged, _yes(one.truncated), _yes(one.windowed), one.model]
    return [one.id, str(one.start), str(one.end), *numbers, *said]


def _yes(said: bool) -> str:
    return "yes" if said else "no"


@contextmanager
def _text(out: str | Path, force: bool) -> Iterator[TextIO]:
    if out == STDOUT:
        yield sys.stdout
        sys.stdout.flush()
        return
    with atomic_file(out, force=force) as partial, open(partial, "w", encoding="utf-8", newline="") as stream:
        yield stream


@contextmanager
def _table(
    out: str | Path, header: Sequence[str], row: Callable[[Prediction], Sequence[str]], separator: str, force: bool
) -> Iterator[Write]:
    with _text(out, force) as stream:
        put: Callable[[Sequence[str]], object] = (
            csv.writer(stream, lineterminator="\n").writerow
            if separator == ","
            else lambda cells: stream.write("\t".join(cells) + "\n")
        )
        put(header)

        def write(predictions: Sequence[Prediction]) -> None:
            for one in predictions:
                put(row(one))

        yield write


@contextmanager
def _json_lines(out: str | Path, top_k: int | None, force: bool) -> Iterator[Write]:
    with _text(out, force) as stream:

        def write(predictions: Sequence[Prediction]) -> None:
            for one in predictions:
                stream.write(json.dumps(one.as_dict(top_k), ensure_ascii=False) + "\n")

        yield write


@contextmanager
def _hdf5(out: Path, bundle: Bundle, force: bool) -> Iterator[Write]:
    """Data sets of a row a prediction; names as strings, numbers as they are."""
    with new_hdf5(out, force=force) as file:
        file.attrs["seqclass"] = __version__
        file["targets"] = [target.name for target in bundle.targets]

        def write(predictions: Sequence[Prediction]) -> None:
            if not predictions:
                return
            file.attrs["model"] = predictions[0].model
            text = h5py.string_dtype()
            _append(file, "id", np.array([one.id for one in predictions], dtype=object), text)
            for name in ("start", "end"):
                _append(file, name, np.array([getattr(one, name) for one in predictions], dtype=np.int64))
            for name in ("truncated", "windowed", "abstained"):
                _append(file, name, np.array([getattr(one, name) for one in predictions], dtype=np.bool_))
            _append(file, "probabilities", np.stack([one.probabilities for one in predictions]))
            spread = [one.spread for one in predictions if one.spread is not None]
            if spread:
                _append(file, "spread", np.stack(spread))
            calls = [";".join(one.calls) for one in predictions if one.calls is not None]
            if calls:
                _append(file, "calls", np.array(calls, dtype=object), text)

        yield write


def _append(file: h5py.File, name: str, rows: np.ndarray[Any, Any], dtype: Any = None) -> None:
    if name not in file:
        row = rows.shape[1:]
        chunk = max(1, _CHUNK_BYTES // (16 * int(np.prod(row))))
        file.create_dataset(name, (0, *row), dtype or rows.dtype, maxshape=(None, *row), chunks=(chunk, *row))
    data = file[name]
    data.resize(len(data) + len(rows), axis=0)
    data[-len(rows) :] = rows
