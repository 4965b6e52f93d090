"""`seqclass data ...`: from raw data to a store, and what a store holds."""

from __future__ import annotations

import argparse
import sys

from seqclass.cli.imports import add_import_commands
from seqclass.cli.parsing import add_command, add_force, add_several, keywords
from seqclass.cli.simulations import add_simulate_commands
from seqclass.terminal import note, say, show


def add_data_commands(data: argparse.ArgumentParser) -> None:
    """Adds what follows `seqclass data`."""
    commands = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    imports = add_command(commands, "import", "turn raw data into a store")
    add_import_commands(imports.add_subparsers(title="kinds", required=True, metavar="KIND"))

    info = add_command(commands, "info", "what a store holds", _info)
    info.add_argument("store", help="path of the store")

    split = add_command(commands, "split", "divide a store's samples into train, valid and test", _split)
    split.add_argument("store", help="path of the store, which gets the new split")
    split.add_argument("--by", required=True, help="random, stratified, group, chromosome or cluster")
    split.add_argument(
        "--fractions",
        type=float,
        nargs=3,
        default=(0.8, 0.1, 0.1),
        metavar=("TRAIN", "VALID", "TEST"),
        help="shares of the samples (default: 0.8 0.1 0.1)",
    )
    split.add_argument("--clusters", help="for cluster: the _cluster.tsv of MMseqs2 or the .clstr file of CD-HIT")
    split.add_argument(
        "--level",
        type=float,
        default=0.1,
        help="for cluster without a table: join sequences whose k-mers have this Jaccard index (default: %(default)s)",
    )
    split.add_argument("--k", type=int, help="length of those k-mers (default: 5 for proteins, 12 for DNA)")
    split.add_argument("--seed", type=int, default=0, help="of what is drawn (default: %(default)s)")
    split.add_argument(
        "--keep-test", action="store_true", help="leave the test split as it is; fractions such as 0.9 0.1 0"
    )

    check = add_command(commands, "check", "look for leakage between splits, empty classes and odd letters", _check)
    check.add_argument("store", help="path of the store")
    check.add_argument("--out", required=True, help="folder for check.html, pairs.tsv and pictures")
    check.add_argument(
        "--level",
        type=float,
        default=0.5,
        help="samples whose k-mers have this Jaccard index are near duplicates (default: %(default)s)",
    )
    check.add_argument("--k", type=int, help="length of the k-mers (default: 5 for proteins, 12 for DNA)")
    check.add_argument("--seed", type=int, default=0, help="of samples that are drawn (default: %(default)s)")
    add_force(check)
    check.epilog = "The exit code is 1 where splits share what they should not."

    negatives = add_command(
        commands, "negatives", "put proteins of no class beside those of a table, as long as they are", _negatives
    )
    negatives.add_argument("positives", help="CSV or TSV with a row a protein")
    negatives.add_argument(
        "--from", dest="negatives", nargs="+", required=True, metavar="TABLE", help="tables of proteins of no class"
    )
    negatives.add_argument("--out", required=True, help="the table to write")
    negatives.add_argument("--label", required=True, help="column of classes in the first table")
    negatives.add_argument("--none", default="none", help="class of the others (default: %(default)s)")
    negatives.add_argument("--sequence", default="sequence", help="column of sequences (default: %(default)s)")
    add_several(negatives, "--group", "columns of families and the like; of each table the first of these that it has")
    negatives.add_argument("--ratio", type=float, default=1.0, help="negatives for each positive (default: 1)")
    negatives.add_argument(
        "--homologues",
        action="store_true",
        help="also keep those like a positive by phmmer, and tell them apart (needs the package pyhmmer)",
    )
    negatives.add_argument("--seed", type=int, default=0, help="of the choice (default: %(default)s)")
    add_force(negatives)

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


def _split(options: argparse.Namespace) -> None:
    from seqclass.data.splits import split_store
    from seqclass.data.store import Store

    store = split_store(
        Store(options.store), **{key: value for key, value in keywords(options).items() if key != "store"}
    )
    for each in store.provenance["split_notes"]:
        note(each)
    say(f"wrote {store.path}")


def _check(options: argparse.Namespace) -> None:
    from seqclass.data.check import check_store
    from seqclass.data.store import Store

    check = check_store(
        Store(options.store), **{key: value for key, value in keywords(options).items() if key != "store"}
    )
    for verdict in check.verdicts:
        say(f"{verdict.grade:5}{verdict.what}: {verdict.finding}")
    say(f"wrote {check.page}")
    if check.leaks:
        sys.exit(1)


def _negatives(options: argparse.Namespace) -> None:
    from seqclass.data.sources.length_matched import add_negatives

    for each in add_negatives(**keywords(options)):
        note(each)
    say(f"wrote {options.out}")


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
    for each in fetch(original, out):
        note(each)
    say(f"wrote {out}")
