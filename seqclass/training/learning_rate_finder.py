"""The learning-rate range test: how the loss answers to a rate that grows from step to step.

Smith 2017 (arXiv:1506.01186).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
from jsonargparse import Namespace
from numpy.typing import NDArray

from seqclass.atomic import atomic_folder, check_free
from seqclass.errors import TrainingError
from seqclass.models import Classifier
from seqclass.terminal import say
from seqclass.training.fit import prepare
from seqclass.training.memory import within_memory
from seqclass.training.trainer import build_trainer

FEWEST_STEPS = 20

_LOWEST, _HIGHEST = 1e-6, 10.0

_TABLE = "lr_find.tsv"

# Weight of the newest loss in the running mean that is looked at.
_NEWEST = 0.1

# A loss so many times the least one has left the road.
_LOST = 4.0


class RangeTest(NamedTuple):
    """What a range test saw.

    Attributes:
        rates: Learning rates, ascending, `(steps,)`.
        losses: The running mean of the loss at each, `(steps,)`.
        suggestion: A tenth of the rate at which the loss was least.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    suggestion: float


def find_learning_rate(build: Callable[..., Classifier], name: str, options: Namespace) -> dict[str, Any]:
    """Makes a range test of a run that is not trained yet, and writes a folder with `lr_find.tsv` and `lr_find.png`.

    Args:
        build: Builds the model.
        name: Of the run.
        options: As of `fit`, and `steps`.

    Returns:
        "learning_rate", the suggestion.

    Raises:
        OutputExistsError: Something stands at `out` and is not to be replaced.
        TrainingError: There are too few steps, the loss never fell, or memory ran out.
        SeqclassError: As for `fit_run`.
    """
    check_free(options.out, options.force, holding=_TABLE, inputs=(options.data.store, options.init_from))
    with within_memory():
        data, task = prepare(build, name, options)
        test = run_range_test(task, data, vars(options.trainer), options.steps)
    with atomic_folder(options.out, force=options.force, holding=_TABLE) as folder:
        rows = "".join(f"{rate:.6g}\t{loss:.6g}\n" for rate, loss in zip(test.rates, test.losses, strict=True))
        (folder / _TABLE).write_text("learning_rate\tloss\n" + rows, encoding="utf-8")
        plot_range_test(test, folder / "lr_find.png")
    say(f"suggested: --recipe.learning_rate {test.suggestion:.2g}; see {Path(options.out) / 'lr_find.png'}")
    return {"learning_rate": test.suggestion}


class _Range(pl.Callback):
    """Sets the learning rate before each step, and keeps the loss of each."""

    def __init__(self, rates: NDArray[np.float64]) -> None:
        self.rates = rates
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        for group in trainer.optimizers[0].param_groups:
            # Rates may differ by depth; their ratios stay.
            group["lr"] = self.rates[len(self.losses)] * group["initial_lr"] / self._largest(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].item())
        loss = self.losses[-1]
        if not np.isfinite(loss) or loss > 10 * _LOST * self.losses[0] or len(self.losses) == len(self.rates):
            trainer.should_stop = True

    @staticmethod
    def _largest(trainer: pl.Trainer) -> float:
        return float(max(group["initial_lr"] for group in trainer.optimizers[0].param_groups)) or 1.0


def run_range_test(
    task: pl.LightningModule, data: pl.LightningDataModule, trainer: dict[str, Any], steps: int
) -> RangeTest:
    """Trains for some steps under a learning rate that grows by a constant factor, and looks at the loss.

    Args:
        task: Its weights are not worth keeping afterwards.
        data: Training batches; epochs follow each other if one is too short.
        trainer: Options of Lightning's trainer; gradients are not accumulated.
        steps: How many; at least `FEWEST_STEPS`.

    Raises:
        TrainingError: There are too few steps, the trainer cannot be set up so, or the loss never fell.
    """
    if steps < FEWEST_STEPS:
        raise TrainingError(f"a range test of {steps} steps", remedy=f"Let --steps be at least {FEWEST_STEPS}")
    watch = _Range(np.geomspace(_LOWEST, _HIGHEST, steps))
    ours = {"max_epochs": -1, "max_steps": steps, "accumulate_grad_batches": 1, "limit_val_batches": 0}
    with tempfile.TemporaryDirectory() as folder:
        runner = build_trainer(trainer | ours | {"enable_checkpointing": False}, folder, [watch])
        runner.fit(task, data)
    losses = np.array(watch.losses)
    return read_range_test(watch.rates[: len(losses)], running_mean(losses))


def running_mean(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """An exponential mean of the losses so far in which the first weighs no more than its share."""
    total = weight = 0.0
    means = np.empty_like(losses)
    for step, loss in enumerate(losses):
        total, weight = total * (1 - _NEWEST) + loss, weight * (1 - _NEWEST) + 1
        means[step] = total / weight
    return means


def read_range_test(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> RangeTest:
    """Cuts a range test off where the loss is four times its least, and suggests a rate.

    Args:
        rates: Ascending, `(steps,)`.
        losses: `(steps,)`.

    Raises:
        TrainingError: The loss never fell.
    """
    end = len(losses)
    least = losses[0]
    for step, loss in enumerate(losses):
        if not np.isfinite(loss) or loss > _LOST * least:
            end = step
            break
        least = min(least, loss)
    rates, losses = rates[:end], losses[:end]
    best = int(np.argmin(losses)) if end else 0
    if best == 0:
        raise TrainingError(
            "the loss never fell, whatever the learning rate",
            remedy="Look at the labels and the model, or give more --steps",
        )
    return RangeTest(rates, losses, float(rates[best]) / 10)


def plot_range_test(test: RangeTest, file: Path) -> None:
    """Draws the loss against the learning rate, with the suggestion marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(test.rates, test.losses, color="#0072b2")
    axes.axvline(test.suggestion, color="#d55e00", linestyle="--", label=f"suggested: {test.suggestion:.2g}")
    axes.set_xscale("log")
    # What lies far above the start says only that the rate was too large.
    axes.set_ylim(top=min(float(test.losses.max()), 1.5 * float(test.losses[0])) * 1.02)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss (running mean)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
