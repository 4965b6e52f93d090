"""`seqclass data simulate KIND`: data with known truth, in the raw formats."""

from __future__ import annotations

import argparse
from typing import Any

from seqclass.cli.parsing import add_command, add_force, keywords
from seqclass.terminal import say


def add_simulate_commands(kinds: Any) -> None:
    """Adds a command a kind of data."""
    simulate = add_command(kinds, "peaks", "a genome with planted motifs, and peaks on them", _simulate_peaks)
    simulate.add_argument("--out", required=True, help="the folder to write")
    simulate.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    add_force(simulate)


def _simulate_peaks(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.peaks import simulate_peaks

    simulate_peaks(**keywords(options))
    say(f"wrote {options.out}; its README.txt says how to import it")
