"""A store in words: what it holds, how it is split, how its targets are balanced."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from seqclass.alphabets import DNA
from seqclass.data.store import SPLITS, Store


def describe(store: Store, most_targets: int = 10) -> RenderableType:
    """What `seqclass data info` prints.

    Args:
        store: The store.
        most_targets: How many of the most and of the least frequent targets are listed.
    """
    facts = Table.grid(padding=(0, 2))
    size = store.path.stat().st_size
    lengths = store.views.length
    if store.window is not None:
        window = f"of {store.window:,}"
    else:
        window = f"of {lengths.min():,} to {lengths.max():,} (mean {lengths.mean():,.0f})" if len(store) else "of no"
    kind = f"{store.alphabet.name} letters"
    if store.vector_size:
        kind = f"vectors of {store.vector_size:,} {store.dtype} numbers"
    facts.add_row("store", f"{escape(str(store.path))} ({size / 1e6:,.1f} MB, format version {store.version})")
    facts.add_row("source", str(store.provenance.get("source", "unknown")))
    facts.add_row("sequence", f"{store.num_residues:,} {kind} in {len(store.contig_length):,} contigs")
    strands = f", {int((store.views.strand < 0).sum()):,} on strand -1" if store.alphabet is DNA else ""
    facts.add_row("samples", f"{len(store):,} {window} residues{strands}")
    groups = sorted({target.group for target in store.targets} - {""})
    facts.add_row("targets", f"{store.num_targets:,}" + (f" in groups {escape(', '.join(groups))}" if groups else ""))
    if store.layout.exclusive:
        facts.add_row("exclusive", f"just one target is true in each of: {escape(', '.join(store.layout.exclusive))}")
    if store.groups is not None:
        facts.add_row("kept together", f"{len(store.group_names):,} groups, for splits")
    facts.add_row("sha256", store.checksum())

    splits = Table(title="splits", title_justify="left")
    for heading in (
        "split",
        "samples",
        "labelled",
        "labels a labelled sample",
        "targets without a positive",
        "missing labels",
    ):
        splits.add_column(heading, justify="left" if heading == "split" else "right")
    total = np.zeros(store.num_targets, dtype=np.int64)
    for split in SPLITS:
        samples = store.samples(split)
        positives, known, labelled = store.label_counts(split)
        total += positives
        share = f"{labelled:,} ({labelled / len(samples):.1%})" if len(samples) else "0"
        mean = f"{positives.sum() / labelled:.1f}" if labelled else "-"
        missing = len(samples) * store.num_targets - int(known.sum())
        empty = int((positives == 0).sum())
        splits.add_row(split, f"{len(samples):,}", share, mean, f"{empty:,}", f"{missing:,}")

    order = np.argsort(-total, kind="stable")
    shown = order if len(order) <= 2 * most_targets else np.concatenate([order[:most_targets], order[-most_targets:]])
    targets = Table(title="targets, most frequent first", title_justify="left")
    for heading in ("target", "group", "positives", "share"):
        targets.add_column(heading, justify="right" if heading in ("positives", "share") else "left")
    for place, index in enumerate(shown.tolist()):
        if place == most_targets and len(shown) < len(order):
            targets.add_row(f"... {len(order) - len(shown):,} more ...", "", "", "")
        target = store.targets[index]
        targets.add_row(
            escape(target.name), escape(target.group), f"{total[index]:,}", f"{total[index] / max(1, len(store)):.2%}"
        )
    notes = [f"- {escape(note)}" for note in store.provenance.get("notes", [])]
    return Group(facts, splits, targets, *notes)
