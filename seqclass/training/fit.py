"""One training run: check, train, keep the best epoch as a bundle, judge it on the test split."""

from __future__ import annotations

import inspect
import logging
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from seqclass.atomic import check_free
from seqclass.bundle import Bundle
from seqclass.data.store import Indices, Store
from seqclass.errors import TrainingError
from seqclass.evaluation.evaluate import evaluate, versions
from seqclass.evaluation.multilabel import counted_targets
from seqclass.evaluation.report import summary_table
from seqclass.models import Classifier
from seqclass.terminal import say, show
from seqclass.training.apex import ApexPrecision, fuse_norms, plain_norms
from seqclass.training.checkpoints import AtomicCheckpointIO
from seqclass.training.data import StoreDataModule
from seqclass.training.reporting import EpochLines
from seqclass.training.task import ClassificationTask, Recipe

# These arguments of a model come from the store, not from the command line.
FROM_STORE = ("num_targets", "alphabet", "length", "bin", "vector_size")

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

_CONFIG = "config.yaml"


def fit_run(
    build: Callable[..., Classifier], name: str, options: Namespace, save_config: Callable[[Path], None]
) -> dict[str, Any]:
    """Trains a model as the options of `fit` say and writes the run's folder.

    The folder gets `config.yaml`, `logs/` for TensorBoard, `checkpoints/`, `bundle/` (the epoch with the best mean
    average precision on validation) and `report/` (its metrics on the test split, which nothing before looks at).

    Args:
        build: Builds the model.
        name: Of the run.
        options: `out`, `seed`, `force`, `evaluate`, `data`, `model`, `recipe` and `trainer`.
        save_config: Writes the resolved options to a file.

    Returns:
        What `report/metrics.json` holds; empty if nothing was evaluated.

    Raises:
        OutputExistsError: Something stands at `out` and is not to be replaced.
        SeqclassError: What stands there is no run, or holds the store.
        StoreError: The store cannot be read.
        TrainingError: The store lacks training or validation samples, the loss became infinite or NaN, or training
            ended before its first validation.
    """
    out = Path(options.out)
    # Lightning starts this program once more for every further process; only the first one writes.
    is_first = vars(rank_zero_only).get("rank", 0) == 0
    if is_first:
        check_free(out, options.force, holding=_CONFIG, inputs=(options.data.store,))
    _quieten_lightning()
    _check_options(options)
    pl.seed_everything(options.seed, verbose=False)
    data = StoreDataModule(**options.data, seed=options.seed)
    store = data.store
    _check_splits(store)
    recipe = Recipe.of(options.recipe.as_dict())
    bundle, known = _new_bundle(build, name, options, store)
    task = ClassificationTask(
        bundle, store.layout, recipe, data.augmentation, options.seed, known, data.train_dataloader
    )
    best = ModelCheckpoint(dirpath=out / "checkpoints", filename="best", monitor=task.monitor, mode="max")
    callbacks: list[Callback] = [best, EpochLines(), LearningRateMonitor("step")]
    plugins: list[Any] = [AtomicCheckpointIO()]
    if recipe.apex_amp is not None:
        plugins.append(ApexPrecision(recipe.apex_amp))
        options.trainer.precision = None
    if recipe.apex_norms:
        fuse_norms(bundle.model)
    interactive = sys.stderr.isatty()
    if interactive:
        callbacks.append(RichProgressBar(leave=False))
    try:
        trainer = pl.Trainer(
            **vars(options.trainer),
            default_root_dir=out,
            logger=TensorBoardLogger(out, name="logs", version=""),
            callbacks=callbacks,
            plugins=plugins,
            enable_progress_bar=interactive,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ImportError, ValueError) as error:
        problem = " ".join(str(error).split()).rstrip(".")
        raise TrainingError(
            f"the trainer cannot be set up so: {problem}", remedy="See the --trainer options"
        ) from error
    if not is_first:
        trainer.fit(task, data)
        return {}
    with _in_place_of(out):
        save_config(out / _CONFIG)
        say(
            f"{name}: {sum(p.numel() for p in bundle.model.parameters()):,} parameters, "
            f"{len(store.samples('train')):,} training and {len(store.samples('valid')):,} validation samples, "
            f"{store.num_targets} targets, {trainer.precision}; TensorBoard: tensorboard --logdir {out / 'logs'}"
        )
        say(f"training: {data.train_dataloader()}")
        start = time.monotonic()
        trainer.fit(task, data)
        if not best.best_model_path:
            raise TrainingError(
                "training ended before its first validation, so there is no best epoch to keep",
                remedy="Let it reach the end of an epoch, or validate sooner with --trainer.val_check_interval",
            )
        plain_norms(bundle.model)
        kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        bundle.model.load_state_dict(task.kept_weights(kept["state_dict"]))
        bundle.provenance |= {
            "training_seconds": round(time.monotonic() - start, 1),
            "steps": trainer.global_step,
            "kept_epoch": kept["epoch"] + 1,
            task.monitor.replace("/", "_"): float(best.best_model_score or 0),
        }
        bundle.save(out / "bundle")
    if not options.evaluate or not len(store.samples("test")):
        say(f"bundle: {out / 'bundle'}; not evaluated on a test split")
        return {}
    metrics = evaluate(
        bundle, store, out / "report", baselines=options.baselines, min_positives=options.min_test_positives
    )
    show(summary_table(metrics))
    say(f"bundle: {out / 'bundle'}   report: {out / 'report'}")
    return metrics


