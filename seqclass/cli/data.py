"""`seqclass data ...`: from raw data to a store, and what a store holds."""

from __future__ import annotations

import argparse

from seqclass.cli.imports import add_import_commands
from seqclass.cli.parsing import add_command
from seqclass.cli.simulations import add_simulate_commands
from seqclass.terminal import say, show


def add_data_commands(data: argparse.ArgumentParser) -> None:
    """Adds what follows `seqclass data`."""
    commands = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    imports = add_command(commands, "import", "turn raw data into a store")
    add_import_commands(imports.add_subparsers(title="kinds", required=True, metavar="KIND"))

    info = add_command(commands, "info", "what a store holds", _info)
    info.add_argument("store", help="path of the store")

    fetch = add_command(commands, "fetch", "download a public data set", _fetch)
    fetch.add_argument("name", nargs="?", metavar="NAME", help="its name; --list shows all")
    fetch.add_argument("--out", metavar="FOLDER", help="where its files go (default: data/NAME)")
    fetch.add_argument("--list", action="store_true", help="show what can be fetched, and on what terms")

    simulate = add_command(commands, "simulate", "write data with known truth, in the raw formats")
    add_simulate_commands(simulate.add_subparsers(title="kinds", required=True, metavar="KIND"))


def _info(options: argparse.Namespace) -> None:
    from seqclass.data.describe import describe
    from seqclass.data.store import Store

    show(describe(Store(options.store)))


def _fetch(options: argparse.Namespace) -> None:
    from rich.table import Table

    from seqclass.data.fetch import fetch
    from seqclass.data.originals import ORIGINALS, get_original

    if options.list:
        table = Table("name", "what", "size", "licence")
        for original in ORIGINALS:
            table.add_row(original.name, original.what, original.size, original.licence)
        show(table)
        return
    if options.name is None:
        options.parser.error("which data set? 'seqclass data fetch --list' shows all")
    original = get_original(options.name)
    out = options.out or f"data/{original.name}"
    say(f"{original.name}: {original.what}")
    say(f"licence: {original.licence}")
    say(f"to cite: {original.citation}")
    for note in fetch(original, out):
        say(f"- {note}")
    say(f"wrote {out}")
