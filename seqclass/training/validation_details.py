"""What a validation found, beyond its means: groups of targets, the worst targets, curves, confusion matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from seqclass.bundle import Bundle
from seqclass.data.labels import LabelLayout
from seqclass.evaluation.confusion import Answers, draw_answers, draw_confusion
from seqclass.evaluation.multilabel import MIN_POSITIVES, Metrics
from seqclass.evaluation.plots import Scored, draw_curves
from seqclass.metrics import MISSING
from seqclass.training.allowance import Allowance
from seqclass.training.loggers import board, log_scalars
from seqclass.training.validation import Validated

WORST = 10

THRESHOLD = 0.5

# Up to as many yes-or-no targets have a confusion matrix each.
_FEW_TARGETS = 6


class ValidationDetails(pl.Callback):
    """Logs after each validation of a `ClassificationTask`, in tags that begin with what they are of:

    - `valid_groups/average_precision/GROUP` and `valid_groups/auroc/GROUP` where yes-or-no targets have several groups;
      `valid_groups/accuracy/GROUP` where several questions have classes.
    - `worst_targets/average_precision/TARGET`, and for classes `worst_targets/recall/GROUP/CLASS`: the ten lowest. One
      that was ever among them goes on being logged. Only targets that means go by can be, and classes of about as many
      samples.
    - `valid_by_epoch/METRIC`, `valid_groups_by_epoch/...` and `worst_targets_by_epoch/...`: the means and all of these
      again, with the epoch (from 1) where the step would stand.
    - Pictures: `valid_curves`, `valid_confusion/GROUP`, and `valid_confusion` of the yes-or-no targets.

    Args:
        bundle: Targets, and their counts in train.
        layout: Which targets are a yes or no.
        allowance: Of time; pictures that would exceed it wait for the next validation.
    """

    def __init__(self, bundle: Bundle, layout: LabelLayout, allowance: Allowance) -> None:
        self._targets = list(bundle.targets)
        self._train_positives = np.asarray(bundle.train_positives, dtype=np.int64)
        self._layout = layout
        self._allowance = allowance
        self._followed: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        return {"followed": sorted(self._followed)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._followed = set(state_dict["followed"])

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        found: Validated | None = vars(module).get("validated")
        if found is None or not trainer.is_global_zero:
            return
        step = max(0, trainer.global_step - 1)
        means = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("valid/")}
        details = {**self._by_group(found), **self._worst(found)}
        log_scalars(trainer, details, step)
        by_epoch = {name.replace("/", "_by_epoch/", 1): value for name, value in (means | details).items()}
        log_scalars(trainer, by_epoch, trainer.current_epoch + 1)
        writer = board(trainer)
        if writer is not None and self._allowance.allows("validation pictures"):
            with self._allowance.spend("validation pictures"):
                self._draw(writer, found, step)

    def _by_group(self, found: Validated) -> dict[str, float]:
        values = {}
        groups = np.array([self._targets[target].group for target in found.ranked])
        counted = found.counted
        names = list(dict.fromkeys(groups[: found.num_binary].tolist()))
        for name in names if len(names) > 1 else []:
            chosen = counted & (groups == name)
            if chosen.any():
                values[f"valid_groups/average_precision/{name or 'none'}"] = found.ranking.average_precision[
                    chosen
                ].mean()
                values[f"valid_groups/auroc/{name or 'none'}"] = found.ranking.auroc[chosen].mean()
        for number, name in enumerate(self._layout.exclusive if len(self._layout.exclusive) > 1 else ()):
            values[f"valid_groups/accuracy/{name}"] = found.accuracy(number)
        return {name: float(value) for name, value in values.items()}

    def _worst(self, found: Validated) -> dict[str, float]:
        candidates = {
            f"worst_targets/average_precision/{self._targets[found.ranked[column]].name}": float(
                found.ranking.average_precision[column]
            )
            for column in np.flatnonzero(found.counted)
        }
        self._follow(candidates)
        for number, group in enumerate(self._layout.exclusive):
            recalls = self._recalls(found, number, group)
            self._follow(recalls)
            candidates |= recalls
        return {name: value for name, value in candidates.items() if name in self._followed}

    def _follow(self, candidates: dict[str, float]) -> None:
        self._followed |= set(sorted(candidates, key=candidates.__getitem__)[:WORST])

    def _recalls(self, found: Validated, number: int, group: str) -> dict[str, float]:
        members = self._layout.members(group)
        truth, guess = _known(found, number)
        count = np.bincount(truth, minlength=len(members))
        hits = np.bincount(truth[truth == guess], minlength=len(members))
        enough = np.flatnonzero(count >= max(1, min(MIN_POSITIVES, int(count.max(initial=0)))))
        return {
            f"worst_targets/recall/{group}/{self._targets[members[index]].name}": float(hits[index] / count[index])
            for index in enough
        }

    def _draw(self, writer: Any, found: Validated, step: int) -> None:
        targets = [self._targets[target] for target in found.ranked]
        if targets:
            metrics = Metrics(
                targets=targets,
                average_precision=found.ranking.average_precision,
                auroc=found.ranking.auroc,
                auroc_labelled=np.full(len(targets), np.nan),
                max_f1=found.ranking.max_f1,
                positives=found.positives,
                train_positives=self._train_positives[found.ranked],
                known=found.known,
                num_samples=len(found.labels),
                min_positives=MIN_POSITIVES,
            )
            curves = draw_curves(found.labels, Scored(found.scores, metrics), {})
            writer.add_figure("valid_curves", curves, global_step=step, close=False)
        for number, group in enumerate(self._layout.exclusive):
            names = [self._targets[member].name for member in self._layout.members(group)]
            figure = draw_confusion({group: Answers(*_known(found, number), names)})
            writer.add_figure(f"valid_confusion/{group}", figure, global_step=step, close=False)
        if found.num_binary:
            figure = draw_answers(*self._answers(found), THRESHOLD)
            writer.add_figure("valid_confusion", figure, global_step=step, close=False)

    def _answers(self, found: Validated) -> tuple[list[NDArray[np.int64]], list[str]]:
        """Confusion matrices of the yes-or-no targets: one each where they are few, else one of all together."""
        labels, said = found.labels[:, : found.num_binary], found.scores[:, : found.num_binary] >= THRESHOLD
        counts = np.stack(
            [[((labels == yes) & (said == guessed)).sum(axis=0) for guessed in (False, True)] for yes in (0, 1)]
        )
        if found.num_binary <= _FEW_TARGETS:
            names = [self._targets[target].name for target in found.ranked[: found.num_binary]]
            return list(np.moveaxis(counts, -1, 0)), names
        return [counts.sum(axis=-1)], [f"{found.num_binary:,} targets together"]


def _known(found: Validated, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and guessed classes of the samples whose class in an exclusive group is known."""
    known = found.truth[:, number] != MISSING
    return found.truth[known, number], found.guess[known, number]
