"""The table of the beta-lactamase pipeline: protein_id, predicted_label, confidence_score, prob_betalactamase.

A bundle can answer in one of two ways:

    classes     an exclusive group with a class "none". prob_betalactamase is 1 - P(none), the label the most probable
                class, or "abstained", and the confidence the probability of the most probable class.
    yes or no   a single target. prob_betalactamase is its probability P. From its threshold on (.5 without a
                calibration) the label is the target's name and the confidence P; below, "none" and 1 - P.
"""

from __future__ import annotations

from collections.abc import Callable

from seqclass.bundle import Bundle
from seqclass.errors import BundleError
from seqclass.predict.judge import ABSTAINED
from seqclass.predict.records import Prediction

HEADER = ("protein_id", "predicted_label", "confidence_score", "prob_betalactamase")
NONE = "none"


def row_of(bundle: Bundle) -> Callable[[Prediction], list[str]]:
    """What makes a row of a prediction of this bundle.

    Raises:
        BundleError: It answers in neither way.
    """
    names = [target.name for target in bundle.targets]
    groups = [columns for columns in bundle.groups.values() if NONE in (names[column].casefold() for column in columns)]
    if len(groups) == 1:
        (columns,) = groups
        return lambda one: _of_classes(one, columns)
    if len(names) == 1:
        return lambda one: _of_one(one, 0.5 if bundle.calibration is None else bundle.calibration.threshold[0])
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    raise BundleError(
        f"the beta-lactamase table is made of exclusive classes one of which is '{NONE}', or of a single yes-or-no "
        f"target; this bundle has {len(names):,} targets ({shown})",
        remedy="Choose another --format, or a bundle as experiments/beta_lactamase_protcnn.py trains it",
        file=bundle.path,
    )


def _of_classes(one: Prediction, columns: list[int]) -> list[str]:
    shares = {one.targets[column]: float(one.probabilities[column]) for column in columns}
    best = max(shares, key=lambda name: shares[name])
    nothing = next(share for name, share in shares.items() if name.casefold() == NONE)
    abstained = one.calls is not None and not set(one.calls) & shares.keys()
    return [one.id, ABSTAINED if abstained else best, f"{shares[best]:.6g}", f"{max(0.0, 1 - nothing):.6g}"]


def _of_one(one: Prediction, threshold: float) -> list[str]:
    probability = float(one.probabilities[0])
    if probability >= threshold:
        return [one.id, one.targets[0], f"{probability:.6g}", f"{probability:.6g}"]
    return [one.id, NONE, f"{1 - probability:.6g}", f"{probability:.6g}"]
