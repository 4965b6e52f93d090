"""A report in words and tables of plain text, for the terminal and for a mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqclass.evaluation.multilabel import Metrics
from seqclass.metrics import BinaryCounts

FigureOrNone = float | None


def with_interval(value: FigureOrNone, ends: Sequence[float] | None, digits: int = 3) -> str:
    """A figure, and its interval where there is one: "0.812 (0.790-0.833)"; "-" where it is undefined."""
    if value is None or np.isnan(value):
        return "-"
    return f"{value:.{digits}f}" + ("" if ends is None else f" ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})")


def accuracy_title(group: str, classes: int) -> str:
    """What the accuracy of a group is called: that of ten locations is known as Q10."""
    return f"accuracy of {group} (Q10)" if classes == 10 else f"accuracy of {group}"


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """The short text: headline figures with their intervals, and which is better, the model or a baseline."""
    lines = []
    model = metrics["model"]
    if "interval" in model["average_precision"]:
        for name, title in (("average_precision", "mean average precision"), ("auroc", "mean AUROC")):
            lines.append(f"{title} {with_interval(model[name]['mean'], model[name]['interval'])}")
    for group, scorers in metrics.get("accuracy", {}).items():
        ours = scorers["model"]
        shown = with_interval(ours["accuracy"], ours["intervals"]["accuracy"])
        lines.append(f"{accuracy_title(group, ours['classes'])} {shown}")
        lines.append(
            "  "
            + ", ".join(
                f"{title} {with_interval(ours[name], ours['intervals'][name])}"
                for name, title in (("balanced_accuracy", "balanced"), ("macro_f1", "macro F1"), ("mcc", "MCC"))
            )
        )
        guesses = [name for name in ours if name.startswith("top_")]
        if guesses:
            lines.append("  " + ", ".join(f"{name.replace('_', ' ')} {ours[name]:.3f}" for name in guesses))
    calls = metrics.get("calls")
    if calls:
        macro, micro = calls["macro"], calls["micro"]
        lines.append(
            f"at {calls['thresholds']}: F1 macro {macro['f1']:.3f}, micro {micro['f1']:.3f}; MCC {macro['mcc']:.3f}; "
            f"accuracy {macro['accuracy']:.3f}, balanced {macro['balanced_accuracy']:.3f}"
        )
    for name, figures in metrics.get("probabilities", {}).items():
        what = "probabilities" if name == "targets" else f"probabilities of {name}"
        lines.append(
            f"{what}: Brier score {figures['brier_score']:.4f}, "
            f"skill against prevalence {with_interval(figures['brier_skill'], None)}, "
            f"expected calibration error {figures['calibration_error']:.4f}"
        )
    lines += [_abstention(group, found) for group, found in metrics.get("abstention", {}).items()]
    lines += [comparison["verdict"] for comparison in metrics["comparisons"]]
    return [*lines, about_intervals(metrics)]


_STRATA = {"identity": "identity to train", "length": "length", "family_size": "samples of the class in train"}


def strata_table(scorers: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each stratum's size, the model's accuracy and its mean over classes, each baseline's accuracy.

    Args:
        scorers: What `stratify` found in one group, "model" first.
    """
    header = ["", "samples", "classes"]
    for name in scorers:
        header += ["model", "model, mean of classes"] if name == "model" else [name.replace("_", " ")]
    parts = {"all": [[each] for each in scorers.values()]}
    for kind in scorers["model"]["strata"]:
        parts[kind] = [each["strata"][kind] for each in scorers.values()]
    rows = []
    for kind, found in parts.items():
        for ours, *theirs in zip(*found, strict=True):
            title = "all" if kind == "all" else f"{_STRATA.get(kind, kind)}: {ours['stratum']}"
            figures = [ours["accuracy"], ours["family_accuracy"], *(each["accuracy"] for each in theirs)]
            rows.append([title, f"{ours['samples']:,}", f"{ours['families']:,}", *(f"{each:.3f}" for each in figures)])
    return header, rows


def strata_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Accuracy by strata as lines of text, a section an exclusive group."""
    lines: list[str] = []
    for group, scorers in metrics.get("strata", {}).items():
        header, rows = strata_table(scorers)
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines.append(f"accuracy of {group}")
        for first, *others in (header, *rows):
            cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
            lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
        lines.append("")
    return lines


def abstention_table(groups: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what `measure_abstention` found, a row an exclusive group."""
    header = ["", "called from", "known classes", "called", "accuracy", "of the called", "unknown classes", "abstained"]
    rows = [
        [
            group,
            f"{found['threshold']:.3f}",
            f"{found['known']:,}",
            *(with_interval(found[name], None) for name in ("kept", "accuracy", "accuracy_of_kept")),
            f"{found['unknown']:,}",
            *(with_interval(found[name], None) for name in ("abstained", "auroc")),
        ]
        for group, found in groups.items()
    ]
    return [*header, "AUROC of known against unknown"], rows


def _abstention(group: str, found: Mapping[str, Any]) -> str:
    """What `measure_abstention` found, as a sentence."""
    parts = []
    if found["known"]:
        right = found["accuracy_of_kept"]
        part = f"{_percent(found['kept'])} of {found['known']:,} samples of known classes"
        parts.append(part + ("" if right is None else f", {_percent(right)} of them rightly"))
    if found["unknown"]:
        parts.append(f"{_percent(1 - found['abstained'])} of {found['unknown']:,} of classes that train never had")
    if found["auroc"] is not None:
        parts.append(f"AUROC of known against unknown {found['auroc']:.3f}")
    return f"{group}, called from a probability of {found['threshold']:.3f} on: {'; '.join(parts)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def about_intervals(metrics: Mapping[str, Any]) -> str:
    """How the intervals were made."""
    drawn = metrics["bootstrap"]
    return (
        f"in brackets: 95 % intervals from {drawn['replicates']:,} bootstrap replicates of {drawn['blocks']:,} blocks "
        f"({drawn['block']})"
    )


def classification_report(metrics: Metrics, counts: BinaryCounts) -> str:
    """The full text: precision, recall and F1 of each target at its threshold or as the highest, and its ranking.

    Laid out as scikit-learn's, with a section a group; what has no positive is shown with "-".
    """
    width = max(20, *(len(target.name) for target in metrics.targets))
    columns = {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1-score": counts.f1,
        "support": metrics.positives,
        "avg prec": metrics.average_precision,
        "AUROC": metrics.auroc,
    }
    lines = [" " * width + "".join(f"{title:>11}" for title in columns)]
    groups = np.array([target.group for target in metrics.targets])
    for group in dict.fromkeys(groups.tolist()):
        chosen = np.flatnonzero(groups == group)
        lines += ["", group] if group else [""]
        for target in chosen.tolist():
            cells = (values[target] for values in columns.values())
            lines.append(f"{metrics.targets[target].name:>{width}}" + "".join(map(_cell, cells)))
        occurring = chosen[metrics.positives[chosen] > 0]
        if not len(occurring):
            continue
        support, total = metrics.positives[occurring], int(metrics.positives[occurring].sum())
        for title, weights in (("macro avg", None), ("weighted avg", support)):
            means = [
                float(np.average(columns[name][occurring], weights=weights))
                for name in ("precision", "recall", "f1-score")
            ]
            lines.append(f"{title:>{width}}" + "".join(map(_cell, (*means, total))))
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, int | np.integer):
        return f"{value:>11,}"
    return f"{'-':>11}" if np.isnan(value) else f"{value:>11.3f}"
