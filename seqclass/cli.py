"""The command line: parses, calls the library, prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from seqclass import __version__
from seqclass.terminal import plain_errors, say, show, take_debug

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `seqclass` with the arguments given (default: this process's)."""
    words, debug = take_debug(sys.argv[1:] if arguments is None else arguments)
    options, rest = _parser().parse_known_args(words)
    if rest and options.command is not _fit:
        options.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    with plain_errors(debug):
        options.command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seqclass",
        description="Classifiers for DNA and protein sequences.",
        epilog="With --debug, any command shows the traceback of an error.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_data(_add(commands, "data", "turn raw data into a store, look at a store, simulate data"))

    fit = _add(commands, "fit", "train a registered model on a store", _fit, add_help=False)
    fit.usage = "seqclass fit --model NAME --data.store STORE [--out FOLDER] [--force] [--trainer.max_epochs N] [...]"
    fit.add_argument("--model", metavar="NAME", help="name of the model; --model NAME --help lists all options")
    fit.add_argument("--name", help="name of the run, which goes to runs/NAME (default: the model's name)")

    evaluate = _add(commands, "evaluate", "judge a bundle on a split of a store, beside baselines", _evaluate)
    evaluate.add_argument("bundle", help="folder of the bundle")
    evaluate.add_argument("store", help="store with the bundle's targets")
    evaluate.add_argument("--split", default="test", help="train, valid or test (default: %(default)s)")
    evaluate.add_argument("--out", required=True, help="folder for metrics.json, per_target.tsv and curves.png")
    evaluate.add_argument(
        "--min-test-positives", type=int, default=10, help="targets with fewer are left out of means (default: 10)"
    )
    evaluate.add_argument("--no-baselines", action="store_true", help="leave out the baselines")
    _add_force(evaluate)

    predict = _add(commands, "predict", "score a FASTA file", _predict)
    predict.add_argument("bundle", help="folder of the bundle")
    predict.add_argument("fasta", help="sequences, plain or gzip")
    predict.add_argument("--out", required=True, help="table (TSV) of id, start, end and each target's probability")
    _add_length_policy(predict)
    _add_force(predict)

    explain = _add(commands, "explain", "show where in each sequence a target's evidence lies", _explain)
    explain.add_argument("bundle", help="folder of the bundle")
    explain.add_argument("fasta", help="sequences, plain or gzip")
    explain.add_argument("--target", required=True, help="its name, or the beginning of it")
    explain.add_argument("--method", default="grad-cam", help="grad-cam or hirescam (default: %(default)s)")
    explain.add_argument("--layer", default="stem", help="the sequence block looked at (default: %(default)s)")
    explain.add_argument("--out", required=True, help="folder for saliency.tsv and a picture a sequence")
    explain.add_argument("--max-plots", type=int, default=20, help="pictures at most (default: %(default)s)")
    _add_length_policy(explain)
    _add_force(explain)
    return parser


def _add_data(data: argparse.ArgumentParser) -> None:
    commands = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    kinds = _add(commands, "import", "turn raw data into a store").add_subparsers(
        title="kinds", required=True, metavar="KIND"
    )

    peaks = _add(kinds, "peaks", "a genome and peaks on it, cut into bins", _import_peaks)
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
        _add_several(peaks, f"--{split}-chroms", f"chromosomes of the {split} split")
        _add_several(peaks, f"--{split}-regions", "regions, as chr7:30508751-35296850")
    _add_several(peaks, "--exclude-chroms", "chromosomes left out of everything")
    peaks.add_argument("--blacklist", help="BED; bins that touch it are dropped")
    peaks.add_argument("--names", help="table: file stem, target name, group")
    peaks.add_argument("--chrom-alias", help="table of chromosome names that mean the same")
    peaks.add_argument("--dedupe-targets", action="store_true", help="keep one of targets with identical labels")
    peaks.add_argument("--seed", type=int, default=0, help="of the choice that ratio:N makes")
    _add_force(peaks)

    deepsea = _add(kinds, "deepsea", "the MATLAB files of DeepSEA", _import_deepsea)
    for split in ("train", "valid", "test"):
        deepsea.add_argument(f"--{split}", help=f"{split}.mat")
    deepsea.add_argument("--out", required=True, help="the store to write")
    _add_force(deepsea)

    info = _add(commands, "info", "what a store holds", _info)
    info.add_argument("store", help="path of the store")

    simulated = _add(commands, "simulate", "write data with known truth, in the raw formats").add_subparsers(
        title="kinds", required=True, metavar="KIND"
    )
    simulate = _add(simulated, "peaks", "a genome with planted motifs, and peaks on them", _simulate_peaks)
    simulate.add_argument("--out", required=True, help="the folder to write")
    simulate.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    _add_force(simulate)


