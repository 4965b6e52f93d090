"""`seqclass evaluate` and `seqclass compare`: how good a model is, and which of several is better."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.text import Text

from seqclass.cli.parsing import add_command, add_force, add_several
from seqclass.terminal import say, show


def add_evaluation_commands(commands: Any) -> None:
    """Adds both to the program's commands."""
    evaluate = add_command(commands, "evaluate", "judge a bundle on a split of a store, beside baselines", _evaluate)
    evaluate.add_argument("bundle", help="folder of the bundle, or ONNX file that it was exported to")
    evaluate.add_argument("store", help="store with the bundle's targets")
    evaluate.add_argument("--split", default="test", help="train, valid or test (default: %(default)s)")
    evaluate.add_argument(
        "--out", required=True, help="folder for the report: index.html, metrics.json, predictions.h5 and more"
    )
    evaluate.add_argument(
        "--min-test-positives", type=int, default=10, help="targets with fewer are left out of means (default: 10)"
    )
    evaluate.add_argument("--no-baselines", action="store_true", help="leave out the baselines")
    add_several(
        evaluate,
        "--homology",
        "for proteins, also alignment: phmmer, family_hmm or both (slow; needs the package pyhmmer)",
    )
    add_several(evaluate, "--strata", "a table and columns of it: accuracy also by what stands there of the samples")
    evaluate.add_argument("--full", action="store_true", help="also print precision, recall and F1 of every target")
    add_force(evaluate)

    compare = add_command(
        commands, "compare", "say which of several evaluated runs is better, and how surely", _compare
    )
    compare.add_argument("runs", nargs="+", help="two or more folders of runs or reports, judged on the same samples")


def _evaluate(options: argparse.Namespace) -> None:
    from seqclass.data.store import Store
    from seqclass.evaluation.evaluate import evaluate
    from seqclass.evaluation.report import TEXT, show_report
    from seqclass.onnx_file import open_bundle

    metrics = evaluate(
        open_bundle(options.bundle),
        Store(options.store),
        options.out,
        split=options.split,
        baselines=not options.no_baselines,
        homology=options.homology,
        strata=options.strata,
        min_positives=options.min_test_positives,
        force=options.force,
    )
    show_report(metrics, (Path(options.out) / TEXT).read_text(encoding="utf-8") if options.full else None)
    say(f"wrote {options.out}")


def _compare(options: argparse.Namespace) -> None:
    from seqclass.evaluation.compare import compare_runs, comparison_table
    from seqclass.evaluation.text import about_intervals

    found = compare_runs(options.runs)
    show(comparison_table(found))
    show(Text("\n".join([*(each["verdict"] for each in found["comparisons"]), about_intervals(found)])))
