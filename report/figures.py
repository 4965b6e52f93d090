"""The paper's figures, drawn from experiments/results/ in the library's own style, as PDF."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from tables import ABLATION, SCORERS, ablation_figures

from seqclass.attribution.plot_style import BLUE, DARK, GREEN, GREY, ORANGE, VERMILION, drawing
from seqclass.attribution.plots import Mark, plot_saliency

Results = dict[str, Any]


def draw_all(folder: Path, found: Results) -> list[Path]:
    """Every figure as FOLDER/NAME.pdf."""
    drawn = []
    for name, draw in FIGURES.items():
        drawn.append(folder / f"{name}.pdf")
        draw(drawn[-1], found)
    return drawn


def training(path: Path, found: Results) -> None:
    """Validation against steps and against time: yeast and three seeds of Pfam."""
    yeast = {"12 epochs, seed 0": found["yeast_chip_exo"]["curves"]}
    pfam = {f"seed {seed}": found[f"pfam_protcnn-random-{seed}"]["curves"] for seed in range(3)}
    rows = [(yeast, "valid/average_precision", "average\nprecision"), (pfam, "valid/accuracy", "accuracy")]
    with drawing(path, "page", 3.3) as figure:
        axes = figure.subplots(2, 3)
        for row, (runs, metric, name) in enumerate(rows):
            for (run, curves), colour, line in zip(
                runs.items(), (BLUE, VERMILION, GREEN), ("-", "--", ":"), strict=False
            ):
                loss, valid = np.array(curves["train/loss"]), np.array(curves[metric])
                axes[row, 0].plot(loss[:, 0], smoothed(loss[:, 2]), line, color=colour, linewidth=1, label=run)
                axes[row, 1].plot(valid[:, 0], valid[:, 2], line, color=colour, marker=".", linewidth=1, label=run)
                axes[row, 2].plot(valid[:, 1] / 60, valid[:, 2], line, color=colour, marker=".", linewidth=1, label=run)
            axes[row, 0].set_ylabel(f"{('yeast', 'Pfam')[row]}\ntraining loss")
            axes[row, 1].set_ylabel(f"validation: {name}")
            axes[row, 2].legend(frameon=False, loc="lower right")
        axes[1, 0].set_yscale("log")
        axes[1, 0].yaxis.set_major_formatter("{x:g}")
        for axis, unit in zip(axes[1], ("steps", "steps", "minutes"), strict=True):
            axis.set_xlabel(unit)


def smoothed(values: np.ndarray, width: int = 5) -> np.ndarray:
    """The median of each point and those around it."""
    padded = np.pad(values, width // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)


def yeast(path: Path, found: Results) -> None:
    """Left: each target by model and by k-mers. Right: the ablation, each seed a point."""
    with drawing(path, "page", 2.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
        targets = [each for each in found["yeast_chip_exo"]["test"]["targets"] if each["positives"] >= 10]
        kinds = [(0, 200, VERMILION, "^"), (200, 400, ORANGE, "s"), (400, 1000, GREEN, "o"), (1000, 10**9, BLUE, "D")]
        for low, high, colour, marker in kinds:
            here = [each["average_precision"] for each in targets if low <= each["train_positives"] < high]
            name = f"{low:,} and more" if high > 10**6 else f"{low:,} to {high - 1:,}" if low else f"under {high:,}"
            x, y = ([each[scorer] for each in here] for scorer in ("kmer_logistic", "model"))
            # The rarer are open, so that the two halves can be told apart without colour.
            filled = colour if low >= 400 else "none"
            left.scatter(x, y, 10, marker=marker, facecolors=filled, edgecolors=colour, linewidth=0.7, label=name)
        left.axline((0, 0), slope=1, color=DARK, linewidth=0.6)
        left.set(xlabel="average precision, k-mers", ylabel="average precision, model", aspect="equal")
        left.set(xlim=(-0.02, 0.74), ylim=(-0.02, 0.6))
        left.legend(frameon=False, title="positives in train", title_fontsize=6, loc="lower right", handletextpad=0.1)
        figures = ablation_figures(found)
        for row, figure_of in enumerate(figures.values()):
            own = figure_of["average_precision"]
            right.plot(own["runs"], [row] * 3, "o", color=BLUE, markersize=3.5, alpha=0.8)
            right.plot([own["mean"]] * 2, [row - 0.28, row + 0.28], color=DARK, linewidth=1)
        right.set_yticks(range(len(figures)), [ABLATION[variant].replace("; skip; one-hot", "") for variant in figures])
        right.set(xlabel="mean average precision, chromosome IV")
        right.invert_yaxis()


def beta_lactamases(path: Path, found: Results) -> None:
    """Accuracy as the split grows harder."""
    splits = {"random": "random", "group": "families\nheld out", "cluster": "clusters\nheld out"}
    scorers = {"model": (BLUE, "o"), "phmmer": (VERMILION, "s"), "kmer_logistic": (GREEN, "^")}
    scorers |= {"nearest_neighbour": (ORANGE, "v"), "terminal_composition": (GREY, "D"), "composition": (DARK, "x")}
    with drawing(path, "column", 2.4) as figure:
        axis = figure.subplots()
        for offset, (scorer, (colour, marker)) in enumerate(scorers.items()):
            each = [found[f"beta_lactamase_protcnn-{s}"]["test"]["accuracy"]["ambler_class"][scorer] for s in splits]
            name = "ProtCNN" if scorer == "model" else SCORERS[scorer].replace(" by k-mers", "")
            with_bars(axis, np.arange(3) + (offset - 2.5) * 0.07, each, colour, marker, name)
        axis.set_xticks(range(3), list(splits.values()))
        axis.set(ylabel="test accuracy", ylim=(0.55, 1.01))
        axis.legend(frameon=False, loc="lower left", handletextpad=0.3)


def with_bars(axis: Axes, x: np.ndarray, scorers: list[dict[str, Any]], colour: str, marker: str, name: str) -> None:
    """Accuracies with their intervals."""
    values = np.array([each["accuracy"] for each in scorers])
    bounds = np.array([each["intervals"]["accuracy"] for each in scorers])
    low, high = np.maximum(values - bounds[:, 0], 0), np.maximum(bounds[:, 1] - values, 0)
    axis.errorbar(x, values, [low, high], color=colour, marker=marker, markersize=3.5, linewidth=0.8, label=name)


def pfam(path: Path, found: Results) -> None:
    """Accuracy by likeness to train, length and size of the family."""
    one = found["pfam_protcnn-random-1"]["test"]["strata"]["family"]
    joined = found["pfam_protcnn-ensemble"]["test"]["strata"]["family"]
    titles = {"identity": "identity to train", "length": "residues", "family_size": "training domains of the family"}
    scorers = {"ProtCNN, seed 1": (BLUE, "o-"), "three together": (GREEN, "^--"), "phmmer": (VERMILION, "s:")}
    scorers |= {"k-mers": (GREY, "x-.")}
    with drawing(path, "page", 2.3) as figure:
        for axis, (kind, title) in zip(figure.subplots(1, 3, sharey=True), titles.items(), strict=True):
            strata = [name for name, each in one[kind].items() if each["samples"] >= 100]
            lines = {
                "ProtCNN, seed 1": [one[kind][name]["accuracy"]["model"] for name in strata],
                "three together": [joined[kind][name]["accuracy"]["model"] for name in strata],
                "phmmer": [one[kind][name]["accuracy"]["phmmer"] for name in strata],
                "k-mers": [one[kind][name]["accuracy"]["kmer_logistic"] for name in strata],
            }
            for name, values in lines.items():
                colour, style = scorers[name]
                axis.plot(range(len(strata)), values, style, color=colour, markersize=3.5, linewidth=1, label=name)
            axis.set_xticks(range(len(strata)), [name.replace(" ", "\n", 1) for name in strata])
            axis.set_xlabel(title)
            axis.set_xlim(-0.3, len(strata) - 0.7)
        figure.axes[0].set_ylabel("test accuracy")
        figure.axes[0].legend(frameon=False, loc="lower right")


def saliency(path: Path, found: Results) -> None:
    """Maps of one simulated window and the motifs planted in it."""
    window = found["demo"]["window"]
    plot_saliency(
        path,
        window["sequence"],
        {method: np.array(values) for method, values in window["maps"].items()},
        marks=[Mark(*site) for site in window["sites"]],
        start=window["start"],
        detail=0,
        width="page",
    )


def attribution(path: Path, found: Results) -> None:
    """How well maps find planted sites, how they fall as weights are lost, and what deleting their peaks does."""
    benchmark = found["demo"]["benchmark"]
    rows = [row for row in benchmark["methods"] if row["method"] != "random order"]
    looks = {"mutagenesis": (BLUE, "o"), "integrated-gradients": (VERMILION, "s"), "hirescam": (GREEN, "^")}
    looks |= {"grad-cam": (ORANGE, "D"), "saliency": (DARK, "x"), "random order": (GREY, "")}
    with drawing(path, "page", 2.4) as figure:
        sites, weights, deletion = figure.subplots(1, 3)
        places = np.arange(len(rows))
        for key, name, colour, marker in (
            ("auroc", "trained", BLUE, "o"),
            ("auroc_random_weights", "weights lost", VERMILION, "s"),
            ("auroc_position_prior", "position only", DARK, "x"),
        ):
            sites.plot([row[key] for row in rows], places, marker, color=colour, markersize=4, label=name)
        sites.axvline(0.5, color=DARK, linewidth=0.5)
        sites.set_yticks(places, [row["method"].replace("integrated-", "integrated-\n") for row in rows])
        sites.set(xlabel="AUROC of planted sites", xlim=(0.4, 1.02), ylim=(len(rows) + 0.9, -0.5))
        sites.legend(frameon=False, loc="lower right")
        for method, stages in benchmark["randomisation"].items():
            colour, marker = looks[method]
            values = [1.0, *stages.values()]
            weights.plot(range(len(values)), values, color=colour, marker=marker, markersize=3.5, linewidth=1)
        weights.set_xticks(range(len(values)), ["none", *stages])
        weights.set(xlabel="weights lost from the head down to", ylabel="correlation with the trained map")
        weights.axhline(0, color=DARK, linewidth=0.5)
        for method, curves in benchmark["curves"].items():
            colour, marker = looks[method]
            percent = np.array(benchmark["shares"]) * 100
            deletion.plot(
                percent, curves["deletion"], color=colour, marker=marker, markersize=3.5, linewidth=1, label=method
            )
        deletion.set_xscale("symlog", linthresh=1)
        deletion.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        deletion.set(xlabel="% of residues deleted, the highest first", ylabel="logit")
        deletion.legend(frameon=False, loc="lower left", borderaxespad=0)
        deletion.set_ylim(bottom=-9)


FIGURES: dict[str, Callable[[Path, Results], None]] = {
    "training": training,
    "yeast": yeast,
    "beta_lactamases": beta_lactamases,
    "pfam": pfam,
    "saliency": saliency,
    "attribution": attribution,
}
