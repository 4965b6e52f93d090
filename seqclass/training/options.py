"""What the command lines of all kinds of training have in common."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt

from seqclass.errors import TrainingError
from seqclass.models.registry import FROM_STORE
from seqclass.training.loggers import LoggerName
from seqclass.training.monitoring import FIGURE_STEPS
from seqclass.training.precision import default_precision
from seqclass.training.trainer import OURS


class Parser(ArgumentParser):
    """Ends a wrong option as one sentence, without a page of usage before it."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        problem = re.sub(r'Parser key "([^"]+)"', r"--\1", " ".join(message.split()))
        raise TrainingError(problem.rstrip("."), remedy="See --help for all options") from ex


def add_run(parser: ArgumentParser, out: Path) -> None:
    """Where a run goes, and what it leaves."""
    parser.add_argument("--config", action="config", help="YAML file of options, as --print_config prints it")
    parser.add_argument("--out", type=str, default=str(out), help="folder of the run")
    parser.add_argument("--force", action="store_true", help="replace a run that exists")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped, if there is one")
    parser.add_argument(
        "--checkpoint_minutes", type=NonNegativeFloat, default=10, help="between two checkpoints to resume from"
    )
    parser.add_argument("--logger", type=LoggerName, default="tensorboard", help="where loss, speed and metrics go")
    parser.add_argument(
        "--figure_steps",
        type=NonNegativeInt,
        default=FIGURE_STEPS,
        help="between two drawings of weights and gradients; 0 for none",
    )
    parser.add_argument(
        "--profile", action="store_true", help="write a trace of a few training steps to logs/trace.json"
    )


def add_model(parser: ArgumentParser, build: Callable[..., object]) -> None:
    """The arguments of `build`, but for what is read from the store."""
    parser.add_argument(
        "--model_name", type=str, default=build.__name__, help="what a configuration file is for; not to be changed"
    )
    skipped: set[str | int] = {argument for argument in FROM_STORE if argument in inspect.signature(build).parameters}
    parser.add_function_arguments(build, "model", skip=skipped)


def add_trainer(parser: ArgumentParser, defaults: dict[str, Any]) -> None:
    """Lightning's trainer; last, as the defaults of all options are set with it."""
    parser.add_class_arguments(pl.Trainer, "trainer", skip=set(OURS))
    parser.set_defaults(
        {
            "trainer.max_epochs": 10,
            "trainer.precision": default_precision(),
            "trainer.log_every_n_steps": 20,
            "trainer.gradient_clip_val": 1.0,
            **defaults,
        }
    )


def save_options(parser: ArgumentParser, options: Namespace, file: Path) -> None:
    """Writes the options as `--config` takes them; whether to replace or go on is said anew each time."""
    saved = options.clone()
    saved.force = saved.resume = False
    saved.pop("fast", None)
    parser.save(saved, str(file), overwrite=True)


def default_folder(name: str) -> Path:
    """Where the run of that name goes."""
    return Path("runs") / name
