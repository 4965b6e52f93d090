"""Going on with a run: what must be the same as when it began, and what may differ."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from seqclass import __version__
from seqclass.bundle import Bundle
from seqclass.errors import TrainingError
from seqclass.terminal import say
from seqclass.training.progress import Moment

KEY, FORMAT = "seqclass", 1

# Where a run is written, for how long it goes on, on which hardware, what is shown: its steps are the same steps.
FREE = (
    *("config", "out", "force", "resume", "evaluate", "baselines", "min_test_positives", "checkpoint_minutes"),
    *("logger", "figure_steps", "profile", "ensemble"),
    *("init_from", "data.store", "data.num_workers", "data.start_method"),
    *("trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "trainer.precision", "trainer.accelerator"),
    *("trainer.devices", "trainer.num_nodes", "trainer.log_every_n_steps", "trainer.profiler", "trainer.benchmark"),
    *("trainer.deterministic", "trainer.detect_anomaly"),
)


def terms(name: str, bundle: Bundle, options: Mapping[str, Any]) -> dict[str, str]:
    """What decides the steps of a run, as text by dotted name.

    Args:
        name: Of the model.
        bundle: The untrained model; its provenance knows the data.
        options: All that were given or left at their defaults, by dotted name.
    """
    blocks = json.dumps(bundle.model.config(), sort_keys=True)
    start = bundle.provenance.get("init_from")
    return {
        "model": name,
        "blocks of the model": hashlib.sha256(blocks.encode()).hexdigest()[:12],
        "data (SHA-256)": bundle.provenance["data"]["sha256"][:12],
        **({} if start is None else {"initial weights (SHA-256)": start["weights_sha256"][:12]}),
        **{key: json.dumps(value, default=str) for key, value in options.items() if key not in FREE},
    }


def stamp(agreed: dict[str, str], world_size: int, moment: Moment | None) -> dict[str, Any]:
    """What a checkpoint says about itself: the terms, with the number of processes; versions; and when it was taken.

    Args:
        agreed: As from `terms`.
        world_size: Number of processes.
        moment: None where no run goes on from it.
    """
    versions = {"seqclass": __version__, "torch": str(torch.__version__), "pytorch-lightning": pl.__version__}
    agreed = {**agreed, "processes": str(world_size)}
    return {"format": FORMAT, "versions": versions, "terms": agreed, "moment": moment and str(moment)}


def check_resumable(checkpoint: Path, agreed: dict[str, str], world_size: int) -> int:
    """Makes sure that a run can go on from a checkpoint; says which other versions of libraries it comes from.

    Returns:
        The number of optimiser steps that it holds.

    Raises:
        TrainingError: The file is damaged, of another format, or of a run of which something decisive differs; all
            that differs is listed.
    """
    anew = "begin anew with --force"
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(
            "this checkpoint is damaged or may not be read",
            remedy=f"Restore it from a copy, or {anew}",
            file=checkpoint,
        ) from error
    ours = state.get(KEY) if isinstance(state, dict) else None
    if not isinstance(ours, dict) or ours.get("moment") is None:
        raise TrainingError(
            "this is no checkpoint that a run of this library goes on from",
            remedy=f"Give the --out of such a run, or {anew}",
            file=checkpoint,
        )
    if ours["format"] != FORMAT:
        raise TrainingError(
            f"this checkpoint was written by seqclass {ours['versions']['seqclass']} in format {ours['format']}, and "
            f"seqclass {__version__} reads format {FORMAT}",
            remedy=f"Go on with that version, or {anew}",
            file=checkpoint,
        )
    new = stamp(agreed, world_size, None)
    then, now = ours["terms"], new["terms"]
    different = [
        f"{key} {then.get(key, 'unknown')} then, {now.get(key, 'unknown')} now"
        for key in dict.fromkeys((*then, *now))
        if then.get(key) != now.get(key)
    ]
    if different:
        raise TrainingError(
            f"this run began otherwise: {'; '.join(different)}",
            remedy=f"Repeat its command with --resume, give another --out, or {anew}",
            file=checkpoint,
        )
    changed = [
        f"{key} {was} then, {new['versions'][key]} now"
        for key, was in ours["versions"].items()
        if was != new["versions"][key]
    ]
    if changed:
        say(f"other versions: {'; '.join(changed)}; last digits may differ from a run without a break")
    return int(state["global_step"])
