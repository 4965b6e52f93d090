"""What was found of drift: a page that needs nothing else, JSON, and a table for the terminal."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from seqclass import __version__
from seqclass.atomic import atomic_folder, check_free
from seqclass.bundle import Bundle
from seqclass.drift.measure import MATTERS, Aspect, Drift, measure_drift
from seqclass.drift.permutation import FALSE_ALARMS
from seqclass.drift.pictures import plot_composition, plot_lengths, plot_map, plot_norms, plot_predictions
from seqclass.page import picture, table, write_page
from seqclass.predict import LengthPolicy

MARKER = "drift.json"
"""The file by which the folder of such a report is known."""

_GRADES = {"same": "ok", "shifted": "leak", "cannot say": "note"}
_STYLES = {"same": "green", "shifted": "bold red", "cannot say": "yellow"}


def write_drift(
    bundle: Bundle,
    fasta: str | Path,
    out: str | Path,
    *,
    length_policy: LengthPolicy = "error",
    force: bool = False,
) -> dict[str, Any]:
    """Measures drift and writes a folder of `index.html`, `drift.json` and the page's pictures.

    Args:
        bundle: With a training summary.
        fasta: New sequences, plain or gzip.
        out: The folder to write.
        length_policy: As for `measure_drift`.
        force: Replace the report that stands at `out`.

    Returns:
        What `drift.json` holds.

    Raises:
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands at `out` is no such report or holds an input, or the disk is full.
        BundleError: The bundle has no training summary.
        SequenceError: As for `measure_drift`.
    """
    check_free(out, force, holding=MARKER, inputs=(fasta, bundle.path))
    drift = measure_drift(bundle, fasta, length_policy=length_policy)
    summary = bundle.summary
    assert summary is not None
    found = {
        "bundle": None if bundle.path is None else str(bundle.path),
        "version": bundle.version,
        "sequences": str(fasta),
        "looked_at": len(drift.sample.tokens),
        "total": drift.sample.total,
        "training_samples": len(summary.lengths),
        "validation_samples": len(summary.calls_each),
        "shifted": [each.name for each in drift.aspects if each.verdict == "shifted"],
        "false_alarms": FALSE_ALARMS,
        "aspects": {each.name: {**asdict(each), "matters_from": MATTERS[each.name]} for each in drift.aspects},
        "seqclass": __version__,
        "command": shlex.join(sys.argv),
    }
    with atomic_folder(out, holding=MARKER, force=force) as folder:
        (folder / MARKER).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        _draw(folder, bundle, drift)
        write_page(folder / "index.html", f"Drift of {Path(fasta).name}", _body(folder, found, drift))
    return found


def headline(found: dict[str, Any]) -> str:
    """The finding as one sentence."""
    unsure = [
        name for name, each in found["aspects"].items() if each["verdict"] == "cannot say" and each["shift"] is not None
    ]
    told = f"shifted: {', '.join(found['shifted'])}" if found["shifted"] else "no drift was found"
    return told + (f"; too few sequences to tell: {', '.join(unsure)}" if unsure else "")


def summary_table(found: dict[str, Any]) -> Table:
    """The finding as a table for the terminal."""
    lines = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("", "verdict", "finding"):
        lines.add_column(title, no_wrap=title != "finding", overflow="fold")
    for name, each in found["aspects"].items():
        lines.add_row(name, Text(each["verdict"], style=_STYLES[each["verdict"]]), Text(each["statement"]))
    return lines


def about(found: dict[str, Any]) -> str:
    """What was held against what, and how to read it."""
    drawn = "" if found["looked_at"] == found["total"] else f" of {found['total']:,}, drawn at random,"
    return (
        f"{found['looked_at']:,} sequences{drawn} against {found['training_samples']:,} training samples (composition, "
        f"length) and {found['validation_samples']:,} validation samples (embedding, predictions, abstention); of "
        f"sequences of the same source an aspect is called shifted in less than {100 * found['false_alarms']:g} of 100 "
        "comparisons"
    )


def _draw(folder: Path, bundle: Bundle, drift: Drift) -> None:
    summary = bundle.summary
    assert summary is not None
    by_name = {each.name: each for each in drift.aspects}
    plot_composition(folder / "composition.png", summary, drift.letters, bundle.alphabet.letters)
    if len(np.unique(np.concatenate([summary.lengths, drift.sample.lengths]))) > 1:
        plot_lengths(folder / "length.png", summary, drift.sample.lengths, bundle.alphabet.unit)
    if len(summary.components):
        plot_map(folder / "embedding.png", summary, bundle.targets, drift.points)
        plot_norms(folder / "norms.png", summary, drift.norms, drift.residuals)
    plot_predictions(folder / "predictions.png", by_name["predictions"].details)


def _body(folder: Path, found: dict[str, Any], drift: Drift) -> Iterable[str]:
    said = headline(found)
    yield f"<h1>{escape(Path(found['sequences']).name)}: {escape(said)}</h1>"
    yield f"<p>{escape(about(found))}.<br><small>Model version {escape(found['version'])}</small></p>"
    rows = "".join(
        f'<tr><td>{each.name}</td><td><span class="grade {_GRADES[each.verdict]}">'
        f"{each.verdict.replace(' ', '&nbsp;')}</span></td><td>{escape(each.statement)}</td></tr>\n"
        for each in drift.aspects
    )
    yield f"<table>{rows}</table>"
    for aspect in drift.aspects:
        files = [folder / f"{aspect.name}.png", *([folder / "norms.png"] if aspect.name == "embedding" else [])]
        shown = [picture(file, aspect.name) for file in files if file.exists()]
        if shown or aspect.details:
            yield f"<h2>{aspect.name.capitalize()}</h2>{''.join(shown)}"
            yield from _changes(aspect)


def _changes(aspect: Aspect) -> Iterable[str]:
    if aspect.shift is not None and aspect.by_chance is not None:
        yield (
            f"<p><small>shift {aspect.shift:.3f}; by chance alone up to {aspect.by_chance:.3f}; matters from "
            f"{MATTERS[aspect.name]:g}</small></p>"
        )
    if aspect.details:
        before = "training" if aspect.name in ("composition", "length") else "validation"
        rows = [[str(each["name"]), f"{each['before']:.4g}", f"{each['new']:.4g}"] for each in aspect.details]
        yield table(["", before, "new"], rows)
