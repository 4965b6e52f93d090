"""`seqclass models ...`: which models there are, what they are made of, and several trained ones joined into one."""

from __future__ import annotations

import argparse
import re
from typing import Any

from seqclass.cli.parsing import add_command, add_force
from seqclass.terminal import say, show


def add_models_commands(models: argparse.ArgumentParser) -> None:
    """Adds what follows `seqclass models`."""
    commands = models.add_subparsers(title="commands", required=True, metavar="COMMAND")

    names = add_command(commands, "list", "the models that 'seqclass fit --model' trains", _list)
    names.add_argument("pattern", nargs="?", default="*", help="a shell pattern, such as '*cnn*' (default: all)")

    one = add_command(
        commands, "show", "a model's stages (output shapes, parameters, operations) and its options", _show
    )
    one.add_argument("name", metavar="NAME", help="its name, as 'seqclass models list' shows it")
    one.add_argument("--num-targets", type=int, default=1, help="number of logits (default: %(default)s)")
    one.add_argument("--alphabet", help="dna or protein (default: what the model is for)")
    one.add_argument(
        "--length", type=int, help="residues of a sample (default: the model's, or 1000 of DNA, or 512 of protein)"
    )

    join = add_command(commands, "join", "make one bundle of several, which judges with all of them", _join)
    join.add_argument("bundles", nargs="+", metavar="BUNDLE", help="folders of bundles of the same targets")
    join.add_argument("--out", required=True, help="folder of the joint bundle")
    join.add_argument(
        "--vote", default="mean", help="mean of the probabilities, or majority of the models (default: %(default)s)"
    )
    add_force(join)

    card = add_command(commands, "card", "write a bundle's model card anew, with what you say of it", _card)
    card.add_argument("bundle", help="folder of the bundle; an older one is brought to the present format")
    card.add_argument("--report", help="folder of a report on it, such as 'seqclass evaluate' writes: its figures")
    card.add_argument("--licence", help="of the model, as the Hugging Face hub names them: mit, apache-2.0, cc-by-4.0")
    card.add_argument("--intended-use", metavar="TEXT", help="what it is for")
    card.add_argument("--limits", metavar="TEXT", help="what it is not for")

    push = add_command(commands, "push", "hand a bundle on to the Hugging Face hub, in one commit", _push)
    push.add_argument("bundle", help="folder of the bundle")
    push.add_argument("name", help="user/name, or user/name@branch")
    push.add_argument("--private", action="store_true", help="a repository that is made is for its owner alone")


def _list(options: argparse.Namespace) -> None:
    from inspect import getdoc

    from rich.markup import escape
    from rich.table import Table

    from seqclass.errors import UnknownNameError
    from seqclass.models import get_model, list_models

    names = list_models(options.pattern)
    if not names:
        raise UnknownNameError(f"no model matches '{options.pattern}'", remedy=f"There are: {', '.join(list_models())}")
    table = Table(box=None, show_header=False)
    for name in names:
        table.add_row(name, escape((getdoc(get_model(name)) or "").split("\n")[0]))
    show(table)


def _show(options: argparse.Namespace) -> None:
    import json
    from inspect import signature

    import torch
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from seqclass.models import create_model, get_model, model_options
    from seqclass.models.summary import summarise

    settings: dict[str, Any] = {}
    if options.length is not None and "length" in signature(get_model(options.name)).parameters:
        settings["length"] = options.length
    with torch.device("meta"):
        model = create_model(options.name, num_targets=options.num_targets, alphabet=options.alphabet, **settings)
    stages = summarise(model, options.length)
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("block", overflow="fold")
    for title in ("output", "parameters", "FLOPs a sample"):
        table.add_column(title, justify="right", no_wrap=True)
    for stage in stages:
        if not stage.name:
            table.add_section()
        shape = "" if stage.shape is None else " x ".join(f"{size:,}" for size in stage.shape)
        table.add_row(_indented(stage.name), stage.kind, shape, f"{stage.parameters:,}", f"{stage.flops:,}")
    show(table)
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("option of 'seqclass fit'", no_wrap=True)
    table.add_column("default", overflow="fold")
    for option, default in model_options(options.name).items():
        table.add_row(f"--model.{option}", default if isinstance(default, str) else json.dumps(default))
    show(table)


def _indented(stage: str) -> str:
    """The last part of a stage's name, with its number in a list, two spaces further in than what it is part of."""
    words = re.findall(r"[^.]+(?:\.\d+)?", stage)
    return "  " * (len(words) > 1) + words[-1] if words else "whole model"


def _join(options: argparse.Namespace) -> None:
    import warnings

    from seqclass.atomic import check_free
    from seqclass.bundle import Bundle
    from seqclass.ensemble import join_bundles

    check_free(options.out, options.force, holding="config.json", inputs=options.bundles)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        joint = join_bundles([Bundle.load(path) for path in options.bundles], options.vote)
    for warning in caught:
        say(f"warning: {warning.message}")
    joint.save(options.out, force=options.force)
    say(f"wrote {options.out}: {len(options.bundles):,} models, {len(joint.targets):,} targets")


def _card(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from seqclass.bundle import Bundle
    from seqclass.evaluation.headline import read_metrics, with_report

    bundle = Bundle.load(options.bundle)
    if options.report is not None:
        bundle = with_report(bundle, read_metrics(options.report))
    said = {name: getattr(options, name) for name in ("licence", "intended_use", "limits")}
    about = bundle.provenance.get("about", {}) | {name: text for name, text in said.items() if text is not None}
    replace(bundle, provenance=bundle.provenance | {"about": about}).save(options.bundle, force=True)
    say(f"wrote {options.bundle}: version {bundle.version}")


def _push(options: argparse.Namespace) -> None:
    from seqclass.hub import push

    url = push(options.bundle, options.name, private=options.private)
    say(f"wrote {url}")
    say(f"load it with: seqclass.load('hf://{options.name.removeprefix('hf://')}')")
