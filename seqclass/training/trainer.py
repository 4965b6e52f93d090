"""Lightning's trainer, set up alike for every kind of run, and the options of one that cannot be."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from seqclass.errors import TrainingError

# These arguments of Lightning's trainer are decided here.
OURS = (
    "logger",
    "callbacks",
    "plugins",
    "default_root_dir",
    "enable_progress_bar",
    "enable_model_summary",
    "use_distributed_sampler",
    "num_sanity_val_steps",
)


def build_trainer(
    options: Mapping[str, Any], out: str | Path, callbacks: Sequence[pl.Callback] = (), plugins: Sequence[Any] = ()
) -> pl.Trainer:
    """Lightning's trainer, without a logger.

    Args:
        options: Its arguments but for `OURS`.
        out: Where it may write; nothing of ours asks it to.
        callbacks: In this order.
        plugins: For checkpoints and precision.

    Raises:
        TrainingError: The options do not fit each other or the machine.
    """
    try:
        return pl.Trainer(
            **options,
            default_root_dir=out,
            logger=False,
            callbacks=list(callbacks),
            plugins=list(plugins),
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ImportError, ValueError) as error:
        problem = " ".join(str(error).split()).rstrip(".")
        raise TrainingError(
            f"the trainer cannot be set up so: {problem}", remedy="See the --trainer options"
        ) from error


def check_options(build: Callable[..., object], options: Namespace) -> None:
    """Refuses options of a run that contradict each other, the model or the machine.

    Raises:
        TrainingError: They do.
    """
    if options.model_name != build.__name__:
        raise TrainingError(
            f"the configuration is for the model '{options.model_name}', and this one is '{build.__name__}'",
            remedy="Choose the model that the configuration is for, or leave --config out",
        )
    if options.trainer.sync_batchnorm:
        raise TrainingError(
            "batch normalisation is to be converted, and this library's own already shares its statistics",
            remedy="Leave out --trainer.sync_batchnorm",
        )
    if options.force and options.get("resume"):
        raise TrainingError(
            "the run is to be replaced and to go on", remedy="Give one of --force and --resume, not both"
        )
    if options.trainer.accelerator in ("gpu", "cuda", "mps") and not torch.accelerator.is_available():
        raise TrainingError(
            f"--trainer.accelerator {options.trainer.accelerator} asks for a GPU, and PyTorch {torch.__version__} "
            "finds none",
            remedy="Leave it out to train on the CPU, or install a driver and a PyTorch for the GPU",
        )
    if not 0 <= options.seed < 1 << 32:
        raise TrainingError(f"the seed is {options.seed}", remedy="Let --seed be from 0 to 4294967295")
    if options.trainer.limit_val_batches == 0 or (options.trainer.check_val_every_n_epoch or 1) > (
        options.trainer.max_epochs or 1
    ):
        raise TrainingError(
            "no epoch would be validated, and the best one is kept",
            remedy="Leave --trainer.limit_val_batches and --trainer.check_val_every_n_epoch as they are",
        )


def quieten_lightning() -> None:
    """Leaves out advice that does not apply here, such as to use worker processes: the loader needs none."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for advice in (
        "does not have many workers",
        "smaller than the logging interval",
        "LeafSpec",
        "tensorboardX",
        "in eval mode",
        "is deprecated, use torch.distributed",
        "sync_dist=True",
    ):
        warnings.filterwarnings("ignore", f".*{advice}.*")
