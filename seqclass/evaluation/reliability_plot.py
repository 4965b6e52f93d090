"""The reliability diagram: what share came true of what was given each probability."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from seqclass.metrics import Reliability


def plot_reliability(path: Path, diagrams: Mapping[str, Reliability]) -> None:
    """Draws a panel for each into a PNG: bins of equal mass, with their standard errors, against the diagonal.

    Args:
        path: The file to write.
        diagrams: By what they are of.
    """
    figure = Figure(figsize=(4.6 * len(diagrams), 4.6), layout="constrained")
    for axes, (name, bins) in zip(figure.subplots(1, len(diagrams), squeeze=False)[0], diagrams.items(), strict=True):
        top = 1.05 * max(float(bins.predicted.max()), float(bins.observed.max()), 1e-3)
        error = np.sqrt(bins.observed * (1 - bins.observed) / bins.samples)
        axes.plot([0, top], [0, top], color="0.6", linewidth=1, linestyle=(0, (4, 3)))
        axes.errorbar(bins.predicted, bins.observed, error, color="#0072B2", marker="o", markersize=4, linewidth=1.4)
        title = "all targets pooled" if name == "targets" else f"called class, {name}"
        title += f"\nexpected calibration error {bins.calibration_error:.4f}"
        axes.set_title(title, fontsize=10, parse_math=False)
        axes.set(xlabel="mean probability in the bin", ylabel="share that came true")
        axes.set(xlim=(-0.02 * top, top), ylim=(-0.02 * top, top), box_aspect=1)
        axes.grid(color="0.92", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150, bbox_inches="tight", format="png")
