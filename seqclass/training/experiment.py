"""An experiment from the command line: fit, validate, test and predict, with every option under a dotted name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jsonargparse import ArgumentParser

from seqclass.bundle import Bundle
from seqclass.data.folds import FoldsBy
from seqclass.data.splits import LEVEL
from seqclass.data.store import Store
from seqclass.evaluation.evaluate import evaluate
from seqclass.evaluation.multilabel import MIN_POSITIVES
from seqclass.evaluation.report import show_report
from seqclass.models import Classifier
from seqclass.predict import LengthPolicy, write_predictions
from seqclass.terminal import plain_errors, say, take_debug
from seqclass.training.cross_validation import cross_validate
from seqclass.training.data import StoreDataModule
from seqclass.training.ensemble_run import fit_ensemble
from seqclass.training.fit import fit_run
from seqclass.training.learning_rate_finder import find_learning_rate
from seqclass.training.options import Parser, add_model, add_run, add_trainer, default_folder, save_options
from seqclass.training.rehearsal import Rehearsal
from seqclass.training.sweep import run_sweep
from seqclass.training.task import Recipe

_FAST = "--fast"


def run_experiment(
    build: Callable[..., Classifier],
    *,
    name: str,
    defaults: dict[str, Any] | None = None,
    rehearsal: Rehearsal | None = None,
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Runs one of fit, cross-validate, lr-find, validate, test and predict on a model, as the command line says.

    Args:
        build: Builds the model. Its typed arguments become `--model.*`; `num_targets`, and `alphabet`, `length` (of the
            window), `bin`, `vector_size` and `exclusive` (columns of each group of which just one is true) where it
            takes them, are read from the store.
        name: Of the run; it goes to `runs/NAME` unless `--out` says otherwise.
        defaults: Other defaults, by dotted name: `{"trainer.max_epochs": 10}`.
        rehearsal: What `fit --fast` trains on, and how; the run is called `NAME-fast`. Without one there is no --fast.
        arguments: The command line without the program's name. By default this process's; then bad input ends the
            process with one red line and exit code 2 (with `--debug`, a traceback).

    Returns:
        The metrics, as in `metrics.json`; for lr-find the suggestion; empty for predict.

    Raises:
        SeqclassError: Bad input, where `arguments` are given; see the message.
    """
    if arguments is None:
        arguments, debug = take_debug(sys.argv[1:])
        with plain_errors(debug):
            return run_experiment(build, name=name, defaults=defaults, rehearsal=rehearsal, arguments=arguments)
    if rehearsal is not None and list(arguments[:1]) == ["fit"] and _FAST in arguments:
        name = f"{name}-fast"
        defaults = (defaults or {}) | rehearsal.defaults(name)
    fit = _fit_parser(build, name, defaults or {}, rehearsal)
    if list(arguments[:1]) == ["sweep"]:
        return run_sweep(build, name, fit, partial(save_options, fit), arguments[1:])
    folds = _cross_validation_parser(build, name, defaults or {})
    range_test = _range_test_parser(build, name, defaults or {})
    config = _parser(build, name, fit, range_test, folds).parse_args(list(arguments))
    options = config[config.subcommand]
    if config.subcommand == "fit":
        if rehearsal is not None and options.fast:
            rehearsal.prepare(name, options.data.store)
        if options.ensemble is not None:
            return fit_ensemble(build, name, options, partial(save_options, fit))
        return fit_run(build, name, options, lambda file: save_options(fit, options, file))
    if config.subcommand == "cross-validate":
        return cross_validate(build, name, options, partial(save_options, folds))
    if config.subcommand == "lr-find":
        return find_learning_rate(build, name, options)
    bundle = Bundle.load(options.bundle)
    if config.subcommand == "predict":
        rows = write_predictions(
            bundle, options.fasta, options.out, length_policy=options.length_policy, force=options.force, tell=say
        )
        say(f"wrote {options.out}: rows {rows:,}")
        return {}
    split = {"validate": "valid", "test": "test"}[config.subcommand]
    metrics = evaluate(
        bundle,
        Store(options.store),
        options.out,
        split=split,
        baselines=options.baselines,
        min_positives=options.min_test_positives,
        force=options.force,
    )
    show_report(metrics)
    return metrics


