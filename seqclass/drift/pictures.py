"""Pictures of drift: new sequences in orange beside what the model was trained on in blue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from seqclass.picture import one_plot, short
from seqclass.targets import Target
from seqclass.training_summary import Floats, TrainingSummary

# Okabe and Ito's, told apart by the colour-blind (https://jfly.uni-koeln.de/color/).
BEFORE, NEW = "#0072B2", "#D55E00"
_CLASSES = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_OTHER = "#BBBBBB"

_BINS = 40

# More would hide what is below them.
_MOST_RINGS = 500


def plot_composition(path: Path, summary: TrainingSummary, letters: Floats, alphabet: str) -> None:
    """The mean share of each letter."""
    with one_plot(path, height=3.2) as axes:
        for offset, shares, colour, label in (
            (-0.2, summary.letters, BEFORE, "training"),
            (0.2, letters, NEW, "new"),
        ):
            axes.bar(np.arange(len(alphabet)) + offset, shares.mean(axis=0), 0.4, color=colour, label=label)
        axes.set_xticks(np.arange(len(alphabet)), list(alphabet))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
        axes.set_ylabel("share of residues")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def plot_lengths(path: Path, summary: TrainingSummary, lengths: NDArray[np.int32], unit: str) -> None:
    """The distribution of lengths that differ, on a logarithmic axis where they span more than a decade."""
    low, high = int(min(summary.lengths.min(), lengths.min())), int(max(summary.lengths.max(), lengths.max()))
    wide = high > 10 * low
    edges = np.geomspace(low, high + 1, _BINS) if wide else np.linspace(low - 0.5, high + 0.5, _BINS)
    with one_plot(path, height=3.2) as axes:
        _histograms(axes, edges, {"training": summary.lengths, "new": lengths})
        if wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel(f"length ({unit})")


def plot_map(path: Path, summary: TrainingSummary, targets: Sequence[Target], points: Floats) -> None:
    """Training samples in the colours of what they are, and new sequences as rings, on the first two components."""
    with one_plot(path, height=5.2) as axes:
        columns, counts = np.unique(summary.labels[summary.labels >= 0], return_counts=True)
        frequent = columns[np.argsort(-counts, kind="stable")][: len(_CLASSES)]
        rest = ~np.isin(summary.labels, frequent)
        known, new = _plane(summary.points), _plane(points[:_MOST_RINGS])
        if rest.any():
            axes.scatter(known[rest, 0], known[rest, 1], s=8, color=_OTHER, linewidths=0, label="training, others")
        for column, colour in zip(frequent.tolist(), _CLASSES, strict=False):
            mine = summary.labels == column
            name = f"training, {short(targets[column].name)}"
            axes.scatter(known[mine, 0], known[mine, 1], s=8, color=colour, linewidths=0, label=name)
        axes.scatter(new[:, 0], new[:, 1], s=16, facecolors="none", edgecolors=NEW, linewidths=0.6, label="new")
        shares = [*summary.explained.tolist(), 0.0, 0.0]
        axes.set_xlabel(f"component 1 ({100 * shares[0]:.0f} % of the variance)")
        axes.set_ylabel(f"component 2 ({100 * shares[1]:.0f} %)")
        axes.set_xticks([])
        axes.set_yticks([])
        legend = axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
        for entry in legend.get_texts():
            entry.set_parse_math(False)


def plot_norms(path: Path, summary: TrainingSummary, norms: Floats, residuals: Floats) -> None:
    """How long embeddings are, and how far they lie from what the components span."""
    pairs = {
        "norm of the embedding": (summary.held_out_norms, norms),
        "distance from the components": (summary.held_out_residuals, residuals),
    }
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    for axes, (title, (before, new)) in zip(figure.subplots(1, 2), pairs.items(), strict=True):
        low, high = (float(end) for end in (min(before.min(), new.min()), max(before.max(), new.max())))
        _histograms(axes, np.linspace(low, high if high > low else low + 1, _BINS), {"validation": before, "new": new})
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(title)
    figure.savefig(path, dpi=150)


def plot_predictions(path: Path, changes: Sequence[Mapping[str, Any]]) -> None:
    """The targets of which the share of sequences that they are called of changed most."""
    with one_plot(path, height=1.1 + 0.45 * len(changes)) as axes:
        for offset, key, colour, label in ((-0.2, "before", BEFORE, "validation"), (0.2, "new", NEW, "new")):
            axes.barh(np.arange(len(changes)) + offset, [each[key] for each in changes], 0.4, color=colour, label=label)
        axes.set_yticks(np.arange(len(changes)), [short(str(each["name"])) for each in changes])
        for name in axes.get_yticklabels():
            name.set_parse_math(False)
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("share of sequences of which it is called")
        axes.legend(frameon=False)


def _histograms(axes: Axes, edges: NDArray[Any], values: Mapping[str, NDArray[Any]]) -> None:
    for (name, each), colour in zip(values.items(), (BEFORE, NEW), strict=True):
        share = np.histogram(each, edges)[0] / len(each)
        axes.stairs(share, edges, color=colour, lw=1.6, label=f"{name} (median {_rounded(np.median(each))})")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("share of sequences")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))


def _rounded(value: Any) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _plane(points: Floats) -> Floats:
    """The first two components, of which there may be fewer."""
    return np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1]))))[:, :2]
