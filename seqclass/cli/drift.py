"""`seqclass drift`: whether new sequences are like those that a model was trained on."""

from __future__ import annotations

import argparse
from typing import Any

from seqclass.cli.parsing import add_command, add_force, add_length_policy
from seqclass.terminal import say, show


def add_drift_command(commands: Any) -> None:
    """Adds `drift`."""
    drift = add_command(
        commands, "drift", "say whether new sequences are like those that a bundle was trained on", _drift
    )
    drift.add_argument("bundle", help="folder of the bundle, or hf://user/name")
    drift.add_argument("fasta", help="new sequences, plain or gzip")
    drift.add_argument("--out", required=True, help="folder for the report: index.html, drift.json and pictures")
    add_length_policy(drift)
    add_force(drift)


def _drift(options: argparse.Namespace) -> None:
    from seqclass.atomic import check_free
    from seqclass.bundle import Bundle
    from seqclass.drift.report import MARKER, about, headline, summary_table, write_drift

    check_free(options.out, options.force, holding=MARKER, inputs=(options.fasta,))
    found = write_drift(
        Bundle.load(options.bundle),
        options.fasta,
        options.out,
        length_policy=options.length_policy,
        force=options.force,
    )
    show(summary_table(found))
    say(about(found))
    say(headline(found))
    say(f"wrote {options.out}")
