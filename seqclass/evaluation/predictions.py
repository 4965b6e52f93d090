"""A model's scores of a test set on disk, with all that is needed to measure them again, or against another's.

    attributes    format "seqclass-predictions", version, and as JSON: exclusive, block_kind, min_positives
    /scores       (targets, samples) float32
    /labels       (targets, samples) int8: 1, 0, or -1 where one is missing
    /samples      id, and block: which samples are drawn together (see `blocks`)
    /targets      name, group

A target's scores lie side by side, since metrics go through one target at a time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from seqclass.errors import EvaluationError
from seqclass.evaluation.blocks import Blocks
from seqclass.evaluation.multilabel import Labels, Scores
from seqclass.metrics.columns import COLUMNS, transposed
from seqclass.targets import Target

FILE = "predictions.h5"

_FORMAT, _VERSION = "seqclass-predictions", 1


@dataclass(frozen=True)
class Predictions:
    """Scores and labels of the same samples; what a report is made of.

    Args:
        labels: `(samples, targets)` ones and zeros, -1 where one is missing.
        scores: `(samples, targets)`.
        targets: Names and groups, in the order of the columns.
        ids: `(samples,)`, what the samples are called.
        blocks: Which of them are drawn together.
        exclusive: Groups of targets of which exactly one is true.
        min_positives: Targets with fewer positives are left out of means.
    """

    labels: Labels
    scores: Scores
    targets: Sequence[Target]
    ids: Sequence[str]
    blocks: Blocks
    exclusive: Sequence[str]
    min_positives: int


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Writes the file, a few targets at a time.

    Args:
        path: In a folder that is being written.
        predictions: What it is to hold.
    """
    rows, columns = predictions.scores.shape
    with h5py.File(path, "w") as file:
        file.attrs.update(format=_FORMAT, version=_VERSION)
        for name, value in (
            ("exclusive", list(predictions.exclusive)),
            ("block_kind", predictions.blocks.kind),
            ("min_positives", predictions.min_positives),
        ):
            file.attrs[name] = json.dumps(value)
        file["targets/name"] = np.array([target.name.encode() for target in predictions.targets])
        file["targets/group"] = np.array([target.group.encode() for target in predictions.targets])
        file["samples/id"] = np.array([each.encode() for each in predictions.ids])
        file["samples/block"] = predictions.blocks.index
        scores = file.create_dataset("scores", (columns, rows), np.float32)
        labels = file.create_dataset("labels", (columns, rows), np.int8, chunks=(1, rows), compression="lzf")
        for begin in range(0, columns, COLUMNS):
            block = slice(begin, begin + COLUMNS)
            scores[block] = transposed(predictions.scores[:, block])
            labels[block] = transposed(predictions.labels[:, block])


def load_predictions(path: str | Path) -> Predictions:
    """The predictions of a run, a report's folder or the file itself; a few targets in memory twice, else once.

    Raises:
        EvaluationError: There are none, or the file is damaged or of a newer version.
    """
    path = _find(Path(path))
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != _FORMAT:
                raise ValueError("it is another kind of HDF5 file")
            if int(file.attrs["version"]) > _VERSION:
                raise EvaluationError(
                    f"these predictions have version {file.attrs['version']}, newer than {_VERSION}",
                    remedy="Install a newer seqclass, or evaluate again",
                    file=path,
                )
            columns, rows = file["scores"].shape
            scores, labels = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.int8)
            for begin in range(0, columns, COLUMNS):
                block = slice(begin, begin + COLUMNS)
                scores[:, block] = transposed(file["scores"][block])
                labels[:, block] = transposed(file["labels"][block])
            names, groups = ([each.decode() for each in file[f"targets/{part}"][:]] for part in ("name", "group"))
            return Predictions(
                labels=labels,
                scores=scores,
                targets=[Target(*pair) for pair in zip(names, groups, strict=True)],
                ids=[each.decode() for each in file["samples/id"][:]],
                blocks=Blocks(file["samples/block"][:].astype(np.int64), json.loads(file.attrs["block_kind"])),
                exclusive=json.loads(file.attrs["exclusive"]),
                min_positives=json.loads(file.attrs["min_positives"]),
            )
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise EvaluationError(
            f"these are no predictions, or they are damaged ({error})",
            remedy="Make them again with 'seqclass evaluate'",
            file=path,
        ) from None


def _find(path: Path) -> Path:
    places = (path, path / FILE, path / "report" / FILE)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise EvaluationError(
            f"there is no {FILE} here, nor in its report",
            remedy="Name the folder of a run or of a report; 'seqclass evaluate' writes one",
            file=path,
        )
    return found
