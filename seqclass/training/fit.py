"""One training run: check, train, keep the best epoch as a bundle, judge it on the test split."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import FSDPStrategy

from seqclass.atomic import atomic_file, check_free
from seqclass.blocks import build as rebuild
from seqclass.bundle import Bundle
from seqclass.data.store import SPLITS, Indices, Store
from seqclass.drift import summarise
from seqclass.errors import EvaluationError, TrainingError
from seqclass.evaluation.calibration import calibrate, sentence
from seqclass.evaluation.evaluate import evaluate, versions
from seqclass.evaluation.headline import with_report
from seqclass.evaluation.multilabel import counted_targets
from seqclass.evaluation.report import show_report
from seqclass.models import Classifier, init_from
from seqclass.saved import BUNDLE, LANGUAGE_MODEL, read_model
from seqclass.terminal import say
from seqclass.training.apex import ApexPrecision, fuse_norms, plain_norms
from seqclass.training.checkpoints import AtomicCheckpointIO, RunCheckpoints
from seqclass.training.data import StoreDataModule
from seqclass.training.early_end import saying_how_to_go_on
from seqclass.training.finite import StopAtNonFinite
from seqclass.training.interruption import Interrupted
from seqclass.training.loggers import LOGS, build_logger, where_logged
from seqclass.training.memory import within_memory
from seqclass.training.monitoring import monitors
from seqclass.training.processes import is_first_process, part
from seqclass.training.reporting import RunProgressBar
from seqclass.training.resume import check_resumable, terms
from seqclass.training.run_card import log_test_metrics
from seqclass.training.run_folder import has_checkpoint, in_place_of_old_run, last_checkpoint, only_writer
from seqclass.training.step_trace import StepTrace
from seqclass.training.task import ClassificationTask, Recipe
from seqclass.training.trainer import build_trainer, check_options, quieten_lightning

CONFIG = "config.yaml"

# Larger rates than this make most losses explode.
_LARGE_RATE = 1.0


def fit_run(
    build: Callable[..., Classifier],
    name: str,
    options: Namespace,
    save_config: Callable[[Path], None],
    store: Store | None = None,
) -> dict[str, Any]:
    """Trains a model as the options of `fit` say and writes the run's folder.

    The folder gets `config.yaml`, `logs/` for TensorBoard, `checkpoints/`, `bundle/` (the epoch with the best mean
    average precision on validation, calibrated there) and `report/` (its metrics on the test split, which nothing
    before looks at).

    Args:
        build: Builds the model.
        name: Of the run.
        options: `out`, `seed`, `force`, `resume`, `init_from`, `checkpoint_minutes`, `logger`, `figure_steps`,
            `profile`, `data`, `model`, `recipe` and `trainer`; and `evaluate`, `baselines` and `min_test_positives`
            where the test split is judged.
        save_config: Writes the resolved options to a file.
        store: The one at `options.data.store`, where it is not divided as its file says.

    Returns:
        What `report/metrics.json` holds; empty if nothing was evaluated.

    Raises:
        OutputExistsError: Something stands at `out` and is not to be replaced.
        SeqclassError: What stands there is no run, or holds the store.
        StoreError: The store cannot be read.
        BundleError: What stands at `init_from` is neither a language model nor a bundle.
        AssemblyError: The model cannot be built so, or differs from the one to start from.
        TrainingError: The store lacks training or validation samples, the loss became infinite or NaN, training ended
            before its first validation, another process writes the run, it cannot go on as told, or memory ran out.
        SystemExit: A signal asked to stop; the exit code is 128 and the signal's number.
    """
    out = Path(options.out)
    is_first = is_first_process()
    with only_writer(out) if is_first else nullcontext(), within_memory():
        return _fit(build, name, options, save_config, store, out, is_first)


def _fit(
    build: Callable[..., Classifier],
    name: str,
    options: Namespace,
    save_config: Callable[[Path], None],
    store: Store | None,
    out: Path,
    is_first: bool,
) -> dict[str, Any]:
    resumes = options.resume and last_checkpoint(out).exists()
    if options.resume and not resumes and has_checkpoint(out):
        raise TrainingError(
            "this run consists of several, which do not go on as one",
            remedy="Repeat its command with --resume, or give another --out",
            file=out,
        )
    if is_first and not resumes:
        check_free(out, options.force or options.resume, holding=CONFIG, inputs=(options.data.store, options.init_from))
    data, task = prepare(build, name, options, store)
    store, bundle, recipe = data.store, task.bundle, task.recipe
    agreed = terms(build.__name__, bundle, vars(options.as_flat()))
    checkpoints = RunCheckpoints(out, task.monitor, options.checkpoint_minutes, agreed)
    callbacks: list[Callback] = [checkpoints, StopAtNonFinite(store)]
    callbacks += monitors(task, store, vars(options.as_flat()), options.figure_steps)
    if options.profile:
        callbacks.append(StepTrace(out / LOGS))
    plugins: list[Any] = [AtomicCheckpointIO()]
    if recipe.apex_amp is not None:
        plugins.append(ApexPrecision(recipe.apex_amp))
        options.trainer.precision = None
    if recipe.apex_norms:
        fuse_norms(bundle.model)
    if sys.stderr.isatty():
        callbacks.append(RunProgressBar(task.monitor))
    trainer = build_trainer(vars(options.trainer), out, callbacks, plugins)
    step = check_resumable(last_checkpoint(out), agreed, trainer.world_size) if resumes else None
    # What was logged after the checkpoint is logged again.
    trainer.logger = build_logger(options.logger, out, name, step)
    start = str(last_checkpoint(out)) if resumes else None
    if not is_first:
        with suppress(Interrupted):
            trainer.fit(task, data, ckpt_path=start, weights_only=True)
        part()
        return {}
    with nullcontext() if resumes else in_place_of_old_run(out):
        with atomic_file(out / CONFIG, force=True) as partial:
            save_config(partial)
        say(
            f"{name}: {sum(p.numel() for p in bundle.model.parameters()):,} parameters, "
            f"{len(store.samples('train')):,} training and {len(store.samples('valid')):,} validation samples, "
            f"{store.num_targets} targets, {trainer.precision}; {where_logged(options.logger, out)}"
        )
        if origin := bundle.provenance.get("init_from"):
            say(f"starts from {origin['path']}: {', '.join(origin['taken'])}; fresh: {', '.join(origin['fresh'])}")
        say(f"training: {data.train_dataloader()}")
        if resumes:
            say(f"going on after step {step:,}")
        elif options.resume:
            say("there is no checkpoint to go on from: training begins")
        with saying_how_to_go_on(checkpoints), within_memory():
            trainer.fit(task, data, ckpt_path=start, weights_only=True)
        part()
        if checkpoints.best is None:
            raise TrainingError(
                "training ended before its first validation, so there is no best epoch to keep",
                remedy="Let it reach the end of an epoch, or validate sooner with --trainer.val_check_interval",
            )
        plain_norms(bundle.model)
        kept = torch.load(checkpoints.best_path, map_location="cpu", weights_only=True)
        if isinstance(trainer.strategy, FSDPStrategy):
            # The one that was trained is in shards, of which this process has one.
            bundle.model = rebuild(bundle.model.config())
        bundle.model.load_state_dict(task.kept_weights(kept["state_dict"]))
        bundle.provenance |= {
            "training_seconds": round(checkpoints.seconds, 1),
            "steps": trainer.global_step,
            "kept_epoch": kept["epoch"] + 1,
            task.monitor.replace("/", "_"): checkpoints.best,
        }
        bundle = summarise(calibrate_if_possible(bundle, store), store)
        bundle.save(out / "bundle", force=resumes)
    if not options.get("evaluate") or not len(store.samples("test")):
        say(f"bundle: {out / 'bundle'}; not evaluated on a test split")
        return {}
    metrics = evaluate(
        bundle,
        store,
        out / "report",
        baselines=options.baselines,
        min_positives=options.min_test_positives,
        force=resumes,
    )
    with_report(bundle, metrics).save(out / "bundle", force=True)
    log_test_metrics(trainer, metrics)
    show_report(metrics)
    say(f"bundle: {out / 'bundle'}   report: {out / 'report'}")
    return metrics


def calibrate_if_possible(bundle: Bundle, store: Store) -> Bundle:
    """The bundle calibrated on a store's validation samples, or as it is where there are too few; says which."""
    try:
        calibrated = calibrate(bundle, store)
    except EvaluationError as error:
        say(f"not calibrated: {error.problem}")
        bundle.provenance["calibration"] = {"none": error.problem}
        return bundle
    say(sentence(calibrated.provenance["calibration"]))
    return calibrated


