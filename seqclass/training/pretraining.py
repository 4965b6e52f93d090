"""Language-model pretraining from the command line, with every option under a dotted name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

from jsonargparse import ArgumentParser

from seqclass.models import Classifier
from seqclass.terminal import plain_errors, take_debug
from seqclass.training.language_data import LanguageDataModule
from seqclass.training.language_task import LanguageModel, LanguageRecipe
from seqclass.training.options import Parser, add_model, add_run, add_trainer, default_folder, save_options
from seqclass.training.pretrain import pretrain_run
from seqclass.training.rehearsal import Rehearsal

_FAST = "--fast"


def run_pretraining(
    build: Callable[..., LanguageModel | Classifier],
    *,
    name: str,
    defaults: dict[str, Any] | None = None,
    rehearsal: Rehearsal | None = None,
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Pretrains a language model as the command line says: `fit` and its options.

    Args:
        build: Builds the model, or a classifier whose embedding, stem and encoder are to be pretrained. Its typed
            arguments become `--model.*`; those that say what the store holds, such as `alphabet`, are read from it.
        name: Of the run; it goes to `runs/NAME` unless `--out` says otherwise.
        defaults: Other defaults, by dotted name: `{"trainer.max_epochs": 10}`.
        rehearsal: What `fit --fast` trains on, and how; the run is called `NAME-fast`. Without one there is no --fast.
        arguments: The command line without the program's name. By default this process's; then bad input ends the
            process with one red line and exit code 2 (with `--debug`, a traceback).

    Returns:
        The scores, as in `scores.json`.

    Raises:
        SeqclassError: Bad input, where `arguments` are given; see the message.
    """
    if arguments is None:
        arguments, debug = take_debug(sys.argv[1:])
        with plain_errors(debug):
            return run_pretraining(build, name=name, defaults=defaults, rehearsal=rehearsal, arguments=arguments)
    if rehearsal is not None and _FAST in arguments:
        name = f"{name}-fast"
        defaults = (defaults or {}) | rehearsal.defaults(name)
    fit = _fit_parser(build, name, defaults or {}, rehearsal)
    parser = Parser(description=inspect.getdoc(build))
    parser.add_subcommands(dest="subcommand").add_subcommand("fit", fit)
    options = parser.parse_args(list(arguments)).fit
    if rehearsal is not None and options.fast:
        rehearsal.prepare(name, options.data.store)
    return pretrain_run(build, name, options, lambda file: save_options(fit, options, file))


def _fit_parser(
    build: Callable[..., LanguageModel | Classifier], name: str, defaults: dict[str, Any], rehearsal: Rehearsal | None
) -> ArgumentParser:
    fit = Parser(description="Train on sequences without labels, keep the best epoch on validation, tell its bits.")
    add_run(fit, default_folder(name))
    if rehearsal is not None:
        fit.add_argument(_FAST, action="store_true", help="a rehearsal on simulated data, in under a minute")
    fit.add_argument("--seed", type=int, default=0, help="of initialisation, order, strands and what is hidden")
    fit.add_class_arguments(LanguageDataModule, "data", skip={"along_tape", "seed"})
    add_model(fit, build)
    fit.add_class_arguments(LanguageRecipe, "recipe")
    add_trainer(fit, defaults)
    return fit
