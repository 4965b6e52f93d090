"""`sweep` as the command line says it: its own options, and with them all those of `fit`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from seqclass.errors import MissingPackageError, TrainingError
from seqclass.models import Classifier


def run_sweep(
    build: Callable[..., Classifier],
    name: str,
    fit: ArgumentParser,
    save_config: Callable[[Namespace, Path], None],
    arguments: Sequence[str],
) -> dict[str, Any]:
    """Trains a model under many configurations, and writes the best one.

    Args:
        build: Builds the model.
        name: Of the study; unless `--out` says otherwise its results go to `runs/NAME-sweep`.
        fit: The parser of `fit`, whose options, given or read by `--config`, are those that the space varies.
        save_config: Writes options of `fit` to a file.
        arguments: What follows `sweep` on the command line.

    Returns:
        "value", the best trial's metric on validation, and "options", what it was reached with; empty where no trial
        was completed.

    Raises:
        MissingPackageError: Optuna is not installed.
        SeqclassError: The space, the storage or the options are not what they should be.
        SystemExit: A signal asked to stop; the exit code is 128 and the signal's number.
    """
    if find_spec("optuna") is None:
        raise MissingPackageError("A sweep", "optuna", "sweep")
    from seqclass.training.sweep.study import Sweep

    options, rest = _parser(name).parse_known_args(list(arguments))
    if options.trials < 1:
        raise TrainingError(f"a sweep of {options.trials} trials", remedy="Let --trials be at least 1")
    if options.config is not None:
        rest = [f"--config={options.config}", *rest]
    sweep = Sweep(build, name, fit, save_config, fit.parse_args(rest), Path(options.space), Path(options.out))
    return sweep.run(options.trials, options.storage)


class _Parser(argparse.ArgumentParser):
    """Ends a wrong option as one sentence, without a page of usage before it."""

    def error(self, message: str) -> NoReturn:
        raise TrainingError(message, remedy="See --help for all options")


def _parser(name: str) -> argparse.ArgumentParser:
    parser = _Parser(
        usage="... sweep --space FILE [--config FILE] [--trials N] [--storage PATH_OR_URL] [--out FOLDER] [...]",
        description="Train under many configurations, to find the one that is best on validation.",
        epilog="All options of 'fit' are taken too (see fit --help): they are what the space departs from.",
        allow_abbrev=False,
    )
    parser.add_argument("--space", required=True, help="YAML file: the options to vary, and between which values")
    parser.add_argument("--config", metavar="FILE", help="YAML file of options of fit, as fit --print_config prints it")
    parser.add_argument(
        "--trials", type=int, default=50, help="the study is to have, of all workers and starts (default: 50)"
    )
    parser.add_argument(
        "--storage", metavar="PATH_OR_URL", help="journal file, or URL of a database (default: OUT/study.journal)"
    )
    parser.add_argument(
        "--out", default=str(Path("runs") / f"{name}-sweep"), help="folder of the results (default: %(default)s)"
    )
    return parser
