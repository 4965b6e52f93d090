"""One training run from the command line: fit, validate, test and predict, with every option under a dotted name."""

from __future__ import annotations

import inspect
import logging
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console

from seqclass.bundle import Bundle
from seqclass.data.store import Store
from seqclass.errors import OutputExistsError, TrainingError
from seqclass.evaluation.evaluate import evaluate, versions
from seqclass.evaluation.report import summary_table
from seqclass.models import Classifier
from seqclass.predict import LengthPolicy, write_predictions
from seqclass.terminal import plain_errors, say, take_debug
from seqclass.training.checkpoints import AtomicCheckpointIO
from seqclass.training.data import StoreDataModule
from seqclass.training.precision import default_precision
from seqclass.training.reporting import EpochLines
from seqclass.training.task import MultiLabelTask, Recipe

# These arguments of a model come from the store, not from the command line.
_FROM_STORE = ("num_targets", "alphabet", "length")

# These arguments of Lightning's trainer are decided here.
_OURS = (
    "logger",
    "callbacks",
    "plugins",
    "default_root_dir",
    "enable_progress_bar",
    "enable_model_summary",
    "use_distributed_sampler",
    "num_sanity_val_steps",
)


def run_experiment(
    build: Callable[..., Classifier],
    *,
    name: str,
    defaults: dict[str, Any] | None = None,
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Runs one of fit, validate, test and predict on a model, as the command line says.

    Args:
        build: Builds the model. Its typed arguments become `--model.*`; `num_targets`, and `alphabet` and `length`
            where it takes them, are read from the store.
        name: Of the run; it goes to `runs/NAME` unless `--out` says otherwise.
        defaults: Other defaults, by dotted name: `{"trainer.max_epochs": 10}`.
        arguments: The command line without the program's name. By default this process's; then bad input ends the
            process with one red line and exit code 2 (with `--debug`, a traceback).

    Returns:
        The metrics, as in `metrics.json`; empty for predict.

    Raises:
        SeqclassError: Bad input, where `arguments` are given; see the message.
    """
    if arguments is None:
        arguments, debug = take_debug(sys.argv[1:])
        with plain_errors(debug):
            return run_experiment(build, name=name, defaults=defaults, arguments=arguments)
    fit = _fit_parser(build, name, defaults or {})
    config = _parser(build, name, fit).parse_args(list(arguments))
    options = config[config.subcommand]
    if config.subcommand == "fit":
        return _fit(build, name, options, fit)
    bundle = Bundle.load(options.bundle)
    if config.subcommand == "predict":
        rows = write_predictions(
            bundle, options.fasta, options.out, length_policy=options.length_policy, force=options.force
        )
        say(f"wrote {rows:,} rows to {options.out}")
        return {}
    split = {"validate": "valid", "test": "test"}[config.subcommand]
    metrics = evaluate(bundle, Store(options.store), options.out, split=split, force=options.force)
    Console().print(summary_table(metrics))
    return metrics


def _fit_parser(build: Callable[..., Classifier], name: str, defaults: dict[str, Any]) -> ArgumentParser:
    fit = ArgumentParser(description="Train, keep the best epoch on validation, evaluate it on the test split.")
    fit.add_argument("--config", action="config", help="YAML file of options, as --print_config prints it")
    fit.add_argument("--out", type=str, default=str(_run_folder(name)), help="folder of the run")
    fit.add_argument("--seed", type=int, default=0, help="of initialisation, order, strands and dropout")
    fit.add_argument("--force", action="store_true", help="replace a run that exists")
    fit.add_argument("--evaluate", type=bool, default=True, help="judge the best epoch on the test split")
    fit.add_class_arguments(StoreDataModule, "data", skip={"seed"})
    skipped: set[str | int] = {argument for argument in _FROM_STORE if argument in inspect.signature(build).parameters}
    fit.add_function_arguments(build, "model", skip=skipped)
    fit.add_class_arguments(Recipe, "recipe")
    fit.add_class_arguments(pl.Trainer, "trainer", skip=set(_OURS))
    fit.set_defaults(
        {
            "trainer.max_epochs": 10,
            "trainer.precision": default_precision(),
            "trainer.log_every_n_steps": 20,
            "trainer.gradient_clip_val": 1.0,
            **defaults,
        }
    )
    return fit


def _parser(build: Callable[..., Classifier], name: str, fit: ArgumentParser) -> ArgumentParser:
    parser = ArgumentParser(description=inspect.getdoc(build))
    commands = parser.add_subcommands(dest="subcommand")
    commands.add_subcommand("fit", fit)
    run = _run_folder(name)
    for command, split in (("validate", "validation"), ("test", "test")):
        judge = ArgumentParser(description=f"Evaluate the trained bundle on the {split} split.")
        judge.add_argument("--data.store", dest="store", type=str, required=True, help="path of the store")
        judge.add_argument("--bundle", type=str, default=str(run / "bundle"), help="folder of the bundle")
        judge.add_argument("--out", type=str, default=str(run / command), help="folder of the report")
        judge.add_argument("--force", action="store_true", help="replace a report that exists")
        commands.add_subcommand(command, judge)

    predict = ArgumentParser(description="Score a FASTA file with the trained bundle.")
    predict.add_argument("fasta", type=str, help="sequences, plain or gzip")
    predict.add_argument("--bundle", type=str, default=str(run / "bundle"), help="folder of the bundle")
    predict.add_argument("--out", type=str, default=str(run / "predictions.tsv"), help="table to write")
    predict.add_argument("--length_policy", type=LengthPolicy, default="error", help="for a model of one length")
    predict.add_argument("--force", action="store_true", help="replace a table that exists")
    commands.add_subcommand("predict", predict)
    return parser


def _run_folder(name: str) -> Path:
    return Path("runs") / name


def _fit(build: Callable[..., Classifier], name: str, options: Namespace, parser: ArgumentParser) -> dict[str, Any]:
    out = Path(options.out)
    if out.exists():
        if not options.force:
            raise OutputExistsError(out)
        shutil.rmtree(out)
    _quieten_lightning()
    pl.seed_everything(options.seed, verbose=False)
    data = StoreDataModule(**options.data, seed=options.seed)
    store = data.store
    for split in ("train", "valid"):
        if not len(store.samples(split)):
            raise TrainingError(
                f"the store has no samples to {'train' if split == 'train' else 'validate'} on",
                remedy="Import it again with --valid-chroms or --valid-regions",
                file=store.path,
            )
    bundle = _new_bundle(build, name, options, store)
    out.mkdir(parents=True)
    parser.save(options, str(out / "config.yaml"))
    best = ModelCheckpoint(
        dirpath=out / "checkpoints", filename="best", monitor="valid/average_precision", mode="max", save_last=True
    )
    callbacks: list[Callback] = [best, EpochLines(), LearningRateMonitor("step")]
    interactive = sys.stderr.isatty()
    if interactive:
        callbacks.append(RichProgressBar(leave=False))
    trainer = pl.Trainer(
        **vars(options.trainer),
        default_root_dir=out,
        logger=TensorBoardLogger(out, name="logs", version=""),
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=interactive,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    say(
        f"{name}: {sum(p.numel() for p in bundle.model.parameters()):,} parameters, "
        f"{len(store.samples('train')):,} training and {len(store.samples('valid')):,} validation samples, "
        f"{store.num_targets} targets, {trainer.precision}; TensorBoard: tensorboard --logdir {out / 'logs'}"
    )
    start = time.monotonic()
    trainer.fit(MultiLabelTask(bundle, Recipe(**options.recipe)), data)
    seconds = time.monotonic() - start
    if best.best_model_path:
        state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
        bundle.model.load_state_dict({key.removeprefix("model."): value for key, value in state.items()})
    bundle.provenance |= {"training_seconds": round(seconds, 1), "steps": trainer.global_step}
    if best.best_model_score is not None:
        bundle.provenance["valid_average_precision"] = float(best.best_model_score)
    bundle.save(out / "bundle")
    if not options.evaluate or not len(store.samples("test")):
        say(f"bundle: {out / 'bundle'}; not evaluated on a test split")
        return {}
    metrics = evaluate(bundle, store, out / "report")
    Console().print(summary_table(metrics))
    say(f"bundle: {out / 'bundle'}   report: {out / 'report'}")
    return metrics


def _new_bundle(build: Callable[..., Classifier], name: str, options: Namespace, store: Store) -> Bundle:
    """An untrained model for the store's targets, with what is known of its origin."""
    known: dict[str, Any] = {"num_targets": store.num_targets, "alphabet": store.alphabet.name, "length": store.window}
    wanted = inspect.signature(build).parameters
    model = build(**{key: value for key, value in known.items() if key in wanted}, **options.model)
    positives = store.positives("train")
    if options.recipe.prior_from_train:
        count = len(store.samples("train"))
        model.set_prior(torch.from_numpy((positives + 0.5) / (count + 1)))
    provenance = {
        "experiment": name,
        "seed": options.seed,
        "recipe": dict(vars(options.recipe)),
        "epochs": options.trainer.max_epochs,
        "batch_size": options.data.batch_size,
        "precision": str(options.trainer.precision),
        "data": {"sha256": store.checksum(), **store.provenance},
        "versions": versions(),
        "command": shlex.join(sys.argv),
    }
    bin = store.provenance.get("bin")
    return Bundle(model, store.targets, [int(count) for count in positives], store.window, bin, provenance)


def _quieten_lightning() -> None:
    """Leaves out advice that does not apply here: the loader needs no worker processes."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Starting from v1.9.0, `tensorboardX`.*")
