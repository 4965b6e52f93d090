"""`seqclass data ...`: from raw data to a store, and what a store holds."""

from __future__ import annotations

import argparse

from seqclass.cli.imports import add_import_commands
from seqclass.cli.parsing import add_command
from seqclass.cli.simulations import add_simulate_commands
from seqclass.terminal import show


def add_data_commands(data: argparse.ArgumentParser) -> None:
    """Adds what follows `seqclass data`."""
    commands = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    imports = add_command(commands, "import", "turn raw data into a store")
    add_import_commands(imports.add_subparsers(title="kinds", required=True, metavar="KIND"))

    info = add_command(commands, "info", "what a store holds", _info)
    info.add_argument("store", help="path of the store")

    simulate = add_command(commands, "simulate", "write data with known truth, in the raw formats")
    add_simulate_commands(simulate.add_subparsers(title="kinds", required=True, metavar="KIND"))


def _info(options: argparse.Namespace) -> None:
    from seqclass.data.describe import describe
    from seqclass.data.store import Store

    show(describe(Store(options.store)))
