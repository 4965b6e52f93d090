"""The command line: parses, calls the library, prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from seqclass import __version__
from seqclass.cli.data import add_data_commands
from seqclass.cli.drift import add_drift_command
from seqclass.cli.embed import add_embed_command
from seqclass.cli.evaluation import add_evaluation_commands
from seqclass.cli.explain import add_explain_command
from seqclass.cli.export import add_export_command
from seqclass.cli.models import add_models_commands
from seqclass.cli.parsing import add_command, add_force
from seqclass.cli.prediction import add_predict_command
from seqclass.cli.pretrain import add_pretrain_command, pretrain
from seqclass.cli.serve import add_serve_command
from seqclass.cli.variants import add_variants_command
from seqclass.terminal import plain_errors, say, take_debug

_MODEL = "name of the model, which a --config FILE of a run also says; --model NAME --help lists all options"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `seqclass` with the arguments given (default: this process's)."""
    words, debug = take_debug(sys.argv[1:] if arguments is None else arguments)
    options, rest = command_parser().parse_known_args(words)
    if rest and options.command not in (_fit, pretrain):
        options.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    with plain_errors(debug):
        options.command(options)


def command_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what follows `fit` and its like is left to the model's own parser."""
    parser = argparse.ArgumentParser(
        prog="seqclass",
        description="Classifiers for DNA and protein sequences.",
        epilog="With --debug, any command shows the traceback of an error.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_data_commands(add_command(commands, "data", "turn raw data into a store, look at a store, simulate data"))
    add_models_commands(add_command(commands, "models", "list the models, show one, join trained ones"))

    fit = add_command(commands, "fit", "train a registered model on a store", _fit, add_help=False)
    fit.usage = "seqclass fit --model NAME --data.store STORE [--config FILE] [--out FOLDER] [--force] [--resume] [...]"
    fit.add_argument("--model", metavar="NAME", help=_MODEL)
    fit.add_argument("--name", help="name of the run, which goes to runs/NAME (default: the model's name)")
    fit.add_argument(
        "--sagemaker",
        nargs="?",
        const="/opt/ml",
        metavar="FOLDER",
        help="a SageMaker job: model, data and options from its variables (default: %(const)s)",
    )

    find = add_command(commands, "lr-find", "look for a learning rate before training", _fit, add_help=False)
    find.usage = "seqclass lr-find --model NAME --data.store STORE [--out FOLDER] [--force] [--steps N] [...]"
    find.add_argument("--model", metavar="NAME", help=_MODEL)
    find.add_argument("--name", help="name of the run, whose folder the picture goes to (default: the model's name)")

    add_pretrain_command(commands)

    folds = add_command(commands, "cross-validate", "train and judge a model a fold", _fit, add_help=False)
    folds.usage = (
        "seqclass cross-validate --model NAME --data.store STORE [--folds K] [--by stratified|group|cluster] "
        "[--out FOLDER] [--force] [...]"
    )
    folds.add_argument("--model", metavar="NAME", help=_MODEL)
    folds.add_argument("--name", help="name of the run, which goes to runs/NAME-folds (default: the model's name)")

    sweep = add_command(commands, "sweep", "look for the options that train best", _fit, add_help=False)
    sweep.usage = (
        "seqclass sweep [--model NAME] --space FILE [--config FILE] [--trials N] [--storage PATH_OR_URL] [...]"
    )
    sweep.add_argument("--model", metavar="NAME", help=_MODEL)
    sweep.add_argument("--name", help="name of the study (default: the model's name)")

    add_evaluation_commands(commands)

    add_predict_command(commands)

    calibrate = add_command(commands, "calibrate", "fit a bundle's probabilities to validation samples", _calibrate)
    calibrate.add_argument("bundle", help="folder of the bundle, such as one that 'seqclass models join' wrote")
    calibrate.add_argument("store", help="store with the bundle's targets and a validation split")
    calibrate.add_argument("--out", required=True, help="folder of the calibrated bundle")
    add_force(calibrate)

    add_embed_command(commands)

    add_explain_command(commands)

    add_variants_command(commands)

    add_export_command(commands)

    add_serve_command(commands)

    add_drift_command(commands)
    return parser


def _fit(options: argparse.Namespace) -> None:
    from seqclass.models import get_model, list_models

    if vars(options).get("sagemaker") is not None:
        from seqclass.training.sagemaker import fit_sagemaker

        fit_sagemaker(options.sagemaker, os.environ, options.rest)
        return
    if options.model is None:
        options.model = _configured_model(options.rest)
    if options.model is None:
        models = f"models: {', '.join(list_models())}"
        if {"-h", "--help"} & set(options.rest):
            options.parser.epilog = models
            options.parser.print_help()
            return
        options.parser.error(f"which model? --model NAME; {models}")
    from seqclass.training import run_experiment

    build = get_model(options.model)
    run_experiment(
        build, name=options.name or build.__name__, arguments=[options.parser.prog.split()[-1], *options.rest]
    )


def _configured_model(words: Sequence[str]) -> str | None:
    """The name of the model that a configuration file among the words is for."""
    import yaml

    files = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    files.add_argument("--config")
    file = files.parse_known_args(list(words))[0].config
    if file is None or not Path(file).is_file():
        return None
    try:
        config = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    name = config.get("model_name") if isinstance(config, dict) else None
    return name if isinstance(name, str) else None


def _calibrate(options: argparse.Namespace) -> None:
    from seqclass.atomic import check_free
    from seqclass.bundle import Bundle
    from seqclass.data.store import Store
    from seqclass.drift import summarise, was_trained_on
    from seqclass.evaluation.calibration import calibrate, sentence

    check_free(options.out, options.force, holding="config.json", inputs=(options.store,))
    store = Store(options.store)
    bundle = calibrate(Bundle.load(options.bundle), store)
    if was_trained_on(bundle, store):
        bundle = summarise(bundle, store)
    else:
        say("no training summary is written, since the store is not the one that the bundle was trained on")
    bundle.save(options.out, force=options.force)
    say(sentence(bundle.provenance["calibration"]))
    say(f"wrote {options.out}")
