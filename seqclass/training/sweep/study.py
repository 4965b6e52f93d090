"""The search itself: trial after trial, by a tree-structured Parzen estimator, with the hopeless ones cut short.

Bergstra et al. 2011 (Algorithms for hyper-parameter optimization, NIPS 24), as Optuna has it (Akiba et al. 2019,
arXiv:1907.10902); a trial is pruned when its metric is below the median of others after as many validations.
"""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from jsonargparse import ArgumentParser, Namespace
from optuna import Study, Trial
from optuna.trial import FrozenTrial, TrialState

from seqclass.atomic import atomic_file, write_text
from seqclass.errors import SeqclassError, StoreError, TrainingError
from seqclass.models import Classifier
from seqclass.terminal import say, show
from seqclass.training.data import StoreDataModule
from seqclass.training.fit import prepare
from seqclass.training.interruption import Interrupted, StopSignal
from seqclass.training.resume import terms
from seqclass.training.sweep.plots import write_plots
from seqclass.training.sweep.results import best_of, final_table, sentence, write_table
from seqclass.training.sweep.space import Space
from seqclass.training.sweep.storage import REASON, hand_back, open_study, shown, sign, was_tried
from seqclass.training.sweep.trial import build_runner, train_trial
from seqclass.training.task import Recipe

SPACE, BEST, TABLE, JOURNAL, TRIALS = "space.yaml", "best.yaml", "trials.tsv", "study.journal", "trials"

# `fit` may go on with others, but trials of which these differ cannot be compared.
_DECISIVE = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "trainer.precision")


class _FailedTrialError(Exception):
    """A trial that cannot be trained; the study goes on."""


