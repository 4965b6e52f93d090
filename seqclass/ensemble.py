"""Finished models joined into one: an ensemble of bundles, which is a bundle itself."""

from __future__ import annotations

from collections.abc import Sequence

from seqclass.bundle import Bundle
from seqclass.errors import BundleError
from seqclass.models import Ensemble


def join_bundles(bundles: Sequence[Bundle], vote: str = "mean") -> Bundle:
    """An ensemble of trained models of any kinds, which predicts and is evaluated like each of them.

    The members' calibrations are left out: each was fitted to what that member alone says, and the mean of calibrated
    probabilities is not calibrated. `seqclass.evaluation.calibration.calibrate` fits one to the joint probabilities.

    Args:
        bundles: They have the same targets in the same order, the same exclusive groups and the same kind of input.
        vote: Whether the mean of the probabilities counts, or the "majority".

    Raises:
        BundleError: There is none, or two of them answer different questions.
        AssemblyError: The models take different input.
        UnknownNameError: There is no such vote.

    Warns:
        UserWarning: An even number of them is to vote.
    """
    if not bundles:
        raise BundleError("there are no bundles to join", remedy="Give at least two")
    first = bundles[0]
    for other in bundles[1:]:
        for what, one, two in (
            ("targets", [target.name for target in first.targets], [target.name for target in other.targets]),
            ("exclusive groups", sorted(first.exclusive), sorted(other.exclusive)),
            ("window", first.window, other.window),
            ("bin", first.bin, other.bin),
        ):
            if one != two:
                raise BundleError(
                    f"its {what} ({_shown(two)}) differ from those of {first.path or 'the first'} ({_shown(one)})",
                    remedy="Join models that were trained on the same data",
                    file=other.path,
                )
    model = Ensemble([bundle.model for bundle in bundles], vote, list(first.groups.values()))
    provenance = {"ensemble": vote, "members": [bundle.provenance for bundle in bundles]}
    return Bundle(
        model.eval(), first.targets, first.train_positives, first.window, first.bin, first.exclusive, provenance
    )


def _shown(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    return ", ".join(map(str, value[:4])) + (", ..." if len(value) > 4 else "")
