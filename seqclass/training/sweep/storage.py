"""Where a study is kept, so that several processes work on it and it outlives each of them."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna import Study, Trial
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryFailedTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from seqclass.errors import TrainingError

# A database learns this often that a worker lives; one not heard of for twice as long is taken for dead.
_HEARTBEAT_SECONDS = 60

_TERMS, _WORKER, REASON = "terms", "worker", "reason"

# So many trials are completed before others are measured by them.
_STARTUP_TRIALS = 5


def open_study(name: str, storage: str, terms: Mapping[str, str]) -> Study:
    """The study of that name, begun if there is none.

    Args:
        name: Of the study; a storage may hold several.
        storage: The path of a journal file, or the URL of a database.
        terms: What must be the same for all trials, as text by name.

    Raises:
        TrainingError: The storage cannot be opened, or the study was begun under other terms; all that differs is
            listed.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            storage=_storage(storage),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS),
        )
        then = study.user_attrs.get(_TERMS)
        if then is None:
            study.set_user_attr(_TERMS, dict(terms))
            return study
    except (OptunaError, SQLAlchemyError, ImportError, ValueError, KeyError) as error:
        raise TrainingError(
            f"the study cannot be kept in {shown(storage)} ({' '.join(str(error).split())})",
            remedy="Give --storage a new file, the journal of a study, or the URL of a database such as "
            "sqlite:///study.db or mysql+pymysql://user@host/name",
        ) from error
    different = [
        f"{key} {then.get(key, 'unknown')} then, {terms.get(key, 'unknown')} now"
        for key in dict.fromkeys((*then, *terms))
        if then.get(key) != terms.get(key)
    ]
    if different:
        raise TrainingError(
            f"the study '{name}' in {shown(storage)} began otherwise: {'; '.join(different)}",
            remedy="Repeat its command to go on with it, or give another --out (or --storage, or --name)",
        )
    return study


def shown(storage: str) -> str:
    """A storage as it may be printed: without a password."""
    return make_url(storage).render_as_string(hide_password=True) if "://" in storage else storage


def sign(trial: Trial) -> None:
    """Notes which process works on a trial."""
    trial.set_user_attr(_WORKER, _this_worker())


def hand_back(study: Study) -> None:
    """Ends trials of which the process, on this machine, is gone or is this one; their values are tried again first."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_abandoned(trial.user_attrs.get(_WORKER)):
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except ValueError:
                continue  # another worker was faster
            study.enqueue_trial(trial.params)


def was_tried(trial: FrozenTrial) -> bool:
    """Whether a trial came to an end of its own: completed, pruned, or failed for a reason."""
    failed = trial.state is TrialState.FAIL and REASON in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or failed


def _storage(storage: str) -> BaseStorage:
    if "://" not in storage:
        path = Path(storage)
        if path.is_dir():
            raise ValueError("this is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(
            storage, heartbeat_interval=_HEARTBEAT_SECONDS, failed_trial_callback=RetryFailedTrialCallback()
        )


def _this_worker() -> str:
    return f"{os.getpid()} on {socket.gethostname()}"


def _is_abandoned(worker: str | None) -> bool:
    if worker is None:
        return False
    process, _, host = worker.partition(" on ")
    if host != socket.gethostname():
        return False
    if int(process) == os.getpid():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
