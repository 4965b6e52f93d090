"""`seqclass data import KIND`: each raw format's options, and the importer behind them."""

from __future__ import annotations

import argparse
from typing import Any

from seqclass.cli.parsing import add_command, add_force, add_several, keywords
from seqclass.terminal import note, say


def add_import_commands(kinds: Any) -> None:
    """Adds a command a raw format."""
    _add_peaks(kinds)
    _add_deepsea(kinds)
    _add_pfam(kinds)
    _add_deeploc(kinds)
    _add_fasta(kinds)
    _add_table(kinds)
    _add_embeddings(kinds)


def _add_peaks(kinds: Any) -> None:
    peaks = add_command(kinds, "peaks", "a genome and peaks on it, cut into bins", _import_peaks)
    peaks.add_argument("--genome", required=True, help="FASTA, plain or gzip")
    peaks.add_argument(
        "--peaks",
        action="extend",
        nargs="+",
        default=[],
        help="a folder, or files: BED or narrowPeak, plain or gzip",
    )
    peaks.add_argument(
        "--sheet", help="instead of --peaks, a table with the columns path (relative to it), target and group"
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
        "--negatives",
        help="gc:R for the peaks of one target: R bins without a label for each with one, of its window's GC content",
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
    peaks.add_argument("--names", help="table for --peaks: file stem, target name, group")
    peaks.add_argument("--chrom-alias", help="table of chromosome names that mean the same")
    peaks.add_argument(
        "--lower-case",
        choices=("map", "mask", "strict"),
        default="map",
        help="soft-masked bases: map reads them as upper case, mask as N, strict refuses them (default: map)",
    )
    peaks.add_argument(
        "--ambiguous",
        choices=("mask", "strict"),
        default="mask",
        help="R, Y, ...: mask reads them as N, strict refuses them and N (default: mask)",
    )
    peaks.add_argument("--dedupe-targets", action="store_true", help="keep one of targets with identical labels")
    peaks.add_argument("--seed", type=int, default=0, help="of the choice that ratio:N or gc:R makes")
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


def _add_pfam(kinds: Any) -> None:
    pfam = add_command(kinds, "pfam", "the Pfam seed split: protein domains and their families", _import_pfam)
    pfam.add_argument("folder", help="random_split, with data-*-of-* in train, dev and test; or one such file")
    pfam.add_argument("--out", required=True, help="the store to write")
    _add_policies(pfam)
    _add_unseen(pfam)
    add_force(pfam)


def _import_pfam(options: argparse.Namespace) -> None:
    from seqclass.data.sources.pfam import import_pfam

    _report_import(import_pfam(**_with_policies(options)))


def _add_deeploc(kinds: Any) -> None:
    deeploc = add_command(kinds, "deeploc", "DeepLoc: proteins and where in the cell they are", _import_deeploc)
    deeploc.add_argument("path", help="the FASTA file of DeepLoc 1.0, or the CSV file of 2.0; plain or gzip")
    deeploc.add_argument("--out", required=True, help="the store to write")
    deeploc.add_argument(
        "--multi-label",
        action=argparse.BooleanOptionalAction,
        help="a protein may have several locations, or those with several are dropped (default: as published, which is "
        "one for 1.0 and several for 2.0)",
    )
    deeploc.add_argument(
        "--valid",
        type=float,
        default=0.1,
        help="share of the training proteins of 1.0 to validate with, of each location (default: %(default)s)",
    )
    deeploc.add_argument("--seed", type=int, default=0, help="of that choice")
    for split, number in (("valid", 3), ("test", 4)):
        deeploc.add_argument(
            f"--{split}-partitions",
            type=int,
            nargs="*",
            default=[number],
            help=f"partitions of 2.0 that become the {split} split (default: {number})",
        )
    _add_policies(deeploc, max_length="1000")
    add_force(deeploc)


def _import_deeploc(options: argparse.Namespace) -> None:
    from seqclass.data.sources.deeploc import POLICIES, import_deeploc

    _report_import(import_deeploc(**_with_policies(options, POLICIES)))


def _add_fasta(kinds: Any) -> None:
    fasta = add_command(
        kinds, "fasta", "FASTA with labels in its headers, in a table, or a file a class", _import_fasta
    )
    fasta.add_argument("paths", metavar="FASTA", nargs="+", help="plain or gzip")
    _add_alphabet(fasta)
    fasta.add_argument("--out", required=True, help="the store to write")
    fasta.add_argument(
        "--label-regex",
        help="finds the label in a header, as the first group of a regular expression; each named group is a question",
    )
    fasta.add_argument("--split-regex", help="finds train, valid or test in a header; those without it are in train")
    fasta.add_argument("--group-regex", help="finds what a split must not tear apart, such as a family")
    _add_labels_table(fasta)
    _add_policies(fasta, dna=True)
    _add_unseen(fasta)
    add_force(fasta)


def _import_fasta(options: argparse.Namespace) -> None:
    from seqclass.alphabets import get_alphabet
    from seqclass.data.sources.fasta import import_fasta

    arguments = _with_policies(options)
    _report_import(import_fasta(**{**arguments, "alphabet": get_alphabet(options.alphabet)}))


def _add_table(kinds: Any) -> None:
    table = add_command(kinds, "table", "a table (CSV, TSV) of sequences and labels", _import_table)
    table.add_argument("path", help="CSV or TSV, plain or gzip, whose first line names its columns")
    _add_alphabet(table)
    table.add_argument("--out", required=True, help="the store to write")
    table.add_argument("--sequence", default="sequence", help="column of sequences (default: %(default)s)")
    _add_columns(table, "number of the row")
    _add_policies(table, dna=True)
    _add_unseen(table)
    add_force(table)


def _import_table(options: argparse.Namespace) -> None:
    from seqclass.alphabets import get_alphabet
    from seqclass.data.sources.table import import_table

    arguments = _with_policies(options)
    _report_import(import_table(**{**arguments, "alphabet": get_alphabet(options.alphabet)}))


def _add_embeddings(kinds: Any) -> None:
    embeddings = add_command(
        kinds,
        "embeddings",
        "precomputed vectors of proteins (HDF5), with a table of labels or a file a class",
        _import_embeddings,
    )
    embeddings.add_argument(
        "paths", metavar="HDF5", nargs="+", help="a data set a protein, its name the key or the attribute original_id"
    )
    embeddings.add_argument("--out", required=True, help="the store to write")
    _add_labels_table(embeddings)
    _add_lengths(embeddings)
    _add_unseen(embeddings)
    add_force(embeddings)


def _import_embeddings(options: argparse.Namespace) -> None:
    from seqclass.data.sources.embeddings import import_embeddings

    _report_import(import_embeddings(**_with_policies(options)))


def _add_alphabet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--alphabet", required=True, choices=("dna", "protein"), help="of the sequences")


def _add_labels_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labels-table",
        help="CSV or TSV with a row a sequence (default, if there are no labels elsewhere: each file is a class)",
    )
    _add_columns(parser, "an error")
    parser.add_argument(
        "--unlabelled",
        choices=("error", "drop", "missing"),
        default="error",
        help="what becomes of a sequence without label; missing keeps it (default: %(default)s)",
    )


