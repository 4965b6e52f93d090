"""ROC and precision-recall curves as a figure: of each target, or of their distribution where they are many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seqclass.evaluation.multilabel import Floats, Labels, Metrics, Scores
from seqclass.metrics import MISSING, rank
from seqclass.progress import track

# Okabe and Ito's colours, told apart by the colour-blind (https://jfly.uni-koeln.de/color/), less yellow, which
# vanishes on white paper. Up to as many targets get a line each.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_NAMED_STYLES = {"best": (0, (1, 0)), "middle": (0, (5, 1, 1, 1)), "worst": (0, (1, 1))}
_BASELINE_STYLES = tuple(
    {"dashes": dashes, "color": colour}
    for dashes in ((7, 2), (4, 2), (2, 2), (7, 2, 2, 2))
    for colour in ("0.35", "#8B4513")
)
_GRID = np.linspace(0, 1, 501)


class Scored(NamedTuple):
    """Scores `(samples, targets)` and the metrics measured from them."""

    scores: Scores
    metrics: Metrics


class _Panel(NamedTuple):
    """One of the two plots: its axes, the metric that is its area, and the curves on the grid, `(targets, grid)`."""

    axes: Axes
    metric: str
    curves: Floats


def plot_curves(path: str | Path, labels: Labels, model: Scored, baselines: Mapping[str, Scored]) -> None:
    """Writes the figure of `draw_curves` as a PNG."""
    draw_curves(labels, model, baselines).savefig(path, dpi=150, bbox_inches="tight", format="png")


def draw_curves(labels: Labels, model: Scored, baselines: Mapping[str, Scored]) -> Figure:
    """Draws precision-recall and ROC curves of a model.

    Up to seven targets get a line each. Of more, the median curve and the band between the quartiles are drawn, by
    group where there are up to seven groups, and the targets of best, middle and worst average precision by name.
    Baselines are thin dashed lines, the median over targets. Targets left out of the summary are left out here too,
    unless nothing else remains.

    Args:
        labels: `(samples, targets)` zeros and ones, -1 where one is missing.
        model: What the model scored.
        baselines: What each baseline scored, by name.
    """
    metrics = model.metrics
    measurable = (metrics.positives > 0) & (metrics.positives < metrics.num_samples)
    drawn = np.flatnonzero(metrics.scored if metrics.scored.any() else measurable)
    entries = len(baselines) + (len(drawn) if len(drawn) <= len(_COLOURS) else 3 + len(metrics.groups))
    figure = Figure(figsize=(11, 6 + 0.2 * entries), layout="constrained")
    plots = figure.subplots(1, 2)
    for axes, title, across, up in zip(
        plots,
        ("Precision and recall", "ROC"),
        ("Recall", "False positive rate"),
        ("Precision", "True positive rate"),
        strict=True,
    ):
        axes.set(title=title, xlabel=across, ylabel=up, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), box_aspect=1)
        axes.grid(color="0.92", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if not len(drawn):
            axes.text(0.5, 0.5, "no target has both positives and negatives", ha="center", va="center")
    if len(drawn):
        targets = "1 target" if len(drawn) == 1 else f"{len(drawn)} targets"
        for panel in _panels(plots, labels, model.scores, drawn, "curves"):
            if len(drawn) <= len(_COLOURS):
                for row in range(len(drawn)):
                    _draw_target(panel, metrics, drawn, row, "", color=_COLOURS[row], linewidth=1.6)
            else:
                _draw_distribution(panel, metrics, drawn)
        for number, (name, baseline) in enumerate(baselines.items()):
            style: dict[str, Any] = _BASELINE_STYLES[number % len(_BASELINE_STYLES)]
            for panel in _panels(plots, labels, baseline.scores, drawn, f"curves of {name}"):
                area = np.median(getattr(baseline.metrics, panel.metric)[drawn])
                label = f"{area:.3f}  {name.replace('_', ' ')}" + (", median" if len(drawn) > 1 else "")
                panel.axes.plot(_GRID, np.median(panel.curves, axis=0), label=label, linewidth=1.1, **style)
        for axes, title in zip(plots, ("Average precision", "AUROC"), strict=True):
            legend = axes.legend(
                title=f"{title} ({targets}, {metrics.num_samples:,} samples)",
                loc="upper left",
                bbox_to_anchor=(0, -0.11),
                frameon=False,
                fontsize=9,
                alignment="left",
                handlelength=3,
            )
            for entry in legend.get_texts():
                entry.set_parse_math(False)
    return figure


def _panels(
    plots: NDArray[Any], labels: Labels, scores: Scores, drawn: NDArray[np.intp], description: str
) -> tuple[_Panel, _Panel]:
    precision = np.empty((len(drawn), len(_GRID)))
    hit_rate = np.empty_like(precision)
    for row, target in enumerate(track(drawn, f"Drawing {description}", len(drawn), "targets")):
        known = labels[:, target] != MISSING
        curve = rank(labels[known, target], scores[known, target])
        recall, precisions = curve.precision_recall()
        precision[row] = precisions[np.searchsorted(recall, _GRID)]
        hit_rate[row] = np.interp(_GRID, *curve.roc())
    return _Panel(plots[0], "average_precision", precision), _Panel(plots[1], "auroc", hit_rate)


def _draw_target(panel: _Panel, metrics: Metrics, drawn: NDArray[np.intp], row: int, role: str, **style: Any) -> None:
    area, name = getattr(metrics, panel.metric)[drawn[row]], metrics.targets[drawn[row]].name
    label = f"{area:.3f}  {role}{name if len(name) <= 50 else name[:49] + '…'}"
    panel.axes.plot(_GRID, panel.curves[row], label=label, **style)


def _draw_distribution(panel: _Panel, metrics: Metrics, drawn: NDArray[np.intp]) -> None:
    group = np.array([metrics.targets[target].group for target in drawn])
    names = [name for name in metrics.groups if (group == name).any()]
    if not 1 < len(names) <= len(_COLOURS):
        names = [""]
        group[:] = ""
    for name, colour in zip(names, _COLOURS, strict=False):
        low, middle, high = np.percentile(panel.curves[group == name], (25, 50, 75), axis=0)
        area = np.median(getattr(metrics, panel.metric)[drawn[group == name]])
        label = f"{area:.3f}  median and quartiles of {(group == name).sum()} {name or 'targets'}"
        panel.axes.plot(_GRID, middle, color=colour, linewidth=2, label=label)
        panel.axes.fill_between(_GRID, low, high, color=colour, alpha=0.18, linewidth=0)
    order = np.argsort(-metrics.average_precision[drawn], kind="stable")
    ends = order[[0, len(order) // 2, -1]]
    for row, (role, dashes) in zip(ends, _NAMED_STYLES.items(), strict=True):
        _draw_target(panel, metrics, drawn, row, f"{role}: ", color="black", linestyle=dashes, linewidth=0.9)
