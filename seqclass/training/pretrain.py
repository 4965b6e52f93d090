"""One run of language-model pretraining: train, keep the best epoch, tell what a letter costs that was held out."""

from __future__ import annotations

import hashlib
import inspect
import json
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.callbacks import Callback
from torch.utils.flop_counter import FlopCounterMode

from seqclass.atomic import atomic_file, check_free, write_text
from seqclass.blocks import TransformerXLEncoder
from seqclass.data.store import Store
from seqclass.errors import AssemblyError, TrainingError
from seqclass.evaluation.evaluate import versions
from seqclass.models import Classifier, MaskedResidueLM, SequenceClassifier, TransformerXLLM
from seqclass.models.registry import FROM_STORE
from seqclass.models.summary import Stage
from seqclass.saved import save_language_model
from seqclass.terminal import say, show
from seqclass.training.allowance import Allowance
from seqclass.training.checkpoints import AtomicCheckpointIO, RunCheckpoints
from seqclass.training.early_end import saying_how_to_go_on
from seqclass.training.finite import StopAtNonFinite
from seqclass.training.gradient_flow import GradientFlow
from seqclass.training.interruption import Interrupted
from seqclass.training.language_data import LanguageDataModule
from seqclass.training.language_score import score_language_model, score_table
from seqclass.training.language_task import LanguageModel, LanguageRecipe, LanguageTask
from seqclass.training.learning_rates import LearningRates
from seqclass.training.loggers import LOGS, build_logger, where_logged
from seqclass.training.memory import within_memory
from seqclass.training.processes import is_first_process, part
from seqclass.training.reporting import EpochLines, RunProgressBar
from seqclass.training.resume import FREE, check_resumable
from seqclass.training.run_card import RunCard
from seqclass.training.run_folder import in_place_of_old_run, last_checkpoint, only_writer
from seqclass.training.schedules import Schedule
from seqclass.training.step_trace import StepTrace
from seqclass.training.throughput import Throughput
from seqclass.training.trainer import build_trainer, check_options, quieten_lightning

FOLDER = "language_model"
"""Of the trained model, in the folder of its run."""

_CONFIG, _SCORES = "config.yaml", "scores.json"


def pretrain_run(
    build: Callable[..., LanguageModel | Classifier], name: str, options: Namespace, save_config: Callable[[Path], None]
) -> dict[str, Any]:
    """Trains a language model as the options say and writes the run's folder.

    The folder gets `config.yaml`, `logs/`, `checkpoints/`, `language_model/` (of the epoch with the fewest bits a
    letter on validation) and `scores.json`, what a letter costs on the validation and the test split.

    Args:
        build: Builds the model, or a classifier whose trunk is to be pretrained; see `language_model_of`.
        name: Of the run.
        options: `out`, `seed`, `force`, `resume`, `checkpoint_minutes`, `logger`, `figure_steps`, `profile`, `data`,
            `model`, `recipe` and `trainer`.
        save_config: Writes the resolved options to a file.

    Returns:
        What `scores.json` holds; empty in processes other than the first.

    Raises:
        OutputExistsError: Something stands at `out` and is not to be replaced.
        SeqclassError: What stands there is no run, or holds the store.
        StoreError: The store cannot be read.
        AssemblyError: The model cannot be built so.
        TrainingError: The store does not fit the model or lacks training or validation samples, the loss became
            infinite or NaN, training ended before its first validation, another process writes the run, or it cannot
            go on as told.
        SystemExit: A signal asked to stop; the exit code is 128 and the signal's number.
    """
    out = Path(options.out)
    is_first = is_first_process()
    with only_writer(out) if is_first else nullcontext(), within_memory():
        return _pretrain(build, name, options, save_config, out, is_first)


