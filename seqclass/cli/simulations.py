"""`seqclass data simulate KIND`: data with known truth, in the raw formats."""

from __future__ import annotations

import argparse
from typing import Any

from seqclass.cli.parsing import Command, add_command, add_force, keywords
from seqclass.terminal import say


def add_simulate_commands(kinds: Any) -> None:
    """Adds a command a kind of data."""
    _add(kinds, "peaks", "a genome with planted motifs, and peaks on it", _simulate_peaks)

    deepsea = _add(kinds, "deepsea", "windows with planted motifs in DeepSEA's MATLAB files", _simulate_deepsea)
    for split, size in (("train", 4000), ("valid", 400), ("test", 800)):
        _add_count(deepsea, split, size, f"windows in {split}, both strands counted")
    _add_count(deepsea, "targets", 16, "how many, each with its motif; with 919 they get DeepSEA's names")

    pfam = _add(kinds, "pfam", "protein families evolved along trees, in the Pfam seed split's layout", _simulate_pfam)
    _add_count(pfam, "families", 20, "how many")
    _add_count(pfam, "members", 40, "of each family")
    pfam.add_argument(
        "--depth", type=float, default=0.8, help="substitutions a site since the root (default: %(default)s)"
    )
    pfam.add_argument(
        "--indels", type=float, default=0.02, help="insertions and deletions a substitution (default: %(default)s)"
    )

    deeploc = _add(kinds, "deeploc", "proteins with sorting signals, in DeepLoc's formats", _simulate_deeploc)
    _add_count(deeploc, "proteins", 1000, "how many")

    fasta = _add(kinds, "fasta", "proteins of three classes told by motifs, as FASTA", _simulate_fasta)
    _add_count(fasta, "proteins", 600, "how many")

    table = _add(kinds, "table", "proteins with two motif labels, some missing, as CSV", _simulate_table)
    _add_count(table, "proteins", 600, "how many")

    embeddings = _add(kinds, "embeddings", "vectors of known best accuracy, as HDF5", _simulate_embeddings)
    _add_count(embeddings, "proteins", 1000, "how many")
    _add_count(embeddings, "classes", 3, "how many")
    _add_count(embeddings, "dimensions", 64, "of a vector")
    embeddings.add_argument(
        "--accuracy", type=float, default=0.9, help="of the best possible classifier (default: %(default)s)"
    )
    embeddings.add_argument("--residues", action="store_true", help="a vector a residue, not a protein")
    embeddings.add_argument(
        "--layout",
        choices=("biotrainer", "prottrans", "classes"),
        default="biotrainer",
        help="hashed keys, names as keys, or one file a class (default: %(default)s)",
    )

    vcf = _add(kinds, "vcf", "a genome with motif sites, and variants in and between them", _simulate_vcf)
    _add_count(vcf, "chromosomes", 2, "how many")
    _add_count(vcf, "length", 50_000, "of each chromosome, in bp")


def _add(kinds: Any, name: str, summary: str, command: Command) -> argparse.ArgumentParser:
    parser = add_command(kinds, name, summary, command)
    parser.add_argument("--out", required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    add_force(parser)
    return parser


def _add_count(parser: argparse.ArgumentParser, name: str, default: int, summary: str) -> None:
    parser.add_argument(f"--{name}", type=int, default=default, help=f"{summary} (default: %(default)s)")


def _report(out: str) -> None:
    say(f"wrote {out}; its README.txt says what it holds")


def _simulate_peaks(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.peaks import simulate_peaks

    simulate_peaks(**keywords(options))
    _report(options.out)


def _simulate_deepsea(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.deepsea import simulate_deepsea

    simulate_deepsea(**keywords(options))
    _report(options.out)


def _simulate_pfam(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.families import simulate_pfam

    simulate_pfam(**keywords(options))
    _report(options.out)


def _simulate_deeploc(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.localisation import simulate_deeploc

    simulate_deeploc(**keywords(options))
    _report(options.out)


def _simulate_fasta(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.motif_proteins import simulate_fasta

    simulate_fasta(**keywords(options))
    _report(options.out)


def _simulate_table(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.motif_proteins import simulate_table

    simulate_table(**keywords(options))
    _report(options.out)


def _simulate_embeddings(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.embeddings import simulate_embeddings

    simulate_embeddings(**keywords(options))
    _report(options.out)


def _simulate_vcf(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.variants import simulate_vcf

    simulate_vcf(**keywords(options))
    _report(options.out)
