"""The evaluation report: a folder with a page, figures, tables and predictions, and a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from seqclass.atomic import atomic_folder
from seqclass.evaluation.blocks import Blocks, each_by_itself
from seqclass.evaluation.bootstrap import Draw, draw_blocks, interval, mean_over
from seqclass.evaluation.calls import THRESHOLD, count_calls, summarise_calls
from seqclass.evaluation.confusion import Answers, confusion_table, plot_confusion
from seqclass.evaluation.judgement import RANKING, Judgement, asks_yes_or_no, compare, judge, recall_intervals
from seqclass.evaluation.multilabel import (
    METRICS,
    MIN_POSITIVES,
    Baseline,
    Floats,
    Labels,
    Metrics,
    Scores,
    measure,
    per_target_table,
)
from seqclass.evaluation.plots import Scored, plot_curves
from seqclass.evaluation.predictions import FILE, Predictions, save_predictions
from seqclass.evaluation.reliability_plot import plot_reliability
from seqclass.evaluation.report_page import write_report_page
from seqclass.evaluation.single_label import Calls, call_classes, measure_classes
from seqclass.evaluation.text import classification_report, sentences, strata_lines
from seqclass.evaluation.trust import are_probabilities, examine
from seqclass.progress import track
from seqclass.targets import Target
from seqclass.terminal import show

# So many targets fit on a screen one by one.
_FEW_TARGETS = 20

# The file by which a report's folder is known.
MARKER = "metrics.json"

TEXT = "report.txt"

_TITLES = {
    "average_precision": "average precision",
    "auroc": "AUROC",
    "auroc_labelled": "AUROC among labelled samples",
}


def write_report(
    folder: str | Path,
    *,
    labels: Labels,
    scores: Scores,
    targets: Sequence[Target],
    train_positives: NDArray[np.integer[Any]],
    provenance: Mapping[str, Any],
    baselines: Mapping[str, Baseline],
    exclusive: Sequence[str] = (),
    thresholds: NDArray[Any] | None = None,
    ids: Sequence[str] | None = None,
    blocks: Blocks | None = None,
    strata: Mapping[str, Mapping[str, Any]] | None = None,
    abstention: Mapping[str, Mapping[str, Any]] | None = None,
    min_positives: int = MIN_POSITIVES,
    force: bool = False,
) -> dict[str, Any]:
    """Measures a model and its baselines on the same samples and writes what was found.

    - `index.html`: all of it on one page, pictures inside.
    - `metrics.json`: "model" and "baselines" (by name, with their settings), each with the means over targets and their
      95 % intervals; the targets left out; "accuracy" and other figures of exclusive groups; "calls" of yes-or-no
      targets at thresholds; "strata", accuracy by likeness to train, length and family size; "abstention", from what is
      abstained; "probabilities", whether they come true; "comparisons" of the model with each baseline; "bootstrap",
      how intervals were made; "per_target" where there are at most 20; and "provenance".
    - `per_target.tsv`: every target, the model's metrics and each baseline's.
    - `report.txt`: the same in words, and precision, recall and F1 of every target.
    - `curves.png`: precision-recall and ROC curves; `reliability.png`, where scores are probabilities.
    - `confusion.png` and `confusion.tsv`: which classes of exclusive groups are taken for which.
    - `predictions.h5`: the scores; see `predictions`.

    Args:
        folder: Where to write; appears whole or not at all.
        labels: `(samples, targets)` zeros and ones, -1 where one is missing.
        scores: `(samples, targets)`, of the model. Those from 0 to 1 are taken for probabilities.
        targets: Names and groups, in the order of the columns.
        train_positives: `(targets,)`, how many training samples carry each.
        provenance: What reproduces the figures, anything JSON can hold: data checksum, split, seed, versions.
        baselines: What the model is held against, by name.
        exclusive: Groups of targets of which exactly one is true, whose accuracy is reported too.
        thresholds: `(targets,)`, from which score on each yes-or-no target is called, chosen beforehand. Default: 0.5
            of probabilities; other scores are not called.
        ids: `(samples,)`, what the samples are called. Default: their numbers.
        blocks: Which samples are not independent. Default: all are.
        strata: By exclusive group and by scorer, "model" first, what `stratify` found.
        abstention: By exclusive group, what `measure_abstention` found.
        min_positives: Targets with fewer positives are listed and left out of means.
        force: Replace the report that stands at `folder`.

    Returns:
        What `metrics.json` holds.

    Raises:
        EvaluationError: Scores, labels and targets do not fit together, or a score is NaN.
        OutputExistsError: Something stands at `folder` and `force` is false.
        SeqclassError: What stands at `folder` is no report, or the disk is full.
    """
    model, *others = (
        Scored(each, measure(labels, each, targets, train_positives, min_positives))
        for each in (scores, *(baseline.scores for baseline in baselines.values()))
    )
    measured = dict(zip(baselines, others, strict=True))
    scorers = {"model": model, **measured}
    metrics: dict[str, Any] = {
        "samples": model.metrics.num_samples,
        "min_positives": min_positives,
        "left_out": model.metrics.left_out,
        "model": model.metrics.summary(),
        "baselines": {
            name: {**scored.metrics.summary(), "settings": baselines[name].settings}
            for name, scored in measured.items()
        },
    }
    if len(targets) <= _FEW_TARGETS:
        metrics["per_target"] = _per_target(scorers)
    predictions = Predictions(
        labels=labels,
        scores=scores,
        targets=targets,
        ids=[str(row) for row in range(len(labels))] if ids is None else ids,
        blocks=each_by_itself(len(labels)) if blocks is None else blocks,
        exclusive=exclusive,
        min_positives=min_positives,
    )
    draw = draw_blocks(predictions.blocks, len(targets))
    judged = _judge(metrics, predictions, scorers, draw)
    columns: dict[str, Any] = dict(_intervals_of_targets(judged["model"], model.metrics))
    classes = {group: call_classes(labels, scores, targets, group) for group in exclusive}

    probable = are_probabilities(scores)
    counts = None
    if thresholds is not None or probable or not asks_yes_or_no(targets, exclusive):
        used = np.full(len(targets), THRESHOLD) if thresholds is None else thresholds
        counts = count_calls(labels, scores, model.metrics, exclusive, used)
        calls = summarise_calls(counts, model.metrics, exclusive)
        if calls is not None:
            chosen = f"{THRESHOLD:g}" if thresholds is None else "thresholds chosen beforehand"
            metrics["calls"] = {"thresholds": chosen, **calls}
        columns["threshold"] = np.where([target.group in exclusive for target in targets], np.nan, used)
        names = ("precision", "recall", "f1", "mcc", "accuracy", "balanced_accuracy")
        columns |= {name: getattr(counts, name) for name in names}
        if classes:
            columns |= _intervals_of_recall(classes, draw, len(targets))
    trust = examine(labels, scores, model.metrics, exclusive) if probable else None
    if trust is not None:
        metrics["probabilities"] = trust.summary
        columns |= {name: getattr(trust, name) for name in ("brier_score", "brier_skill", "calibration_error")}
    if strata:
        metrics["strata"] = strata
    if abstention:
        metrics["abstention"] = abstention
    metrics["provenance"] = provenance

    table = per_target_table(model.metrics, {name: scored.metrics for name, scored in measured.items()}, columns)
    text = "\n".join([*sentences(metrics), "", *strata_lines(metrics)])
    if counts is not None:
        text += "\n" + classification_report(model.metrics, counts)
    with atomic_folder(folder, force=force, holding=MARKER) as partial:
        held = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False)
        (partial / MARKER).write_text(held + "\n", encoding="utf-8")
        (partial / "per_target.tsv").write_text(table, encoding="utf-8")
        (partial / TEXT).write_text(text, encoding="utf-8")
        plot_curves(partial / "curves.png", labels, model, measured)
        if trust is not None and trust.diagrams:
            plot_reliability(partial / "reliability.png", trust.diagrams)
        if classes:
            answers = {group: _answers(calls, targets) for group, calls in classes.items()}
            (partial / "confusion.tsv").write_text(confusion_table(answers), encoding="utf-8")
            plot_confusion(partial / "confusion.png", answers)
        save_predictions(partial / FILE, predictions)
        write_report_page(partial / "index.html", metrics, table)
    return metrics


def _judge(
    metrics: dict[str, Any], predictions: Predictions, scorers: Mapping[str, Scored], draw: Draw
) -> dict[str, Judgement]:
    """Judges all scorers on the same draws, and adds figures of classes, intervals and comparisons to the metrics."""
    labels, targets, exclusive = predictions.labels, predictions.targets, predictions.exclusive
    judged = {
        name: judge(labels, each.scores, each.metrics, exclusive, draw)
        for name, each in track(scorers.items(), "Drawing test sets anew", len(scorers), "scorers")
    }
    for name, judgement in judged.items():
        means = metrics["model"] if name == "model" else metrics["baselines"][name]
        for metric in judgement.means:
            means[metric]["interval"] = judgement.mean_interval(metric)
    _add_group_intervals(metrics["model"].get("groups", {}), judged["model"], scorers["model"].metrics)
    if exclusive:
        metrics["accuracy"] = {
            group: {
                name: measure_classes(labels, scorers[name].scores, targets, group)
                | {"intervals": judgement.class_intervals(group)}
                for name, judgement in judged.items()
            }
            for group in exclusive
        }
    metrics["comparisons"] = [
        comparison
        for name, judgement in judged.items()
        if name != "model"
        for comparison in compare(("model", name), judged["model"], judgement)
    ]
    metrics["bootstrap"] = draw.about
    return judged


def _add_group_intervals(groups: Mapping[str, Any], judgement: Judgement, metrics: Metrics) -> None:
    """Adds the 95 % intervals of the means over each group's targets."""
    if judgement.targets is None:
        return
    for group, means in groups.items():
        members = metrics.scored & [target.group == group for target in metrics.targets]
        for name in RANKING:
            if means[name]["mean"] is not None:
                drawn = mean_over(members, getattr(judgement.targets, name))
                means[name]["interval"] = interval(means[name]["mean"], drawn, judgement.blocks)