def _pretrain(
    build: Callable[..., LanguageModel | Classifier],
    name: str,
    options: Namespace,
    save_config: Callable[[Path], None],
    out: Path,
    is_first: bool,
) -> dict[str, Any]:
    resumes = options.resume and last_checkpoint(out).exists()
    if is_first and not resumes:
        check_free(out, options.force or options.resume, holding=_CONFIG, inputs=(options.data.store,))
    quieten_lightning()
    check_options(build, options)
    pl.seed_everything(options.seed, verbose=False)
    model, data = _prepare(build, options)
    store = data.store
    recipe = options.recipe.as_dict()
    task = LanguageTask(model, LanguageRecipe(**recipe | {"schedule": Schedule(**recipe["schedule"])}), options.seed)
    flat = vars(options.as_flat())
    agreed = _terms(build.__name__, model, store, flat)
    checkpoints = RunCheckpoints(out, task.monitor, options.checkpoint_minutes, agreed)
    throughput = Throughput()
    callbacks: list[Callback] = [
        checkpoints,
        StopAtNonFinite(store),
        throughput,
        LearningRates(),
        EpochLines(throughput),
        RunCard(flat, task.monitor, [_whole(model, data)]),
        GradientFlow(options.figure_steps, Allowance()),
    ]
    if options.profile:
        callbacks.append(StepTrace(out / LOGS))
    if sys.stderr.isatty():
        callbacks.append(RunProgressBar(task.monitor))
    trainer = build_trainer(vars(options.trainer), out, callbacks, [AtomicCheckpointIO()])
    step = check_resumable(last_checkpoint(out), agreed, trainer.world_size) if resumes else None
    trainer.logger = build_logger(options.logger, out, name, step)
    start = str(last_checkpoint(out)) if resumes else None
    if not is_first:
        with suppress(Interrupted):
            trainer.fit(task, data, ckpt_path=start, weights_only=True)
        part()
        return {}
    with nullcontext() if resumes else in_place_of_old_run(out):
        with atomic_file(out / _CONFIG, force=True) as partial:
            save_config(partial)
        say(
            f"{name}: {sum(weight.numel() for weight in model.parameters()):,} parameters, {trainer.precision}; "
            f"{where_logged(options.logger, out)}"
        )
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
        kept = torch.load(checkpoints.best_path, map_location="cpu", weights_only=True)
        weights = {key.removeprefix("model."): value for key, value in kept["state_dict"].items()}
        model.load_state_dict(weights)
        data.trainer = None
        scores = score_language_model(model, data, task.recipe.hidden)
        provenance = {
            "experiment": name,
            "seed": options.seed,
            "recipe": recipe,
            "epochs": options.trainer.max_epochs,
            "batch_size": options.data.batch_size,
            "segment": options.data.segment,
            "precision": str(options.trainer.precision),
            "data": {"sha256": store.checksum(), **store.provenance},
            "versions": versions() | {"pytorch-lightning": pl.__version__},
            "command": shlex.join(sys.argv),
            "training_seconds": round(checkpoints.seconds, 1),
            "steps": trainer.global_step,
            "kept_epoch": kept["epoch"] + 1,
            "scores": scores,
        }
        save_language_model(model, out / FOLDER, provenance, force=resumes)
        write_text(out / _SCORES, json.dumps(scores, indent=2) + "\n", force=True)
    show(score_table(scores))
    say(f"language model: {out / FOLDER} (seqclass fit --init_from {out / FOLDER})   scores: {out / _SCORES}")
    return scores


def language_model_of(classifier: Classifier) -> LanguageModel:
    """The language model that has a classifier's trunk, which `init_from` takes over afterwards.

    Of a causal encoder on letters it guesses the next letter, of any other trunk hidden letters.

    Raises:
        AssemblyError: It has no such parts, or a stem that leaves less than a position a letter.
    """
    if not isinstance(classifier, SequenceClassifier):
        raise AssemblyError(
            f"a {type(classifier).__name__} has no embedding, stem and encoder to pretrain",
            remedy="Choose a model of these parts, such as transformer_xl or protcnn",
        )
    embedding, stem, encoder = classifier.embedding, classifier.stem, classifier.encoder
    if stem is None and isinstance(encoder, TransformerXLEncoder) and encoder.causal:
        return TransformerXLLM(embedding, encoder)
    return MaskedResidueLM(embedding, stem, encoder)


def _prepare(
    build: Callable[..., LanguageModel | Classifier], options: Namespace
) -> tuple[LanguageModel, LanguageDataModule]:
    store = Store(options.data.store)
    # A head, where there is one, is not kept.
    given = dict.fromkeys(FROM_STORE) | {"num_targets": 1, "alphabet": store.alphabet.name, "length": store.window}
    wanted = inspect.signature(build).parameters
    built = build(**{key: value for key, value in given.items() if key in wanted}, **(options.get("model") or {}))
    model = language_model_of(built) if isinstance(built, Classifier) else built
    if model.alphabet != store.alphabet.name:
        raise TrainingError(
            f"the store holds {store.alphabet.name}, and the model guesses letters of {model.alphabet}",
            remedy="Choose another model or another store",
            file=store.path,
        )
    # A block that cannot be saved is refused before training, not after.
    model.config()
    return model, LanguageDataModule(**options.data, along_tape=isinstance(model, TransformerXLLM), seed=options.seed)


def _terms(name: str, model: LanguageModel, store: Store, options: dict[str, Any]) -> dict[str, str]:
    """What decides the steps of the run, as text by dotted name."""
    blocks = json.dumps(model.config(), sort_keys=True)
    return {
        "model": name,
        "blocks of the model": hashlib.sha256(blocks.encode()).hexdigest()[:12],
        "data (SHA-256)": store.checksum()[:12],
        **{key: json.dumps(value, default=str) for key, value in options.items() if key not in FREE},
    }


def _whole(model: LanguageModel, data: LanguageDataModule) -> Stage:
    """The model as a line of the table of stages, for one segment."""
    device = next(model.parameters()).device
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(torch.zeros(1, data.segment, dtype=torch.uint8, device=device))
    parameters = sum(weight.numel() for weight in model.parameters())
    shape = (data.segment, len(data.store.alphabet.letters))
    return Stage("", type(model).__name__, shape, parameters, counter.get_total_flops())
