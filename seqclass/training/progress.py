"""Where a run stands in its loops, written so that Lightning goes on exactly there.

Lightning keeps what its counters show while a hook is running, and on going on guesses from them which hook that was:
a validation that was due may be left out, an epoch counted twice, or another one's batches read. So the counters are
set to what they are between two batches, before a validation, or between two epochs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Moment(StrEnum):
    """When a checkpoint is taken."""

    BATCH = "before a batch"
    VALIDATION = "before a validation"
    EPOCH = "after an epoch"


def settle_progress(loops: dict[str, Any], moment: Moment, step: int, epoch_ends: bool, validated: bool) -> None:
    """Sets the counters of Lightning's `fit_loop` state to what they are at a moment.

    Args:
        loops: The state, changed in place.
        moment: When. Before a batch, that batch may have been fetched; before a validation, this may have begun.
        step: Optimiser steps taken.
        epoch_ends: Whether no more batches of this epoch are to come.
        validated: Whether there was a validation since the last batch.
    """
    batches = loops["epoch_loop.batch_progress"]
    (loader,) = loops["state_dict"]["combined_loader"]
    fetched = batches["current"]["ready"] - batches["current"]["completed"]
    for counts in (batches["total"], batches["current"]):
        counts["ready"] = counts["started"] = counts["processed"] = counts["completed"]
    batches["is_last_batch"] = epoch_ends
    loader["batches"] -= fetched
    if epoch_ends:
        loader |= {"epoch": loader["epoch"] + 1, "batches": 0}
    epochs = loops["epoch_progress"]
    for counts in (epochs["total"], epochs["current"]):
        if moment is Moment.EPOCH:
            counts["completed"] = counts["processed"]
        else:
            counts["processed"] = counts["completed"]
    if moment is Moment.EPOCH:
        batches["is_last_batch"] = False
        batches["current"] = dict.fromkeys(batches["current"], 0)
    if moment is Moment.VALIDATION:
        begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        loops["epoch_loop.val_loop.batch_progress"] = {"total": begun, "current": dict(begun), "is_last_batch": False}
    # Lightning adds one when it comes past a validation, be it to make it or because it was made.
    past_validation = moment is Moment.VALIDATION or (moment is Moment.BATCH and validated)
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = step - past_validation