def _intervals_of_targets(judgement: Judgement, metrics: Metrics) -> dict[str, list[float]]:
    """The ends of the 95 % intervals of each target's average precision and AUROC, as columns."""
    if judgement.targets is None:
        return {}
    columns: dict[str, list[float]] = {}
    for name in RANKING:
        pairs = zip(getattr(metrics, name), getattr(judgement.targets, name), strict=True)
        ends = [interval(value, drawn, judgement.blocks) or (np.nan, np.nan) for value, drawn in pairs]
        columns |= {f"{name}_low": [low for low, _ in ends], f"{name}_high": [high for _, high in ends]}
    return columns


def _intervals_of_recall(classes: Mapping[str, Calls], draw: Draw, targets: int) -> dict[str, Floats]:
    """The ends of the 95 % intervals of each class's recall, as columns; NaN at yes-or-no targets."""
    ends = np.full((targets, 2), np.nan)
    for calls in classes.values():
        ends[calls.members] = recall_intervals(calls, draw)
    return {"recall_low": ends[:, 0], "recall_high": ends[:, 1]}


def _answers(calls: Calls, targets: Sequence[Target]) -> Answers:
    known = calls.known
    return Answers(calls.truth[known], calls.calls[known], [targets[member].name for member in calls.members])


def show_report(metrics: Mapping[str, Any], full: str | None = None) -> None:
    """Prints the content of `metrics.json`: the table, and below it the short text, or what `report.txt` holds.

    Args:
        metrics: As `write_report` returns them.
        full: What `report.txt` holds, where that is wanted.
    """
    show(summary_table(metrics))
    show(Text("\n".join(sentences(metrics)) if full is None else full))


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """The content of `metrics.json` as a table for the terminal, one section a metric.

    A line a target where there are at most 20, else a line for the model, each group of its targets and each baseline.
    """
    left_out, caption = metrics["left_out"], f"{metrics['samples']:,} samples"
    if left_out:
        caption += f"; left out of means, with fewer than {metrics['min_positives']} positives or no negative: "
        caption += ", ".join(left_out[:8]) + (", ..." if len(left_out) > 8 else "")
    if "per_target" not in metrics:
        for group, scorers in metrics.get("accuracy", {}).items():
            shown = (f"{name.replace('_', ' ')} {each['accuracy']:.3f}" for name, each in scorers.items())
            caption = f"accuracy of {group}: {', '.join(shown)}\n{caption}"
    table = Table(box=SIMPLE_HEAD, caption=escape(caption), caption_justify="left")
    if "per_target" in metrics:
        _fill_by_target(table, metrics)
    else:
        _fill_with_means(table, metrics)
    return table