def prepare(
    build: Callable[..., Classifier], name: str, options: Namespace, store: Store | None = None
) -> tuple[StoreDataModule, ClassificationTask]:
    """The data and the task of a run, checked; the random numbers of this process begin at the run's seed.

    Args:
        build: Builds the model.
        name: Of the run.
        options: `seed`, `init_from`, `data`, `model`, `recipe` and `trainer`.
        store: As for `fit_run`.

    Raises:
        SeqclassError: As for `fit_run`.
    """
    quieten_lightning()
    check_options(build, options)
    pl.seed_everything(options.seed, verbose=False)
    data = StoreDataModule(**options.data, seed=options.seed)
    if store is not None:
        data.store = store
    check_splits(data.store)
    recipe = Recipe.of(options.recipe.as_dict())
    if is_first_process() and recipe.learning_rate > _LARGE_RATE:
        say(
            f"warning: a learning rate of {recipe.learning_rate:g} rarely trains; "
            "'seqclass lr-find' looks for a good one"
        )
    bundle, known = _new_bundle(build, name, options, data.store)
    layout, batches = data.store.layout, data.train_dataloader
    return data, ClassificationTask(bundle, layout, recipe, data.augmentation, options.seed, known, batches)


def check_splits(store: Store) -> None:
    """Refuses a store that has nothing to train on, or nothing by which the best epoch is known."""
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
    given["exclusive"] = [store.layout.members(group).tolist() for group in store.layout.exclusive]
    wanted = inspect.signature(build).parameters
    model = build(**{key: value for key, value in given.items() if key in wanted}, **(options.get("model") or {}))
    if model.input_kind != store.input_kind:
        raise TrainingError(
            f"the store holds {store.input_kind}, and {name} reads {model.input_kind}",
            remedy="Choose another model: see 'seqclass models list'",
            file=store.path,
        )
    _check_lengths(model, name, store)
    # A block that a bundle cannot hold is refused before training, not after.
    model.config()
    positives, known, _ = store.label_counts("train")
    if is_first_process() and (
        unseen := [target.name for target, count in zip(store.targets, positives, strict=True) if not count]
    ):
        shown = ", ".join(unseen[:5]) + (", ..." if len(unseen) > 5 else "")
        say(f"warning: {len(unseen):,} of {store.num_targets:,} targets have no training example: {shown}")
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
    if options.init_from is not None:
        provenance["init_from"] = _start_from(options.init_from, model)
    counts = [int(count) for count in positives]
    bundle = Bundle(model, list(store.targets), counts, store.window, bin, store.layout.exclusive, provenance)
    return bundle, known


def _check_lengths(model: Classifier, name: str, store: Store) -> None:
    """Refuses, before hours of training, samples that would end it."""
    if model.longest is None or model.length is not None:
        return
    length = store.views.length[np.concatenate([store.samples(split) for split in SPLITS])]
    beyond = int((length > model.longest).sum())
    if beyond:
        raise TrainingError(
            f"{beyond:,} of {len(length):,} samples are longer than the {model.longest:,} residues that {name} takes; "
            f"the longest has {int(length.max()):,}",
            remedy=f"Import the data again with --max-length {model.longest} and, of longer ones, --too-long",
            file=store.path,
        )


def _start_from(path: str, model: Classifier) -> dict[str, Any]:
    """Gives a model the weights of the one at `path`, as far as `init_from` takes them; says which these are."""
    trained, saved = read_model(path, LANGUAGE_MODEL, BUNDLE)
    taken, fresh = init_from(model, trained)
    return {"path": path, "weights_sha256": saved["weights_sha256"], "taken": list(taken), "fresh": list(fresh)}
