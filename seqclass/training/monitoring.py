"""Everything that is watched while a model trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.callbacks import Callback

from seqclass.data.store import Store
from seqclass.models.summary import summarise
from seqclass.training.allowance import Allowance
from seqclass.training.gradient_flow import GradientFlow
from seqclass.training.learning_rates import LearningRates
from seqclass.training.reporting import EpochLines
from seqclass.training.run_card import RunCard
from seqclass.training.task import ClassificationTask
from seqclass.training.throughput import Throughput
from seqclass.training.validation_details import ValidationDetails

FIGURE_STEPS = 500


def monitors(
    task: ClassificationTask,
    store: Store,
    options: Mapping[str, Any],
    figure_steps: int = FIGURE_STEPS,
    allowance: Allowance | None = None,
) -> list[Callback]:
    """The callbacks that log how a run goes.

    Args:
        task: What is trained.
        store: What it is trained on.
        options: Of the run by dotted name, to stand beside its metrics.
        figure_steps: Optimiser steps between two drawings of weights and gradients; 0 for none.
        allowance: Of time for pictures. Default: 2 % of the time of training.
    """
    allowance = allowance or Allowance()
    throughput = Throughput()
    length = task.model.length or int(store.views.length[store.samples("train")].max())
    return [
        throughput,
        LearningRates(),
        EpochLines(throughput),
        RunCard(options, task.monitor, summarise(task.model, length)),
        GradientFlow(figure_steps, allowance),
        ValidationDetails(task.bundle, task.layout, allowance),
    ]