def _fit_parser(
    build: Callable[..., Classifier], name: str, defaults: dict[str, Any], rehearsal: Rehearsal | None
) -> ArgumentParser:
    fit = Parser(description="Train, keep the best epoch on validation, evaluate it on the test split.")
    add_run(fit, default_folder(name))
    if rehearsal is not None:
        fit.add_argument(_FAST, action="store_true", help="a rehearsal on simulated data, in under a minute")
    fit.add_argument(
        "--ensemble",
        type=int | None,
        default=None,
        help="train so many models, of this seed and the following ones, and join them into one bundle",
    )
    fit.add_argument("--evaluate", type=bool, default=True, help="judge the best epoch on the test split")
    _add_judging(fit)
    _add_training(fit, build, defaults)
    return fit


def _cross_validation_parser(build: Callable[..., Classifier], name: str, defaults: dict[str, Any]) -> ArgumentParser:
    folds = Parser(
        description="Train a model for each fold of train and valid, and judge each sample by the one that did not see "
        "it. The test split is left alone."
    )
    add_run(folds, default_folder(f"{name}-folds"))
    folds.add_argument("--folds", type=int, default=5, help="how many")
    folds.add_argument(
        "--by", type=FoldsBy, default="stratified", help="what is divided evenly, or stays whole: see 'data split'"
    )
    folds.add_argument(
        "--clusters", type=str | None, default=None, help="for cluster: the table of MMseqs2 or the .clstr of CD-HIT"
    )
    folds.add_argument(
        "--level", type=float, default=LEVEL, help="for cluster: the Jaccard index of k-mers that joins two sequences"
    )
    _add_judging(folds)
    _add_training(folds, build, defaults)
    return folds


def _range_test_parser(build: Callable[..., Classifier], name: str, defaults: dict[str, Any]) -> ArgumentParser:
    test = Parser(description="Train for some steps under a growing learning rate, to see which one to choose.")
    test.add_argument("--config", action="config", help="YAML file of options, as --print_config prints it")
    test.add_argument(
        "--out", type=str, default=str(default_folder(f"{name}-lr-find")), help="folder for table and picture"
    )
    test.add_argument("--force", action="store_true", help="replace what stands there")
    test.add_argument("--steps", type=int, default=200, help="of training")
    _add_training(test, build, defaults)
    return test


def _add_training(parser: ArgumentParser, build: Callable[..., Classifier], defaults: dict[str, Any]) -> None:
    parser.add_argument("--seed", type=int, default=0, help="of initialisation, order, strands and dropout")
    parser.add_argument(
        "--init_from", type=str | None, default=None, help="folder of a language model or a bundle to start from"
    )
    parser.add_class_arguments(StoreDataModule, "data", skip={"seed"})
    add_model(parser, build)
    parser.add_class_arguments(Recipe, "recipe")
    add_trainer(parser, defaults)


def _parser(
    build: Callable[..., Classifier],
    name: str,
    fit: ArgumentParser,
    range_test: ArgumentParser,
    folds: ArgumentParser,
) -> ArgumentParser:
    parser = Parser(description=inspect.getdoc(build))
    commands = parser.add_subcommands(dest="subcommand")
    commands.add_subcommand("fit", fit)
    commands.add_subcommand("lr-find", range_test)
    # For the list of commands alone: it takes what is not its own to be an option of `fit`, which jsonargparse cannot.
    commands.add_subcommand("sweep", Parser(description="Train under many configurations, to find the best."))
    commands.add_subcommand("cross-validate", folds)
    run = default_folder(name)
    for command, split in (("validate", "validation"), ("test", "test")):
        judge = Parser(description=f"Evaluate the trained bundle on the {split} split.")
        judge.add_argument("--data.store", dest="store", type=str, required=True, help="path of the store")
        judge.add_argument("--bundle", type=str, default=str(run / "bundle"), help="folder of the bundle")
        judge.add_argument("--out", type=str, default=str(run / command), help="folder of the report")
        judge.add_argument("--force", action="store_true", help="replace a report that exists")
        _add_judging(judge)
        commands.add_subcommand(command, judge)

    predict = Parser(description="Score a FASTA file with the trained bundle.")
    predict.add_argument("fasta", type=str, help="sequences, plain or gzip")
    predict.add_argument("--bundle", type=str, default=str(run / "bundle"), help="folder of the bundle")
    predict.add_argument("--out", type=str, default=str(run / "predictions.tsv"), help="table to write")
    predict.add_argument("--length_policy", type=LengthPolicy, default="error", help="for a model of one length")
    predict.add_argument("--force", action="store_true", help="replace a table that exists")
    commands.add_subcommand("predict", predict)
    return parser


def _add_judging(parser: ArgumentParser) -> None:
    parser.add_argument("--baselines", type=bool, default=True, help="fit the baselines and judge them too")
    parser.add_argument(
        "--min_test_positives", type=int, default=MIN_POSITIVES, help="targets with fewer are left out of means"
    )
