"""`seqclass predict`: a FASTA file, a pipe or a genome through a bundle."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from seqclass.cli.parsing import add_command, add_force, add_length_policy
from seqclass.terminal import note, say

_FORMATS = ("tsv", "csv", "jsonl", "h5", "beta-lactamase")


def add_predict_command(commands: Any) -> None:
    """Adds `predict`."""
    predict = add_command(commands, "predict", "score a FASTA file, or a genome", _predict)
    predict.usage = (
        "seqclass predict BUNDLE FASTA --out FILE [--format F] [--top-k K] [--length-policy P] [--raw] [--resume] "
        "[--force]\n"
        "       seqclass predict BUNDLE --genome FASTA --out FOLDER [--stride BP] [--raw] [--resume] [--force]"
    )
    predict.add_argument("bundle", help="folder of the bundle, or ONNX file that it was exported to")
    predict.add_argument("fasta", nargs="?", help="sequences, plain or gzip; - for standard input")
    predict.add_argument(
        "--out",
        required=True,
        help="file to write, .tsv, .csv, .jsonl or .h5; - for standard output. With --genome, a folder for a bigWig a "
        "target, or an .h5 file",
    )
    predict.add_argument(
        "--format",
        choices=_FORMATS,
        help="what to write, where the ending of --out does not say it; beta-lactamase is a CSV of protein_id, "
        "predicted_label, confidence_score and prob_betalactamase",
    )
    predict.add_argument("--top-k", type=int, help="tell of so many of the most probable targets (default: of all)")
    predict.add_argument("--raw", action="store_true", help="the model's own probabilities, not calibrated")
    predict.add_argument("--resume", action="store_true", help="go on with a run that was stopped, if there is one")
    genome = predict.add_argument_group("a whole genome")
    genome.add_argument("--genome", help="FASTA of its chromosomes, in place of the sequences")
    genome.add_argument("--stride", type=int, help="bp from one scored stretch to the next (default: a bin)")
    add_length_policy(predict)
    add_force(predict)


def _predict(options: argparse.Namespace) -> None:
    if (options.fasta is None) == (options.genome is None):
        options.parser.error("what is to be scored? a FASTA file, or --genome")
    if options.genome is None and options.stride is not None:
        options.parser.error("--stride is for --genome")
    if options.genome is not None and (options.format or options.top_k is not None):
        options.parser.error("--format and --top-k are not for --genome")
    from seqclass.onnx_file import open_bundle

    bundle = open_bundle(options.bundle)
    rows = _score_genome(bundle, options) if options.genome is not None else _score_sequences(bundle, options)
    # Of processes that share a run, the first speaks.
    if options.out != "-" and os.environ.get("RANK", "0") == "0":
        say(f"wrote {options.out}: {'windows' if options.genome else 'rows'} {rows:,}")


def _score_sequences(bundle: Any, options: argparse.Namespace) -> int:
    from seqclass.predict import write_predictions

    try:
        return write_predictions(
            bundle,
            options.fasta,
            options.out,
            format=options.format,
            top_k=options.top_k,
            length_policy=options.length_policy,
            calibrated=not options.raw,
            resume=options.resume,
            force=options.force,
            tell=note,
        )
    except BrokenPipeError:
        # Whoever reads has seen enough, as 'head' does. Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _score_genome(bundle: Any, options: argparse.Namespace) -> int:
    from seqclass.predict import write_tracks

    return write_tracks(
        bundle,
        options.genome,
        options.out,
        stride=options.stride,
        calibrated=not options.raw,
        resume=options.resume,
        force=options.force,
        tell=note,
    )
