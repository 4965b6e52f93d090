"""`seqclass data import KIND`: each raw format's options, and the importer behind them."""

from __future__ import annotations

import argparse
from typing import Any

from seqclass.cli.parsing import add_command, add_force, add_several, keywords
from seqclass.terminal import say


def add_import_commands(kinds: Any) -> None:
    """Adds a command a raw format."""
    _add_peaks(kinds)
    _add_deepsea(kinds)


def _add_peaks(kinds: Any) -> None:
    peaks = add_command(kinds, "peaks", "a genome and peaks on it, cut into bins", _import_peaks)
    peaks.add_argument("--genome", required=True, help="FASTA, plain or gzip")
    peaks.add_argument(
        "--peaks",
        required=True,
        action="extend",
        nargs="+",
        help="a folder, or files: BED or narrowPeak, plain or gzip",
    )
    peaks.add_argument("--out", required=True, help="the store to write")
    peaks.add_argument("--window", type=int, default=1000, help="what a model sees, in bp (default: %(default)s)")
    peaks.add_argument("--bin", type=int, default=200, help="what is labelled, in bp (default: %(default)s)")
    peaks.add_argument(
        "--label-rule", default="auto", help="auto, summit, midpoint or overlap:F (default: %(default)s)"
    )
    peaks.add_argument(
        "--keep",
        default="all",
        help="all bins; labelled ones; or ratio:N without a label for each with one. This holds for every split: with "
        "fewer unlabelled bins to confuse, average precision on test comes out higher (default: %(default)s)",
    )
    peaks.add_argument(
        "--min-positives", type=int, default=1, help="drop targets with fewer positive bins (default: 1)"
    )
    peaks.add_argument("--max-n", type=float, default=0.5, help="drop windows with a larger share of N (default: 0.5)")
    for split in ("valid", "test"):
        add_several(peaks, f"--{split}-chroms", f"chromosomes of the {split} split")
        add_several(peaks, f"--{split}-regions", "regions, as chr7:30508751-35296850")
    add_several(peaks, "--exclude-chroms", "chromosomes left out of everything")
    peaks.add_argument("--blacklist", help="BED; bins that touch it are dropped")
    peaks.add_argument("--names", help="table: file stem, target name, group")
    peaks.add_argument("--chrom-alias", help="table of chromosome names that mean the same")
    peaks.add_argument("--dedupe-targets", action="store_true", help="keep one of targets with identical labels")
    peaks.add_argument("--seed", type=int, default=0, help="of the choice that ratio:N makes")
    add_force(peaks)


def _import_peaks(options: argparse.Namespace) -> None:
    from seqclass.data.sources.peaks import import_peaks

    if len(options.peaks) == 1:
        (options.peaks,) = options.peaks
    _report_import(import_peaks(**keywords(options)))


def _add_deepsea(kinds: Any) -> None:
    deepsea = add_command(kinds, "deepsea", "the MATLAB files of DeepSEA", _import_deepsea)
    for split in ("train", "valid", "test"):
        deepsea.add_argument(f"--{split}", help=f"{split}.mat")
    deepsea.add_argument("--out", required=True, help="the store to write")
    add_force(deepsea)


def _import_deepsea(options: argparse.Namespace) -> None:
    from seqclass.data.sources.deepsea import import_deepsea

    _report_import(import_deepsea(**keywords(options)))


def _report_import(store: Any) -> None:
    for note in store.provenance["notes"]:
        say(f"- {note}")
    say(f"wrote {store.path}: {len(store):,} samples, {store.num_targets:,} targets")
