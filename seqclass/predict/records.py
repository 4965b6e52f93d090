"""Predictions of sequences, in their order, with all that is to be known of each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from seqclass.bundle import Bundle
from seqclass.errors import BundleError
from seqclass.predict.judge import ABSTAINED, called, evaluating
from seqclass.predict.portions import Portion, RecentRows, Rows, portions
from seqclass.predict.scoring import score_tokens
from seqclass.predict.stretches import LengthPolicy, Sequences, letter_reader, read_stretches
from seqclass.progress import Advance, progress

TOP = 5

Tell = Callable[[str], None]


class Label(NamedTuple):
    """A target and its probability."""

    name: str
    probability: float


class Prediction(NamedTuple):
    """What a model says of one sequence, or of one window of it.

    Attributes:
        id: The sequence's name.
        start: Where the scored stretch begins, in residues of the sequence, 0-based; negative where N was put before.
        end: Where it ends (exclusive); beyond the sequence's length where N was put behind.
        probabilities: `(targets,)` float32; calibrated, if the bundle is and raw ones were not asked for.
        targets: Names of the targets, in that order.
        spread: `(targets,)` float32: of an ensemble, the standard deviation of its members' probabilities; else None.
        calls: Of a calibrated bundle, names of what is called: the class of each exclusive group, or `ABSTAINED`, and
            yes-or-no targets from their threshold on; else None.
        truncated: Whether residues at the ends of the sequence had no part in this.
        windowed: Whether this is about one of several windows of the sequence.
        model: Name and version of the model, as "yeast@3f2a9c01b7de".
    """

    id: str
    start: int
    end: int
    probabilities: NDArray[np.float32]
    targets: Sequence[str]
    spread: NDArray[np.float32] | None
    calls: list[str] | None
    truncated: bool
    windowed: bool
    model: str

    @property
    def scores(self) -> dict[str, float]:
        """The probability of each target, by its name."""
        return dict(zip(self.targets, self.probabilities.tolist(), strict=True))

    @property
    def abstained(self) -> bool:
        """Whether of any exclusive group no class is called; never without a calibration."""
        return self.calls is not None and ABSTAINED in self.calls

    def top(self, k: int = TOP) -> list[Label]:
        """The `k` most probable targets, or all where there are fewer, the most probable first."""
        shares = self.probabilities
        least = np.partition(shares, -k)[-k] if k < len(shares) else -np.inf
        among = np.flatnonzero(shares >= least)
        best = among[np.argsort(-shares[among], kind="stable")][:k]
        return [Label(self.targets[column], float(shares[column])) for column in best.tolist()]

    def as_dict(self, top_k: int | None = None) -> dict[str, Any]:
        """The same as JSON can hold it, numbers with six digits.

        Args:
            top_k: Tell of the most probable targets only. Default: of `TOP` of them, and the scores of all.
        """
        told: dict[str, Any] = {"id": self.id, "start": self.start, "end": self.end}
        told["top"] = [{"label": name, "probability": _short(value)} for name, value in self.top(top_k or TOP)]
        if top_k is None:
            told["scores"] = {name: _short(value) for name, value in self.scores.items()}
            if self.spread is not None:
                told["spread"] = {
                    name: _short(value) for name, value in zip(self.targets, self.spread.tolist(), strict=True)
                }
        if self.calls is not None:
            told["calls"] = self.calls
        told |= {"abstained": self.abstained, "truncated": self.truncated, "windowed": self.windowed}
        return told | {"model": self.model}


Write = Callable[[Sequence[Prediction]], None]
"""Takes predictions, portion by portion, in order."""


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def predict(
    bundle: Bundle,
    sequences: Sequences,
    *,
    length_policy: LengthPolicy = "error",
    calibrated: bool = True,
    tell: Tell = warnings.warn,
) -> Iterator[Prediction]:
    """Scores sequences one portion at a time, in their order; memory does not grow with their number.

    Equal sequences are scored once, so long as not too many others lie between them.

    Args:
        bundle: The model.
        sequences: A FASTA file (plain or gzip); names and sequences, in pairs or a mapping; or sequences alone.
        length_policy: What becomes of sequences that a model of a fixed length cannot take; see `cut`.
        calibrated: Whether the bundle's calibration is applied, if it has one.
        tell: Is given sentences at the end on letters that were read as others, such as U as X. Default: a warning.

    Raises:
        SequenceError: A sequence cannot be read, or its length does not fit; file and record are named.
        UnknownNameError: There is no such length policy.
    """
    bundle = bundle if calibrated else replace(bundle, calibration=None)
    reader = letter_reader(bundle)
    stretches = read_stretches(bundle, sequences, length_policy, reader)
    recent, about = RecentRows(width(bundle)), Assembly(bundle, length_policy)
    with evaluating(bundle.model) as device, progress("Predicting", unit="stretches") as advance:
        for portion in portions(stretches, width(bundle)):
            new = score_portion(portion, bundle, device, advance)
            yield from about.predictions(portion, recent.of(portion, new))
    for note in reader.notes():
        tell(note)


def width(bundle: Bundle) -> int:
    """How many numbers a stretch is scored with: probabilities and, of an ensemble, their spread."""
    return len(bundle.targets) * (2 if bundle.model.has_spread else 1)


def score_portion(portion: Portion, bundle: Bundle, device: torch.device, advance: Advance) -> Rows:
    """Probabilities of a portion's new stretches, and their spread beside them, `(tokens, width)`.

    Args:
        portion: What to score.
        bundle: The model, in a block of `evaluating`.
        device: Where it is.
        advance: Is told how many stretches more are done, those that are not new among them.

    Raises:
        BundleError: A probability is not a number.
    """
    share = len(portion.entries) / max(1, len(portion.tokens))

    def of_all(done: float = 1) -> None:
        advance(done * share)

    scores, spread = score_tokens(portion.tokens, bundle, device, of_all)
    if not portion.tokens:
        advance(len(portion.entries))
    if np.isnan(scores).any():
        raise BundleError(
            "the model answers with what is not a number (NaN)",
            remedy="Train it again, with a lower learning rate or in full precision",
            file=bundle.path,
        )
    return scores if spread is None else np.concatenate([scores, spread], axis=1)


class Assembly:
    """Makes predictions of numbers.

    Args:
        bundle: The model.
        policy: How sequences were cut.
    """

    def __init__(self, bundle: Bundle, policy: LengthPolicy) -> None:
        self._bundle, self._windows = bundle, policy == "tile"
        self._targets = [target.name for target in bundle.targets]
        self._model = f"{_name(bundle)}@{bundle.version}"

    def predictions(self, portion: Portion, rows: Rows) -> Iterator[Prediction]:
        """A prediction a stretch of a portion, of its numbers `(entries, width)`."""
        count = len(self._targets)
        calls = None if self._bundle.calibration is None else called(self._bundle, rows[:, :count])
        for number, (entry, row) in enumerate(zip(portion.entries, rows, strict=True)):
            partly = entry.end - entry.start < entry.whole
            yield Prediction(
                entry.name,
                entry.start,
                entry.end,
                row[:count],
                self._targets,
                row[count:] if len(row) > count else None,
                None if calls is None else calls[number],
                truncated=partly and not self._windows,
                windowed=partly and self._windows,
                model=self._model,
            )


def _name(bundle: Bundle) -> str:
    told = bundle.provenance.get("experiment")
    if isinstance(told, str) and told:
        return told
    return bundle.path.name if bundle.path is not None else "model"
