"""One job: from the file that came to the table that is fetched, beside the requests.

It is `seqclass.predict.write_predictions` that writes the table, so that it has the bytes that `seqclass predict`
writes, and goes on where it stopped. Each of its batches is a turn of the model's thread, in line with the requests.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqclass.data.fasta import read_fasta
from seqclass.errors import SequenceError
from seqclass.predict.files import write_predictions
from seqclass.predict.turns import taking_turns
from seqclass.progress import track, watched
from seqclass.serve.hosted import Hosted
from seqclass.serve.job_table import Job
from seqclass.serve.limits import Limits
from seqclass.serve.uploads import unpack

UPLOAD, SEQUENCES, RESULT, PLOT = "upload", "sequences.fasta", "result.csv", "plot.png"

_RECENT = 30.0


class JobEndedError(Exception):
    """The job was cancelled, or the service ends."""


class JobRun:
    """The job that is being judged: how far it is, and whether it is to end.

    Args:
        keep: Is told now and then how many are done, and of how many.
    """

    def __init__(self, id: str, keep: Callable[[int, int | None], None]) -> None:
        self.id, self._keep = id, keep
        self.end = threading.Event()
        self.done, self.total = 0, 0
        self._marks: deque[tuple[float, float]] = deque()
        self._kept = 0.0

    def watch(self, description: str, done: float, total: float | None) -> None:
        """Takes what a long run tells of its progress.

        Raises:
            JobEndedError: It is to end.
        """
        if self.end.is_set():
            raise JobEndedError
        if description != "Predicting" or total is None:
            return
        now = time.monotonic()
        self.done, self.total = int(done), int(total)
        self._marks.append((now, done))
        while now - self._marks[0][0] > _RECENT and len(self._marks) > 2:
            self._marks.popleft()
        if now - self._kept > 1:
            self._kept = now
            self._keep(self.done, self.total)

    @property
    def eta(self) -> float | None:
        """Seconds that it takes yet, at the rate of the last half a minute."""
        marks = list(self._marks)
        if len(marks) < 2 or marks[-1][1] == marks[0][1]:
            return None
        rate = (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])
        return max(0.0, (self.total - marks[-1][1]) / rate - (time.monotonic() - marks[-1][0]))


def judge_file(
    job: Job, folder: Path, hosted: Hosted, limits: Limits, run: JobRun, loop: asyncio.AbstractEventLoop
) -> int:
    """Writes the table of a job; called in a thread of its own.

    Args:
        job: How to judge.
        folder: The job's: what came is there, and what was scored before the service was stopped.
        hosted: The model.
        limits: Of lengths and of the file.
        run: Is told of the progress, and says when to end.
        loop: The event loop of the service.

    Returns:
        The number of rows.

    Raises:
        JobEndedError: It is to end.
        SeqclassError: What came cannot be judged, or the disk is full.
    """

    def in_line(work: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(hosted.batcher.lend(work), loop).result()

    upload, sequences = folder / UPLOAD, folder / SEQUENCES
    with watched(run.watch), taking_turns(in_line):
        if upload.exists():
            unpack(upload, sequences, limits)
            upload.unlink()
        for record in track(read_fasta(sequences), "Reading lengths"):
            if len(record.letters) > limits.length:
                raise SequenceError(
                    f"{len(record.letters):,} residues, where a sequence may have {limits.length:,}",
                    remedy="Cut it into shorter ones",
                    record=f"line {record.line}, record '{record.name}'",
                )
        return write_predictions(
            hosted.bundle,
            sequences,
            folder / RESULT,
            top_k=job.top_k,
            length_policy=job.length_policy,
            resume=True,
            force=True,
            tell=lambda _: None,
        )
