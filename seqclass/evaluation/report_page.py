"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from seqclass.evaluation.text import (
    about_intervals,
    abstention_table,
    accuracy_title,
    strata_table,
    with_interval,
)
from seqclass.page import picture, table, write_page

_PICTURES = {
    "confusion.png": "Which class is taken for which",
    "curves.png": "Curves",
    "reliability.png": "Do probabilities come true?",
}

# Longer tables are folded, and those of thousands of families cut.
_UNFOLDED, _MOST_ROWS = 20, 1000


def write_report_page(path: Path, metrics: Mapping[str, Any], per_target: str) -> None:
    """Writes the page; the pictures beside it are put inside.

    Args:
        path: The file to write.
        metrics: What `metrics.json` holds.
        per_target: What `per_target.tsv` holds.
    """
    data = metrics["provenance"].get("data", {})
    store, split = Path(str(data.get("store", ""))).name, metrics["provenance"].get("split", "")
    title = " ".join(["Evaluation", *(["on the split", split] if split else []), *(["of", store] if store else [])])
    left_out = metrics["left_out"]
    targets = metrics["model"]["targets"] + len(left_out)
    body = [f"<h1>{escape(title)}</h1>", f"<p>{metrics['samples']:,} samples, {targets:,} targets"]
    if left_out:
        shown = ", ".join(left_out[:8]) + (", ..." if len(left_out) > 8 else "")
        body.append(
            f"; left out of means, with fewer than {metrics['min_positives']} positives or no negative: {escape(shown)}"
        )
    body.append(f".<br><small>{escape(about_intervals(metrics))}.</small></p>")
    if metrics["comparisons"]:
        verdicts = "".join(f"<li>{escape(each['verdict'])}</li>" for each in metrics["comparisons"])
        body.append(f"<h2>Model and baselines</h2><ul>{verdicts}</ul>")
    body += [*_classes(metrics), *_strata(metrics), *_abstention(metrics), *_means(metrics), *_calls(metrics)]
    body += _probabilities(metrics)
    for name, heading in _PICTURES.items():
        if path.with_name(name).exists():
            body.append(f"<h2>{heading}</h2>{picture(path.with_name(name), heading)}")
    body.append("<h2>Each target</h2>" + _each(per_target))
    provenance = escape(json.dumps(metrics["provenance"], indent=2, ensure_ascii=False))
    body.append(f"<h2>Where it comes from</h2><details><summary>data, model, versions</summary><pre>{provenance}</pre>")
    write_page(path, title, [*body, "</details>"])


def _classes(metrics: Mapping[str, Any]) -> list[str]:
    pieces = []
    titles = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "macro_f1": "macro F1", "mcc": "MCC"}
    for group, scorers in metrics.get("accuracy", {}).items():
        guesses = [name for name in scorers["model"] if name.startswith("top_")]
        rows = [
            [
                name.replace("_", " "),
                *(with_interval(each[key], each["intervals"][key]) for key in titles),
                *(f"{each[key]:.3f}" for key in guesses),
            ]
            for name, each in scorers.items()
        ]
        header = ["", *titles.values(), *(name.replace("_accuracy", "").replace("_", " ") for name in guesses)]
        heading = accuracy_title(group, scorers["model"]["classes"]).capitalize()
        pieces.append(f"<h2>{escape(heading)}</h2>{table(header, rows)}")
    return pieces


def _strata(metrics: Mapping[str, Any]) -> list[str]:
    return [
        f"<h2>Accuracy of {escape(group)}, by what is easy and what is hard</h2>{table(*strata_table(scorers))}"
        for group, scorers in metrics.get("strata", {}).items()
    ]


def _abstention(metrics: Mapping[str, Any]) -> list[str]:
    found = metrics.get("abstention")
    return [f"<h2>Abstaining from unknown classes</h2>{table(*abstention_table(found))}"] if found else []


def _means(metrics: Mapping[str, Any]) -> list[str]:
    pieces: list[str] = []
    if not metrics["model"]["targets"]:
        return pieces
    lines = {"model": metrics["model"]}
    lines |= {f"- {name or 'no group'}": means for name, means in metrics["model"].get("groups", {}).items()}
    lines |= {name.replace("_", " "): means for name, means in metrics["baselines"].items()}
    titles = {
        "average_precision": "Average precision",
        "auroc": "AUROC",
        "auroc_labelled": "AUROC among labelled samples",
        "max_f1": "F1 at the best threshold",
    }
    if "accuracy" in metrics:
        del titles["auroc_labelled"]
    for metric, heading in titles.items():
        rows = [
            [
                name,
                f"{means['targets']:,}",
                with_interval(means[metric]["mean"], means[metric].get("interval")),
                with_interval(means[metric]["median"], None),
                with_interval(means[metric]["weighted_mean"], None),
            ]
            for name, means in lines.items()
        ]
        header = ["", "targets", "mean", "median", "weighted by positives in train"]
        pieces.append(f"<h2>{heading}</h2>{table(header, rows)}")
    pieces.append(
        "<p><small>The best threshold is chosen on these same samples; one chosen beforehand does not reach it."
        "</small></p>"
    )
    return pieces


def _calls(metrics: Mapping[str, Any]) -> list[str]:
    calls = metrics.get("calls")
    if not calls:
        return []
    names = {
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "mcc": "MCC",
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
    }
    rows = [
        [f"{kind} average", *(f"{calls[kind][name]:.3f}" if name in calls[kind] else "" for name in names)]
        for kind in ("macro", "micro")
    ]
    return [f"<h2>Calls at {escape(calls['thresholds'])}</h2>{table(['', *names.values()], rows)}"]


def _probabilities(metrics: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            "mean over targets" if name == "targets" else name,
            f"{figures['brier_score']:.4f}",
            with_interval(figures["brier_skill"], None),
            f"{figures['calibration_error']:.4f}",
        ]
        for name, figures in metrics.get("probabilities", {}).items()
    ]
    header = ["", "Brier score", "skill against prevalence", "expected calibration error"]
    return [f"<h2>Probabilities</h2>{table(header, rows)}"] if rows else []


def _each(per_target: str) -> str:
    header, *rows = (line.split("\t") for line in per_target.splitlines())
    kept = [name for name in header if not name.endswith(("_low", "_high"))]
    shown_rows = (dict(zip(header, row, strict=True)) for row in rows[:_MOST_ROWS])
    inner = table(
        [name.replace("_", " ") for name in kept], ([_cell(row, name) for name in kept] for row in shown_rows)
    )
    if len(rows) <= _UNFOLDED:
        return inner
    shown = (
        f"{len(rows):,} targets" if len(rows) <= _MOST_ROWS else f"the first {_MOST_ROWS:,} of {len(rows):,} targets"
    )
    return f"<details><summary>{shown}; all are in per_target.tsv</summary>{inner}</details>"


def _cell(row: Mapping[str, str], name: str) -> str:
    """A field of a line of `per_target.tsv`, with its interval where it has one."""
    ends = [row.get(f"{name}_{end}") for end in ("low", "high")]
    shown = row[name] or "-"
    return f"{float(shown):.3f} ({float(ends[0]):.3f} to {float(ends[1]):.3f})" if ends[0] and ends[1] else shown
