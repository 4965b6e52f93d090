"""What a report says of a model in a few figures, to be kept in its bundle and told in its model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqclass.bundle import Bundle
from seqclass.errors import EvaluationError
from seqclass.evaluation.report import MARKER
from seqclass.evaluation.text import about_intervals, accuracy_title

_MEANS = {"average_precision": "mean average precision", "auroc": "mean AUROC"}
_CLASSES = {"accuracy": "", "balanced_accuracy": "balanced ", "macro_f1": "macro F1 of ", "mcc": "MCC of "}

# As the Hugging Face hub calls them, where its name is another.
_TYPES = {"auroc": "roc_auc", "macro_f1": "f1", "mcc": "matthews_correlation"}


def with_report(bundle: Bundle, metrics: Mapping[str, Any]) -> Bundle:
    """The same bundle with the figures of a report on it in its provenance, as "report".

    Args:
        bundle: That was judged.
        metrics: What `metrics.json` holds.
    """
    return replace(bundle, provenance=bundle.provenance | {"report": headline(metrics)})


def headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The split, how many samples it has, "figures" with their intervals and the baselines' beside them, "verdicts".

    Args:
        metrics: What `metrics.json` holds.
    """
    figures = [
        {
            "name": title,
            "type": _TYPES.get(metric, metric),
            "value": metrics["model"][metric]["mean"],
            "interval": metrics["model"][metric].get("interval"),
            "baselines": {name: means[metric]["mean"] for name, means in metrics["baselines"].items()},
        }
        for metric, title in _MEANS.items()
        if metrics["model"][metric]["mean"] is not None
    ]
    for group, scorers in metrics.get("accuracy", {}).items():
        ours = scorers["model"]
        title = accuracy_title(group, ours["classes"])
        figures += [
            {
                "name": f"{prefix}{group}" if prefix.endswith("of ") else f"{prefix}{title}",
                "type": _TYPES.get(metric, metric),
                "value": ours[metric],
                "interval": ours["intervals"][metric],
                "baselines": {name: each[metric] for name, each in scorers.items() if name != "model"},
            }
            for metric, prefix in _CLASSES.items()
        ]
    return {
        "split": metrics["provenance"].get("split", "test"),
        "store": Path(str(metrics["provenance"].get("data", {}).get("store", "a store"))).name,
        "samples": metrics["samples"],
        "figures": figures,
        "verdicts": [each["verdict"] for each in metrics["comparisons"]],
        "intervals": about_intervals(metrics),
    }


def read_metrics(report: str | Path) -> dict[str, Any]:
    """What a report's `metrics.json` holds.

    Raises:
        EvaluationError: There is no report, or it is damaged.
    """
    file = Path(report) / MARKER
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        headline(metrics)
    except OSError as error:
        raise EvaluationError(
            f"there is no report here ({error.strerror})",
            remedy="Give the folder that 'seqclass evaluate' wrote",
            file=file,
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"this is no report that can be read here ({type(error).__name__}: {error})",
            remedy="Judge the bundle again with 'seqclass evaluate'",
            file=file,
        ) from None
    found: dict[str, Any] = metrics
    return found