def _check_options(options: Namespace) -> None:
    if options.trainer.sync_batchnorm:
        raise TrainingError(
            "batch normalisation is to be converted, and this library's own already shares its statistics",
            remedy="Leave out --trainer.sync_batchnorm",
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


def _check_splits(store: Store) -> None:
    for split, purpose in (("train", "train"), ("valid", "validate")):
        if not len(store.samples(split)):
            raise TrainingError(
                f"the store has no samples to {purpose} on",
                remedy="Import it again with --valid-chroms or --valid-regions",
                file=store.path,
            )
    if not counted_targets(*store.label_counts("valid")[:2]).any():
        raise TrainingError(
            "no target has both positives and negatives among the validation samples, so no epoch is the best",
            remedy="Import it again with a larger validation split",
            file=store.path,
        )


@contextmanager
def _in_place_of(out: Path) -> Iterator[None]:
    """Puts an old run aside while the block makes the new one; brings it back if the block fails."""
    aside = out.with_name(f".{out.name}.replaced")
    if out.exists():
        shutil.rmtree(aside, ignore_errors=True)
        out.rename(aside)
    try:
        out.mkdir(parents=True)
        yield
    except BaseException:
        if aside.exists():
            shutil.rmtree(out, ignore_errors=True)
            aside.rename(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _new_bundle(
    build: Callable[..., Classifier], name: str, options: Namespace, store: Store
) -> tuple[Bundle, Indices]:
    """An untrained model for the store's targets, with what is known of its origin; and how many labels are known."""
    given: dict[str, Any] = {"num_targets": store.num_targets, "alphabet": store.alphabet.name, "length": store.window}
    bin = store.provenance.get("bin")
    if bin is not None or store.window is None:
        given["bin"] = bin
    if store.vector_size is not None:
        given["vector_size"] = store.vector_size
    wanted = inspect.signature(build).parameters
    model = build(**{key: value for key, value in given.items() if key in wanted}, **(options.get("model") or {}))
    if model.input_kind != store.input_kind:
        raise TrainingError(
            f"the store holds {store.input_kind}, and {name} reads {model.input_kind}",
            remedy="Choose another model: see 'seqclass models list'",
            file=store.path,
        )
    # A block that a bundle cannot hold is refused before training, not after.
    model.config()
    positives, known, _ = store.label_counts("train")
    if options.recipe.prior_from_train:
        prior = (positives + 0.5) / (known + 1)
        for members in map(store.layout.members, store.layout.exclusive):
            # Softmax takes the logarithm of a share to the share, as sigmoid takes its logit.
            prior[members] /= 1 + prior[members]
        model.set_prior(torch.from_numpy(prior))
    provenance = {
        "experiment": name,
        "seed": options.seed,
        "recipe": options.recipe.as_dict(),
        "epochs": options.trainer.max_epochs,
        "batch_size": options.data.batch_size,
        "precision": str(options.trainer.precision),
        "data": {"sha256": store.checksum(), **store.provenance},
        "versions": versions() | {"pytorch-lightning": pl.__version__},
        "command": shlex.join(sys.argv),
    }
    counts = [int(count) for count in positives]
    bundle = Bundle(model, list(store.targets), counts, store.window, bin, store.layout.exclusive, provenance)
    return bundle, known


def _quieten_lightning() -> None:
    """Leaves out advice that does not apply here, such as to use worker processes: the loader needs none."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for advice in (
        "does not have many workers",
        "smaller than the logging interval",
        "LeafSpec",
        "tensorboardX",
        "in eval mode",
    ):
        warnings.filterwarnings("ignore", f".*{advice}.*")
