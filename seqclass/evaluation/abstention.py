"""How a classifier treats what it cannot know: whether it abstains from classes that train never had.

A classifier of families calls every sequence one of those it knows, unless even the most probable class lies below the
abstention threshold of its calibration. The threshold is judged by the samples of known classes that it keeps, and by
those of unknown classes that it rejects. How well any threshold could tell the two apart is the AUROC of the highest
probability (Hendrycks and Gimpel 2017, arXiv:1610.02136).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.evaluation.multilabel import Labels, Scores
from seqclass.metrics import MISSING, auroc


def measure_abstention(
    labels: Labels,
    scores: Scores,
    train_positives: NDArray[np.integer[Any]],
    below: float,
    *,
    unlabelled_is_unknown: bool = False,
) -> dict[str, Any]:
    """Figures of one exclusive group, as JSON can hold them.

    "known" is how many samples are of a class that train had, "kept" the share of them that is called, "accuracy" of
    all of them and "accuracy_of_kept"; "unknown" is how many are of a class that train never had, "abstained" the share
    of them that is not called; "auroc" is that of the highest probability for known against unknown. What there are no
    samples for is None.

    Args:
        labels: `(samples, classes)` zeros and ones, -1 where the class is missing.
        scores: `(samples, classes)` probabilities.
        train_positives: `(classes,)`, how many training samples are of each.
        below: The highest probability from which on a sample is called.
        unlabelled_is_unknown: Samples without a label are of classes that train never had.
    """
    labelled = (labels != MISSING).all(axis=1)
    truth, highest = labels.argmax(axis=1), scores.max(axis=1)
    known = labelled & (train_positives[truth] > 0)
    unknown = ~known & (labelled | unlabelled_is_unknown)
    kept, right = highest >= np.asarray(below).astype(scores.dtype), scores.argmax(axis=1) == truth
    judged, is_known = known | unknown, known.astype(np.int8)
    return {
        "threshold": below,
        "known": int(known.sum()),
        "kept": _share(kept, known),
        "accuracy": _share(right, known),
        "accuracy_of_kept": _share(right, known & kept),
        "unknown": int(unknown.sum()),
        "abstained": _share(~kept, unknown),
        "auroc": float(auroc(is_known[judged], highest[judged])) if known.any() and unknown.any() else None,
    }


def _share(what: NDArray[np.bool_], among: NDArray[np.bool_]) -> float | None:
    return float(what[among].mean()) if among.any() else None
