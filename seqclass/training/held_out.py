"""What a fold's model and baselines say of the samples that it did not learn from, on disk.

attributes        format "seqclass-held-out", terms (text) and settings of the baselines (JSON)
/model            (samples, targets) float32
/baselines/NAME   the same, of each baseline
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from seqclass.atomic import atomic_file
from seqclass.evaluation.multilabel import Baseline, Scores

FILE = "held_out.h5"

_FORMAT = "seqclass-held-out"


@dataclass(frozen=True)
class HeldOut:
    """Scores of a fold's samples.

    Args:
        model: `(samples, targets)`, of the fold's model.
        baselines: By name, fitted on the same training samples.
    """

    model: Scores
    baselines: Mapping[str, Baseline]


def save_held_out(path: Path, held_out: HeldOut, terms: str) -> None:
    """Writes the file whole or not at all.

    Args:
        path: The file; one that stands there is replaced.
        held_out: What it is to hold.
        terms: What the scores follow from.
    """
    settings = {name: baseline.settings for name, baseline in held_out.baselines.items()}
    with atomic_file(path, force=True) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(format=_FORMAT, terms=terms, settings=json.dumps(settings))
        file.create_dataset("model", data=held_out.model.astype(np.float32))
        for name, baseline in held_out.baselines.items():
            scores = baseline.scores.astype(np.float32)
            # Some baselines say the same of every sample or of every target.
            file.create_dataset(f"baselines/{name}", data=scores, compression="lzf", shuffle=True)


def load_held_out(path: Path, terms: str) -> HeldOut | None:
    """What the file holds; None where there is none, it is damaged, or it follows from something else."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != _FORMAT or file.attrs["terms"] != terms:
                return None
            settings: dict[str, Any] = json.loads(file.attrs["settings"])
            baselines = {name: Baseline(file[f"baselines/{name}"][:], each) for name, each in settings.items()}
            return HeldOut(file["model"][:], baselines)
    except (OSError, KeyError, ValueError, RuntimeError):
        return None
