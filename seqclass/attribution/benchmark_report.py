"""A benchmark of attribution methods as files, as a picture and as a table at the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from rich.table import Table

from seqclass.atomic import atomic_folder
from seqclass.attribution.plot_style import BLUE, DARK, GREEN, GREY, ORANGE, PURPLE, SIGNED_MAP, SKY, VERMILION, drawing

TABLE, DETAILS, PICTURE = "benchmark.tsv", "benchmark.json", "benchmark.png"

_HEADINGS = {
    "method": "method",
    "auroc": "AUROC",
    "auroc_random_weights": "random weights",
    "auroc_position_prior": "position prior",
    "hit_rate": "hit rate",
    "deletion": "deletion",
    "insertion": "insertion",
    "agreement": "like mutagenesis",
    "randomised": "randomised",
}
_MARKS = {
    "auroc": ("o", BLUE, "model"),
    "auroc_random_weights": ("x", VERMILION, "random weights"),
    "auroc_position_prior": ("|", DARK, "position prior"),
}
_LINES = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)


def write_benchmark(out: str | Path, found: Mapping[str, Any], *, force: bool = False) -> None:
    """Writes `benchmark.tsv`, `benchmark.json` and `benchmark.png` into a folder, whole or not at all.

    Args:
        out: The folder.
        found: As `seqclass.attribution.benchmark.benchmark` finds it.
        force: Replace the benchmark that stands there.

    Raises:
        OutputExistsError: Something stands at `out` and `force` is false.
    """
    rows = found["methods"]
    with atomic_folder(out, force=force, holding=TABLE) as folder:
        lines = ["\t".join(rows[0]), *("\t".join(_cell(value) for value in row.values()) for row in rows)]
        (folder / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / DETAILS).write_text(json.dumps(_plain(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        _plot(folder / PICTURE, found)


def benchmark_table(found: Mapping[str, Any]) -> Table:
    """What was found, a row a method, for the terminal."""
    table = Table(title="are attributions right?", title_justify="left")
    for name, heading in _HEADINGS.items():
        table.add_column(heading, justify="left" if name == "method" else "right")
    for row in found["methods"]:
        name = row["method"] if row["faithful"] else f"{row['method']} (not model-faithful)"
        table.add_row(name, *(_figure(row[column]) for column in list(_HEADINGS)[1:]))
    return table


def verdicts(found: Mapping[str, Any]) -> list[str]:
    """In sentences, what the table leaves to be said: methods that are insane, and those that were left out."""
    told = [
        f"{row['method']} hardly changes as the weights are lost (rank correlation {row['randomised']:.2f}, where at "
        f"most {found['most_like']} is expected): do not trust it here"
        for row in found["methods"]
        if row["falls"] is False and row["faithful"]
    ]
    told += [
        f"{row['refused']:.1%} of the maps of {row['method']} do not add up, and would be refused where they explain"
        for row in found["methods"]
        if row["refused"]
    ]
    return told + [f"{name} was left out: {problem}" for name, problem in found["left_out"].items()]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _figure(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """With None in place of what is no number, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _plot(path: Path, found: Mapping[str, Any]) -> None:
    """Localisation of each method, what is left of its map as weights are lost, and its curves."""
    rows = found["methods"]
    with drawing(path, "page", 1.9 + 0.16 * len(rows) + 1.6) as figure:
        above, below = figure.subfigures(2, 1, height_ratios=[0.9 + 0.16 * len(rows), 1.9], squeeze=False)[:, 0]
        left, right = above.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        _plot_localisation(left, rows)
        _plot_cascade(right, rows, found["randomisation"])
        for axes, name in zip(below.subplots(1, 2), ("deletion", "insertion"), strict=True):
            _plot_curves(axes, name, found)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _plot_localisation(axes: Axes, rows: list[dict[str, Any]]) -> None:
    places = np.arange(len(rows))
    for column, (marker, colour, label) in _MARKS.items():
        values = [np.nan if row[column] is None else row[column] for row in rows]
        axes.plot(values, places, marker, color=colour, label=label, markersize=4, clip_on=False)
    axes.axvline(0.5, color=GREY, linewidth=0.6)
    axes.set_yticks(places, [row["method"] + ("" if row["faithful"] else " *") for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel="AUROC of planted sites", xlim=(min(0.4, axes.get_xlim()[0]), 1))
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def _plot_cascade(axes: Axes, rows: list[dict[str, Any]], alike: Mapping[str, Mapping[str, float]]) -> None:
    stages = list(next(iter(alike.values())))
    values = np.array([[alike.get(row["method"], {}).get(stage, np.nan) for stage in stages] for row in rows])
    image = axes.imshow(values, aspect="auto", cmap=SIGNED_MAP, vmin=-1, vmax=1, interpolation="none")
    axes.set_xticks(range(len(stages)), stages, rotation=45, ha="right")
    axes.set_title("randomised from the head down to", fontsize=7)
    axes.tick_params(labelleft=False, left=False)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.06, pad=0.02)
    bar.set_label("rank correlation")


def _plot_curves(axes: Axes, name: str, found: Mapping[str, Any]) -> None:
    """Of the methods that localise best, and of a random order."""
    *methods, chance = found["methods"]
    best = sorted(methods, key=lambda row: -row["auroc"])[: len(_LINES)]
    shares = [100 * share for share in found["shares"]]
    for row, colour in zip(best, _LINES, strict=False):
        axes.plot(shares, found["curves"][row["method"]][name], color=colour, linewidth=1, label=row["method"])
    drawn = found["curves"][chance["method"]][name]
    axes.plot(shares, drawn, color=GREY, linewidth=1, linestyle="--", label=chance["method"])
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xticks(shares, [f"{share:g}" for share in shares])
    axes.set(xlabel=f"% of residues, {name}", ylabel="mean logit")
