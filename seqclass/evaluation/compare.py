"""Several evaluated classifiers side by side: their figures on the same samples, and which of each two is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from seqclass.errors import EvaluationError
from seqclass.evaluation.bootstrap import draw_blocks
from seqclass.evaluation.judgement import Judgement, compare, judge
from seqclass.evaluation.multilabel import measure
from seqclass.evaluation.predictions import Predictions, load_predictions
from seqclass.evaluation.text import with_interval
from seqclass.progress import track

_CLASS_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "mcc")


def compare_runs(paths: Sequence[str | Path]) -> dict[str, Any]:
    """Compares runs by the predictions in their reports, each pair on the same test sets drawn anew.

    Args:
        paths: Folders of runs or reports, at least two.

    Returns:
        As JSON can hold it: "runs", by name the figures and their 95 % intervals; "comparisons" of each two, whose
        "verdict" says in words which is better; "samples"; and "bootstrap", how the intervals were made.

    Raises:
        EvaluationError: There are fewer than two, one has no predictions, or they are not of the same samples, labels
            and targets.
    """
    if len(paths) < 2:
        raise EvaluationError(f"{len(paths)} runs, where two or more are compared", remedy="Name another run")
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise EvaluationError("a run is named twice", remedy="Name each run once")
    first = load_predictions(paths[0])
    draw = draw_blocks(first.blocks, len(first.targets))
    judged: dict[str, Judgement] = {}
    for path in track(paths, "Judging runs", len(paths), "runs"):
        # One run's scores are in memory at a time, and the first's.
        theirs = first if path == paths[0] else load_predictions(path)
        _check_same(first, theirs, paths[0], path)
        counts = np.zeros(len(theirs.targets), dtype=np.int64)
        metrics = measure(theirs.labels, theirs.scores, theirs.targets, counts, first.min_positives)
        judged[str(path)] = judge(theirs.labels, theirs.scores, metrics, first.exclusive, draw)
    return {
        "samples": len(first.ids),
        "runs": {name: _figures(judgement) for name, judgement in judged.items()},
        "comparisons": [
            comparison
            for (one, ours), (other, theirs) in combinations(judged.items(), 2)
            for comparison in compare((one, other), ours, theirs)
        ],
        "bootstrap": draw.about,
    }


def comparison_table(found: Mapping[str, Any]) -> Table:
    """The figures of the runs as a table for the terminal, a line a run."""
    table = Table(box=SIMPLE_HEAD, caption=f"{found['samples']:,} samples", caption_justify="left")
    table.add_column("", overflow="fold")
    titles = list(next(iter(found["runs"].values())))
    for title in titles:
        table.add_column(escape(title), justify="right")
    for name, figures in found["runs"].items():
        cells = (with_interval(figures[title]["value"], figures[title]["interval"], 4) for title in titles)
        table.add_row(escape(name), *cells)
    return table


def _figures(judgement: Judgement) -> dict[str, dict[str, Any]]:
    """By title, the value and the interval of each figure."""
    found = {
        f"mean {'AUROC' if name == 'auroc' else name.replace('_', ' ')}": (figure.value, judgement.mean_interval(name))
        for name, figure in judgement.means.items()
    }
    for group, figures in judgement.classes.items():
        intervals = judgement.class_intervals(group)
        for name in _CLASS_FIGURES:
            found[f"{group}: {name.replace('_', ' ')}"] = (figures[name].value, intervals[name])
    return {
        title: {"value": None if np.isnan(value) else value, "interval": ends} for title, (value, ends) in found.items()
    }


def _check_same(first: Predictions, other: Predictions, here: str | Path, there: str | Path) -> None:
    """Refuses predictions that cannot be compared sample by sample."""
    differing = None
    if list(first.targets) != list(other.targets) or list(first.exclusive) != list(other.exclusive):
        differing = f"{len(other.targets)} targets that are not the {len(first.targets)}"
    elif list(first.ids) != list(other.ids):
        differing = f"{len(other.ids):,} samples that are not the {len(first.ids):,}"
    elif not np.array_equal(first.labels, other.labels):
        differing = "labels that are not those"
    if differing is not None:
        raise EvaluationError(
            f"this run was judged on {differing} of {here}",
            remedy="Evaluate both on the same split of the same store",
            file=there,
        )
