"""For which samples a classifier is right: by their likeness to the training set, their length, their family's size.

One error rate hides that near-copies of training sequences are easy, and large families have most samples. So accuracy
stands beside its mean over families, and beside that of each stratum:

- identity: to the best-scoring training sequence whose alignment by phmmer (E-value up to 0.001) covers at least 80 %
  of the sample; "none" where there is no such alignment. Proteins only.
- length, in residues.
- family_size: how many training samples the sample's true class has.
- whatever a column of a table tells of the samples, such as where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.data.delimited import read_rows
from seqclass.data.sources.annotations import Columns
from seqclass.data.store import Indices, Store
from seqclass.errors import EvaluationError
from seqclass.evaluation.multilabel import Scores

LENGTHS = (0, 64, 128, 256, 512, 1024, 2048)
FAMILY_SIZES = (0, 1, 10, 30, 100, 300, 1000)


class Strata(NamedTuple):
    """Names of strata, and which of them each sample is in, `(samples,)`."""

    names: Sequence[str]
    of: Indices


def stratify(
    store: Store,
    samples: Indices,
    scores: Scores,
    *,
    identity: NDArray[np.floating[Any]] | None = None,
    annotations: Mapping[str, Strata] | None = None,
) -> dict[str, Any]:
    """Accuracy in each exclusive group of targets, as JSON can hold it; a store without one gives {}.

    By the group's name, "samples" with a label, "accuracy", "error_rate", "family_accuracy" (the mean of each true
    class's accuracy), and "strata": by name, a list of rows with "stratum" and the same figures. Strata without
    samples are left out, and so is length where all samples fall into one.

    Args:
        store: Of the samples, with the training split.
        samples: Indices of the samples that were scored.
        scores: `(samples, targets)`; the highest in a group is what is said.
        identity: `(samples,)` from `compute_homology`, where it was computed.
        annotations: More strata, by name.

    Raises:
        EvaluationError: Shapes do not fit.
    """
    shape = (len(samples), store.num_targets)
    if scores.shape != shape or (identity is not None and identity.shape != shape[:1]):
        raise EvaluationError(
            f"{shape[0]} samples of {shape[1]} targets have scores of shape {scores.shape}"
            + ("" if identity is None else f" and identities of shape {identity.shape}"),
            remedy="Pass one row a sample to each",
        )
    positives = store.positives("train") if store.layout.exclusive else np.zeros(0, dtype=np.int64)
    classes = store.classes(samples) if store.layout.exclusive else np.zeros((len(samples), 0), dtype=np.int32)
    out: dict[str, Any] = {}
    for column, group in enumerate(store.layout.exclusive):
        members = np.flatnonzero([target.group == group for target in store.targets])
        labelled = np.flatnonzero(classes[:, column] >= 0)
        if not len(labelled):
            continue
        truth = classes[labelled, column]
        right = scores[np.ix_(labelled, members)].argmax(axis=1) == truth
        strata = {
            "length": ranges(store.views.length[samples[labelled]], LENGTHS),
            "family_size": ranges(positives[members][truth], FAMILY_SIZES),
        }
        if identity is not None:
            strata = {"identity": identity_strata(identity[labelled])} | strata
        told = {name: Strata(each.names, each.of[labelled]) for name, each in (annotations or {}).items()}
        strata = told | strata
        out[group] = accuracy_by(right, truth, strata)
    return out


def read_strata(path: str | Path, columns: Sequence[str], names: Sequence[str]) -> dict[str, Strata]:
    """Strata of samples by what stands in columns of a table, by the column's name; those without an entry are in none.

    Args:
        path: CSV or TSV with a row a sequence, and their names in the column id, name or accession, the first of these.
        columns: Which.
        names: `(samples,)`, the names of their sequences.

    Raises:
        SourceError: The table is damaged, or a column does not exist.
        EvaluationError: A sample has no row.
    """
    id = Columns.find(Path(path), columns, None, None, None).id
    if id is None:
        raise EvaluationError("there is no column id, name or accession", remedy="Name one so", file=path)
    rows = {name: cells for _, (name, *cells) in read_rows(path, [id, *columns])}
    lacking = [name for name in names if name not in rows]
    if lacking:
        raise EvaluationError(
            f"{len(lacking):,} of {len(names):,} samples have no row, such as '{lacking[0]}'",
            remedy="Give the table that the store was imported from",
            file=path,
        )
    strata = {}
    for number, column in enumerate(columns):
        cells = [rows[name][number] for name in names]
        values = sorted(set(cells) - {""})
        place = {value: index for index, value in enumerate(values)}
        strata[column] = Strata(values, np.array([place.get(cell, -1) for cell in cells]))
    return strata


def accuracy_by(
    right: NDArray[np.bool_], truth: NDArray[np.integer[Any]], strata: Mapping[str, Strata]
) -> dict[str, Any]:
    """What `stratify` gives for one group.

    Args:
        right: `(samples,)`, whether the class said is the true one.
        truth: `(samples,)`, the true class.
        strata: By name.
    """
    out = _figures(right, truth)
    rows = {
        name: [
            {"stratum": stratum, **_figures(right[inside], truth[inside])}
            for number, stratum in enumerate(names)
            if (inside := of == number).any()
        ]
        for name, (names, of) in strata.items()
    }
    return out | {"strata": {name: row for name, row in rows.items() if name != "length" or len(row) > 1}}


def _figures(right: NDArray[np.bool_], truth: NDArray[np.integer[Any]]) -> dict[str, Any]:
    count = np.bincount(truth)
    occurring = count > 0
    accuracy = float(right.mean())
    return {
        "samples": len(right),
        "families": int(occurring.sum()),
        "accuracy": accuracy,
        "error_rate": 1 - accuracy,
        "family_accuracy": float((np.bincount(truth, right)[occurring] / count[occurring]).mean()),
    }


def ranges(values: NDArray[np.integer[Any]], bounds: Sequence[int]) -> Strata:
    """Strata of whole numbers: from each bound up to below the next, and from the last on."""
    names = [f"{low:,}" if high == low + 1 else f"{low:,}-{high - 1:,}" for low, high in pairwise(bounds)]
    of = np.searchsorted(np.asarray(bounds), values, side="right") - 1
    return Strata([*names, f"{bounds[-1]:,} and more"], of)


def identity_strata(identity: NDArray[np.floating[Any]]) -> Strata:
    """None (NaN), up to 50 %, and above 50 % identity."""
    of = np.where(np.isnan(identity), 0, np.where(identity <= 0.5, 1, 2))
    return Strata(["none", "up to 50 %", "above 50 %"], of)