class Sweep:
    """A study of how options change the metric on validation; what it needs is checked before the first trial.

    Args:
        build: Builds the model.
        name: Of the study.
        fit: The parser of `fit`.
        save_config: Writes options of `fit` to a file.
        options: Of `fit`, from which the space departs.
        space: File of the space.
        out: Folder of the results.

    Raises:
        TrainingError: Something else stands at `out`, or the space or the options are not what they should be.
        SeqclassError: As for `fit`.
    """

    def __init__(
        self,
        build: Callable[..., Classifier],
        name: str,
        fit: ArgumentParser,
        save_config: Callable[[Namespace, Path], None],
        options: Namespace,
        space: Path,
        out: Path,
    ) -> None:
        self._build = build
        self._name = name
        self._fit = fit
        self._save_config = save_config
        self._options = options
        self._out = out
        self._signal = StopSignal()
        if out.exists() and not ((out / SPACE).is_file() or (out.is_dir() and not any(out.iterdir()))):
            raise TrainingError("this is not the folder of a sweep", remedy="Choose another --out", file=out)
        if options.logger == "wandb":
            raise TrainingError("a sweep logs each trial by itself", remedy="Choose --logger tensorboard or csv")
        _, task = prepare(build, name, options)
        build_runner(options)
        self._metric = task.monitor
        self._space = Space.read(space, vars(options.as_flat()), self._accept)
        self._space_text = space.read_text(encoding="utf-8")
        everything = vars(options.as_flat())
        self._terms = {
            **terms(build.__name__, task.bundle, everything),
            **{key: json.dumps(everything[key], default=str) for key in _DECISIVE},
            "metric": task.monitor,
            "space": json.dumps({key: str(each) for key, each in self._space.distributions.items()}),
        }

    def run(self, trials: int, storage: str | None = None) -> dict[str, Any]:
        """Goes on until the study has as many trials, and writes `best.yaml`, `trials.tsv` and pictures.

        Trials that were stopped half-way do not count, and are made again. Several processes may run at once: each may
        add one trial more than asked for.

        Args:
            trials: How many that came to an end, of all workers and starts.
            storage: A journal file or the URL of a database; by default `study.journal` in `out`.

        Returns:
            "value" and "options" of the best; empty where none was completed.

        Raises:
            TrainingError: The study was begun otherwise, or cannot be kept there.
            StoreError: The data became unreadable.
            SystemExit: A signal asked to stop.
        """
        storage = storage or str(self._out / JOURNAL)
        study = open_study(self._name, storage, self._terms)
        self._out.mkdir(parents=True, exist_ok=True)
        write_text(self._out / SPACE, self._space_text, force=True)
        hand_back(study)
        say(
            f"sweep {self._name}: {len(self._space.distributions)} options, {_done(study):,} of {trials:,} trials "
            f"done; study in {shown(storage)}; logs in {self._out / TRIALS}"
        )
        stopped = self._search(study, trials)
        found = self._write(study)
        if stopped is not None:
            say(f"stopped by {stopped}: {_done(study):,} of {trials:,} trials done. Go on with: {_command()}")
            raise SystemExit(stopped.exit_code)
        return found

    def _search(self, study: Study, trials: int) -> Interrupted | None:
        """Makes trials until there are enough or a signal asks to stop."""

        def tell(study: Study, trial: FrozenTrial) -> None:
            say(f"{_done(study):,}/{trials:,}  {sentence(study, trial, self._metric)}")

        self._signal.listen()
        try:
            while self._signal.received is None and _taken(study) < trials:
                study.optimize(self._objective, 1, catch=_FailedTrialError, gc_after_trial=True, callbacks=[tell])
        except Interrupted as stop:
            hand_back(study)
            return stop
        finally:
            self._signal.ignore()
        return None if self._signal.received is None else Interrupted(self._signal.received)

    def _objective(self, trial: Trial) -> float:
        sign(trial)
        # Workers must not draw the same values; and one that goes on draws what it would have drawn.
        trial.study.sampler = _sampler(self._options.seed, trial.number)
        values = self._space.draw(trial)
        try:
            options = self._with(values)
            return train_trial(self._build, self._name, options, self._folder(trial.number), trial, self._signal)
        except StoreError:
            raise
        except (SeqclassError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            trial.set_user_attr(REASON, reason)
            raise _FailedTrialError(reason) from None

    def _write(self, study: Study) -> dict[str, Any]:
        """Writes and shows what the study has come to."""
        write_table(study, self._out / TABLE)
        best = best_of(study)
        if best is None:
            say(f"no trial was completed; see {self._out / TABLE}")
            return {}
        options = self._with(best.params)
        options.out = str(self._out / "best")
        with atomic_file(self._out / BEST, force=True) as partial:
            self._save_config(options, partial)
        pictures = write_plots(study, self._metric, self._out)
        show(final_table(study, self._metric))
        say(f"best: trial {best.number}; its configuration, for fit --config: {self._out / BEST}")
        say(f"wrote {', '.join(map(str, [self._out / TABLE, *pictures]))}")
        return {"value": best.value, "options": best.params}

    def _folder(self, number: int) -> Path:
        return self._out / TRIALS / f"{number:04}"

    def _with(self, values: dict[str, Any]) -> Namespace:
        """The options with some of them changed."""
        options: Namespace = self._fit.parse_object(values, namespace=self._options)
        return options

    def _accept(self, option: str, value: Any) -> None:
        """Refuses a value that an option cannot take, as far as that can be told without building the model."""
        options = self._with({option: value})
        part = option.partition(".")[0]
        if part == "recipe":
            Recipe.of(options.recipe.as_dict())
        elif part == "data":
            StoreDataModule(**options.data, seed=options.seed)


def _sampler(seed: int, number: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Trials that other workers are making count as bad ones, so that all do not look at the same place.
        return optuna.samplers.TPESampler(seed=(seed * 1_000_003 + number) % (1 << 32), constant_liar=True)


def _done(study: Study) -> int:
    """Trials that came to an end of their own."""
    return sum(map(was_tried, study.get_trials(deepcopy=False)))


def _taken(study: Study) -> int:
    """Those, and the ones that are being made."""
    return _done(study) + len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def _command() -> str:
    program, *words = sys.argv
    return shlex.join([*(["python", program] if program.endswith(".py") else [Path(program).name]), *words])