def _add_columns(parser: argparse.ArgumentParser, without_id: str) -> None:
    parser.add_argument(
        "--labels", nargs="+", default=["label"], help="columns of labels, each a question (default: label)"
    )
    parser.add_argument(
        "--id", help=f"column of names (default: id, name or accession, whichever there is first; else {without_id})"
    )
    parser.add_argument("--split", help="column that says train, valid or test (default: all is train)")
    parser.add_argument("--group", help="column of what a split must not tear apart, such as a family")
    parser.add_argument("--label-separator", help="what stands between labels where a sequence has several, as ';'")


def _add_policies(parser: argparse.ArgumentParser, *, max_length: str = "any", dna: bool = False) -> None:
    """Options on letters, lengths and copies; left out, the library's defaults hold."""
    rules = [
        ("lower-case", "lower case: map reads it as upper case (default: map)"),
        ("gaps", "'.' and '-': map removes them (default: strict)"),
        ("stop", "'*' at the end: map removes it (default: map)"),
        ("ambiguous", "letters for several residues: map reads the most similar protein residue (default: mask)"),
    ]
    if dna:
        rules.append(("uracil", "U in DNA: map reads it as T (default: map)"))
    for name, meaning in rules:
        parser.add_argument(
            f"--{name}",
            choices=("strict", "mask", "map"),
            default=argparse.SUPPRESS,
            help=f"{meaning}; strict refuses them, mask reads them as unknown",
        )
    _add_lengths(parser, max_length)


def _add_lengths(parser: argparse.ArgumentParser, max_length: str = "any") -> None:
    parser.add_argument(
        "--max-length",
        type=int,
        default=argparse.SUPPRESS,
        help=f"the longest that a sample may be (default: {max_length})",
    )
    parser.add_argument(
        "--too-long",
        choices=("head", "tail", "both-ends", "windows"),
        default=argparse.SUPPRESS,
        help="what is kept of a longer sequence (default: both-ends)",
    )
    parser.add_argument(
        "--dedupe",
        action="store_true",
        default=argparse.SUPPRESS,
        help="keep one of identical sequences, and report labels that contradict each other",
    )


def _add_unseen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unseen",
        choices=("drop", "unknown"),
        default=argparse.SUPPRESS,
        help="of a class that train never has: drop the samples, or keep them without label (default: drop)",
    )


def _with_policies(options: argparse.Namespace, base: Any = None) -> dict[str, Any]:
    """The options as keyword arguments, of which those on letters, lengths and copies are `policies`."""
    from dataclasses import fields, replace

    from seqclass.data.letters import LetterPolicy
    from seqclass.data.sources.records import Policies

    arguments = keywords(options)
    policies = base or Policies()
    for rule in fields(LetterPolicy):
        if rule.name in arguments:
            policies = replace(policies, letters=replace(policies.letters, **{rule.name: arguments.pop(rule.name)}))
    for choice in fields(Policies):
        if choice.name in arguments:
            policies = replace(policies, **{choice.name: arguments.pop(choice.name)})
    return {**arguments, "policies": policies}


def _report_import(store: Any) -> None:
    for each in store.provenance["notes"]:
        note(each)
    say(f"wrote {store.path}: {len(store):,} samples, {store.num_targets:,} targets")
