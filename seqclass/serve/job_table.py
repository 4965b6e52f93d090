"""Jobs as they are kept: a row each in an SQLite file, which survives the process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from http import HTTPStatus
from pathlib import Path
from typing import Literal, get_args

from seqclass.errors import SeqclassError
from seqclass.predict.stretches import LengthPolicy
from seqclass.serve.problems import RequestError

FILE = "jobs.sqlite"

State = Literal["queued", "running", "done", "failed", "cancelled"]
UNFINISHED: tuple[State, ...] = ("queued", "running")
FINISHED = tuple(state for state in get_args(State) if state not in UNFINISHED)

_VERSION = 1
_CREATE = """CREATE TABLE jobs (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, top_k INTEGER, length_policy TEXT NOT NULL, created REAL NOT NULL,
    state TEXT NOT NULL, version TEXT, done INTEGER NOT NULL, total INTEGER, error TEXT, finished REAL)"""


@dataclass(frozen=True)
class Job:
    """A file of sequences that is being judged, or was.

    Args:
        id: Nobody guesses it.
        model: Name of the model that judges.
        top_k: Tell of so many of the most probable targets; None for all.
        length_policy: What becomes of sequences of another length than the model takes.
        created: When it came, in seconds since 1970.
        state: Where it stands.
        version: Of the model, since it began.
        done: Sequences, or windows of them, that are scored.
        total: How many there are; None until they are counted.
        error: Why it failed, in a sentence.
        finished: When it ended, in seconds since 1970.
    """

    id: str
    model: str
    top_k: int | None
    length_policy: LengthPolicy
    created: float
    state: State = "queued"
    version: str | None = None
    done: int = 0
    total: int | None = None
    error: str | None = None
    finished: float | None = None


_COLUMNS = [field.name for field in fields(Job)]


class JobTable:
    """The jobs of one server; may be asked from any thread.

    Args:
        folder: Where the file is.

    Raises:
        SeqclassError: The file is damaged, was written by a newer version, or the disk is full; at any time.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._lock = folder / FILE, threading.Lock()
        with self._asking():
            self._connection = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise SeqclassError(
                    f"the jobs have version {version}, newer than version {_VERSION} of this library",
                    remedy="Install a newer seqclass, or choose another folder with --jobs",
                    file=self._file,
                )
            if version == 0:
                self._connection.execute(_CREATE)
                self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def add(self, job: Job) -> None:
        """Keeps a new job."""
        marks = ", ".join("?" * len(_COLUMNS))
        values = [getattr(job, name) for name in _COLUMNS]
        with self._asking():
            self._connection.execute(f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({marks})", values)

    def get(self, id: str) -> Job | None:
        """The job of that id, if there is one."""
        return next(iter(self._select("WHERE id = ?", [id])), None)

    def all(self) -> list[Job]:
        """All jobs, the first to come first."""
        return self._select("", [])

    def requeue(self) -> None:
        """Queues again what was running when the process ended."""
        with self._asking():
            self._connection.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")

    def next(self) -> Job | None:
        """The queued job that came first."""
        return next(iter(self._select("WHERE state = 'queued'", [])), None)

    def waiting(self) -> int:
        """How many are queued."""
        return len(self._select("WHERE state = 'queued'", []))

    def change(self, id: str, among: Sequence[State] = UNFINISHED, **values: str | float | None) -> bool:
        """Changes a job if it is in one of some states.

        Returns:
            Whether it was.
        """
        columns = ", ".join(f"{name} = ?" for name in values)
        states = ", ".join("?" * len(among))
        with self._asking():
            changed = self._connection.execute(
                f"UPDATE jobs SET {columns} WHERE id = ? AND state IN ({states})", [*values.values(), id, *among]
            )
            return changed.rowcount > 0

    def remove(self, id: str) -> None:
        """Forgets a job."""
        with self._asking():
            self._connection.execute("DELETE FROM jobs WHERE id = ?", [id])

    def close(self) -> None:
        """Ends the use of the file."""
        with self._asking():
            self._connection.close()

    def _select(self, condition: str, values: Sequence[str]) -> list[Job]:
        query = f"SELECT {', '.join(_COLUMNS)} FROM jobs {condition} ORDER BY created, rowid"
        with self._asking():
            return [Job(*row) for row in self._connection.execute(query, values)]

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            told = RequestError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"the jobs cannot be read or written ({error})",
                remedy="Make room on the disk; if the file is damaged, remove it or choose another folder with --jobs",
            )
            told.file = self._file
            raise told from None