def _add(
    commands: Any, name: str, summary: str, command: Command | None = None, add_help: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        add_help=add_help,
        allow_abbrev=False,
    )
    parser.set_defaults(command=command, parser=parser)
    return parser


def _add_several(parser: argparse.ArgumentParser, option: str, summary: str) -> None:
    parser.add_argument(option, action="extend", nargs="+", default=[], help=summary)


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace output of the same kind that exists")


def _add_length_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--length-policy",
        default="error",
        help="what becomes of sequences of another length than a fixed-length model takes: error refuses them, centre "
        "takes the middle (shorter ones get N around), tile scores every window (default: %(default)s)",
    )


def _options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of a command as keyword arguments of the function behind it."""
    return {key: value for key, value in vars(options).items() if key not in ("command", "parser", "rest")}


def _import_peaks(options: argparse.Namespace) -> None:
    from seqclass.data.sources.peaks import import_peaks

    if len(options.peaks) == 1:
        (options.peaks,) = options.peaks
    _report_import(import_peaks(**_options(options)))


def _import_deepsea(options: argparse.Namespace) -> None:
    from seqclass.data.sources.deepsea import import_deepsea

    _report_import(import_deepsea(**_options(options)))


def _report_import(store: Any) -> None:
    for note in store.provenance["notes"]:
        say(f"- {note}")
    say(f"wrote {store.path}: {len(store):,} samples, {store.num_targets:,} targets")


def _info(options: argparse.Namespace) -> None:
    from seqclass.data.describe import describe
    from seqclass.data.store import Store

    show(describe(Store(options.store)))


def _simulate_peaks(options: argparse.Namespace) -> None:
    from seqclass.data.simulate.peaks import simulate_peaks

    simulate_peaks(**_options(options))
    say(f"wrote {options.out}; its README.txt says how to import it")


def _fit(options: argparse.Namespace) -> None:
    from seqclass.models import get_model, list_models

    if options.model is None:
        models = f"models: {', '.join(list_models())}"
        if {"-h", "--help"} & set(options.rest):
            options.parser.epilog = models
            options.parser.print_help()
            return
        options.parser.error(f"which model? --model NAME; {models}")
    from seqclass.training import run_experiment

    build = get_model(options.model)
    run_experiment(build, name=options.name or build.__name__, arguments=["fit", *options.rest])


def _evaluate(options: argparse.Namespace) -> None:
    from seqclass.bundle import Bundle
    from seqclass.data.store import Store
    from seqclass.evaluation.evaluate import evaluate
    from seqclass.evaluation.report import summary_table

    metrics = evaluate(
        Bundle.load(options.bundle),
        Store(options.store),
        options.out,
        split=options.split,
        baselines=not options.no_baselines,
        min_positives=options.min_test_positives,
        force=options.force,
    )
    show(summary_table(metrics))
    say(f"wrote {options.out}")


def _predict(options: argparse.Namespace) -> None:
    from seqclass.bundle import Bundle
    from seqclass.predict import write_predictions

    bundle = Bundle.load(options.bundle)
    rows = write_predictions(
        bundle, options.fasta, options.out, length_policy=options.length_policy, force=options.force
    )
    say(f"wrote {options.out}: rows {rows:,}")


def _explain(options: argparse.Namespace) -> None:
    from seqclass.attribution.explain import explain
    from seqclass.bundle import Bundle

    bundle = Bundle.load(options.bundle)
    files = explain(
        bundle,
        options.fasta,
        options.out,
        target=options.target,
        method=options.method,
        layer=options.layer,
        length_policy=options.length_policy,
        max_plots=options.max_plots,
        force=options.force,
    )
    say(f"wrote {files[0]} and {len(files) - 1:,} pictures")
