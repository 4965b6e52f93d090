"""Pictures of a study: how it found its best, and which options mattered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna import Study
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from seqclass.atomic import atomic_file

HISTORY, IMPORTANCE = "history.png", "importance.png"

# Of fewer trials no importance can be told.
_FEWEST = 4


def write_plots(study: Study, metric: str, out: Path) -> list[Path]:
    """Draws the history of a study, and the importance of its options where enough trials were completed.

    Args:
        study: With at least one completed trial.
        metric: Its name, as it is logged.
        out: Folder for `history.png` and `importance.png`.

    Returns:
        The pictures' paths.
    """
    name = "validation " + metric.removeprefix("valid/").replace("_", " ")
    figures = {HISTORY: draw_history(study, name)}
    found = importances(study)
    if found:
        figures[IMPORTANCE] = draw_importances(found, name)
    for file, figure in figures.items():
        with atomic_file(out / file, force=True) as partial:
            figure.savefig(partial, dpi=150)
    return [out / file for file in figures]


def importances(study: Study) -> dict[str, float]:
    """The share of the metric's variance that each option explains, largest first, by functional ANOVA.

    Hutter et al. 2014 (An efficient approach for assessing hyperparameter importance, ICML). Empty where fewer than
    four trials were completed, or all gave the same.
    """
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(completed) < _FEWEST or len({trial.value for trial in completed}) == 1:
        return {}
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


def draw_history(study: Study, name: str) -> Figure:
    """Draws the metric of each trial by its number, with the best so far as a line."""
    trials = study.get_trials(deepcopy=False)
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED and trial.intermediate_values]
    failed = [trial.number for trial in trials if trial.state is TrialState.FAIL]
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    values = np.array([trial.value for trial in completed], dtype=float)
    numbers = [trial.number for trial in completed]
    best = np.maximum.accumulate(values)
    axes.step([*numbers, len(trials) - 1], [*best, best[-1]], where="post", color="#d55e00", label="best so far")
    axes.plot(numbers, values, "o", color="#0072b2", markersize=5, label="completed")
    if pruned:
        reached = [max(trial.intermediate_values.values()) for trial in pruned]
        label = "pruned (best before)"
        axes.plot([trial.number for trial in pruned], reached, "o", color="#0072b2", mfc="none", ms=5, label=label)
    if failed:
        axes.plot(
            failed,
            np.zeros(len(failed)),
            "x",
            color="#000000",
            ms=5,
            label="failed or stopped",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(name)
    # Trials may lie anywhere in the picture.
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_importances(found: dict[str, float], name: str) -> Figure:
    """Draws the importance of each option as a bar."""
    options, shares = list(found)[::-1], list(found.values())[::-1]
    figure = Figure(figsize=(6.4, 1.2 + 0.34 * len(options)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(options, shares, color="#0072b2", height=0.6)
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3, fontsize=8)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel(f"share of the variance of {name}")
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