def _titles(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The metrics shown; where samples have a class, all of them are labelled, and one would stand there twice."""
    return [pair for pair in _TITLES.items() if "accuracy" not in metrics or pair[0] != "auroc_labelled"]


def _fill_by_target(table: Table, metrics: Mapping[str, Any]) -> None:
    scorers = {"model": metrics["model"], **metrics["baselines"]}
    table.add_column("", overflow="fold")
    for name in ("positives", *scorers):
        table.add_column(escape(name.replace("_", " ")), justify="right")
    for group, accuracy in metrics.get("accuracy", {}).items():
        cells = [_figure(accuracy[name]["accuracy"]) for name in scorers]
        table.add_row("accuracy", style="bold")
        table.add_row(escape(group), f"{accuracy['model']['samples']:,}", *cells)
        table.add_section()
    for metric, title in _titles(metrics):
        table.add_row(title, style="bold")
        for row in metrics["per_target"]:
            cells = [_figure(row[metric][name]) for name in scorers]
            table.add_row(escape(row["name"]), f"{row['positives']:,}", *cells)
        if len(metrics["per_target"]) > 1:
            table.add_row("mean", "", *(_figure(means[metric]["mean"]) for means in scorers.values()), style="italic")
        table.add_section()


def _fill_with_means(table: Table, metrics: Mapping[str, Any]) -> None:
    lines = {"model": metrics["model"]}
    lines |= {f"  {name or 'no group'}": means for name, means in metrics["model"].get("groups", {}).items()}
    lines |= {name.replace("_", " "): means for name, means in metrics["baselines"].items()}
    table.add_column("", overflow="fold")
    for name in ("targets", "mean", "median", "weighted by train positives"):
        table.add_column(name, justify="right", max_width=15)
    for metric, title in _titles(metrics):
        table.add_row(title, style="bold")
        for name, means in lines.items():
            cells = [_figure(means[metric][kind]) for kind in ("mean", "median", "weighted_mean")]
            table.add_row(escape(name), f"{means['targets']:,}", *cells)
        table.add_section()


def _per_target(scored: Mapping[str, Scored]) -> list[dict[str, Any]]:
    metrics = scored["model"].metrics
    return [
        {
            "name": target.name,
            "group": target.group,
            "positives": int(metrics.positives[column]),
            **{
                metric: {name: _or_none(getattr(each.metrics, metric)[column]) for name, each in scored.items()}
                for metric in METRICS
            },
        }
        for column, target in enumerate(metrics.targets)
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _or_none(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
