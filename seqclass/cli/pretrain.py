"""`seqclass pretrain`: a language model on a store's sequences, from whose weights a classifier can start."""

from __future__ import annotations

import argparse
from typing import Any

from seqclass.cli.parsing import add_command


def add_pretrain_command(commands: Any) -> None:
    parser = add_command(commands, "pretrain", "train a model's trunk to guess letters, before fit", pretrain, False)
    parser.usage = (
        "seqclass pretrain --model NAME --data.store STORE [--out FOLDER] [--force] [--trainer.max_epochs N] [...]"
    )
    parser.add_argument("--model", metavar="NAME", help="name of the model; --model NAME --help lists all options")
    parser.add_argument("--name", help="name of the run, which goes to runs/NAME (default: the model's name and _lm)")


def pretrain(options: argparse.Namespace) -> None:
    """Pretrains a registered model; `options.rest` are the options of the run."""
    from seqclass.models import get_model, list_models

    if options.model is None:
        models = f"models: {', '.join(list_models())}"
        if {"-h", "--help"} & set(options.rest):
            options.parser.epilog = models
            options.parser.print_help()
            return
        options.parser.error(f"which model? --model NAME; {models}")
    from seqclass.training.pretraining import run_pretraining

    build = get_model(options.model)
    run_pretraining(build, name=options.name or f"{build.__name__}_lm", arguments=["fit", *options.rest])
