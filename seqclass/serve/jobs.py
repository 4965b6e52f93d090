"""Jobs: files of sequences that are judged one after the other, beside the requests, and survive a restart."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path

from fastapi import Request

from seqclass.errors import SeqclassError
from seqclass.serve.asked import Parameters
from seqclass.serve.hosted import Hosted
from seqclass.serve.job_run import UPLOAD, JobEndedError, JobRun, judge_file
from seqclass.serve.job_table import FINISHED, UNFINISHED, Job, JobTable
from seqclass.serve.limits import Limits
from seqclass.serve.problems import RequestError
from seqclass.serve.uploads import receive_upload

ID = r"^[A-Za-z0-9_-]{22}$"
"""What the id of a job looks like."""

_HOUR, _DAY, _RETRY = 3600.0, 86_400.0, 10.0

log = logging.getLogger("seqclass.serve")


class Jobs:
    """The jobs of a server.

    Args:
        folder: Where they are kept.
        limits: Of their files, their number and their age.

    Raises:
        SeqclassError: The folder cannot be used, or another server uses it.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._lock = _take(folder)
        self._table = JobTable(folder)
        self._table.requeue()
        self._remove_strays()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._run: JobRun | None = None
        self._receiving = 0

    def start(self, models: Mapping[str, Hosted]) -> None:
        """Goes on with what was left, and takes what comes; called in the event loop.

        Args:
            models: Those that judge, by name.
        """
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work(models)), loop.create_task(self._clean())]

    async def stop(self) -> None:
        """Ends after the batch that is being scored; another start goes on from there."""
        for task in self._tasks:
            task.cancel()
        if self._run is not None:
            self._run.end.set()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.to_thread(self._thread.shutdown)
        self._table.close()
        os.close(self._lock)

    async def submit(self, request: Request, given: Parameters, hosted: Callable[[str | None], Hosted]) -> Job:
        """Takes the file of a request.

        Args:
            request: Brings it.
            given: How to judge; fields of a form count before these.
            hosted: Finds a model by its name.

        Raises:
            RequestError: Too many jobs wait, or the file cannot be taken.
            ValidationError: A field of the form is none of the parameters.
        """
        self._refuse_crowd()
        id = secrets.token_urlsafe(16)
        folder = self._folder / id
        with ExitStack() as undo, self._counted():
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            fields = await receive_upload(request, folder / UPLOAD, self._limits)
            told = Parameters.model_validate({name: value for name, value in fields.items() if value})
            asked = given.model_copy(update=told.model_dump(exclude_unset=True))
            job = Job(id, hosted(asked.model).name, asked.top_k, asked.length_policy, time.time())
            await asyncio.to_thread(self._table.add, job)
            undo.pop_all()
        self._arrived.set()
        return job

    def get(self, id: str) -> tuple[Job, float | None]:
        """A job, and how many seconds it will take yet, where that is known.

        Raises:
            RequestError: There is none of that id.
        """
        job, run = self._table.get(id), self._run
        if job is None:
            raise RequestError(
                HTTPStatus.NOT_FOUND, "there is no such job", remedy="It may have been deleted, or be too old"
            )
        if run is None or run.id != id or job.state != "running":
            return job, None
        return Job(**vars(job) | {"done": run.done, "total": run.total or None}), run.eta

    def cancel(self, id: str) -> None:
        """Ends a job and removes its files; one that had ended already is forgotten altogether.

        Raises:
            RequestError: There is none of that id.
        """
        self.get(id)
        if not self._table.change(id, UNFINISHED, state="cancelled", finished=time.time()):
            self._table.remove(id)
        run = self._run
        if run is not None and run.id == id:
            run.end.set()
        else:
            shutil.rmtree(self._folder / id, ignore_errors=True)

    def file(self, job: Job, name: str) -> Path:
        """Where a file of a job that is done is, or is to be.

        Raises:
            RequestError: The job is not done, or somebody removed its files.
        """
        if job.state != "done":
            told = f"the job is {job.state}" + (f": {job.error}" if job.error else "")
            remedy = "Ask again once it is done" if job.state in UNFINISHED else "Send it again"
            raise RequestError(HTTPStatus.CONFLICT, told.rstrip("."), remedy=remedy)
        if not (self._folder / job.id).exists():
            raise RequestError(HTTPStatus.NOT_FOUND, "the files of this job are gone", remedy="Send it again")
        return self._folder / job.id / name

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._receiving += 1
        try:
            yield
        finally:
            self._receiving -= 1

    def _refuse_crowd(self) -> None:
        waiting = self._table.waiting() + self._receiving
        if waiting >= self._limits.jobs:
            eta = self._run.eta if self._run is not None else None
            raise RequestError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{waiting} jobs wait already, and {self._limits.jobs} may",
                remedy="Ask again later",
                retry_after=max(1, min(600, round(60 if eta is None else eta))),
            )

    def _remove_strays(self) -> None:
        """Removes what was being received when the process ended."""
        known = {job.id for job in self._table.all()}
        for path in self._folder.iterdir():
            if path.is_dir() and re.match(ID, path.name) and path.name not in known:
                shutil.rmtree(path, ignore_errors=True)

    async def _work(self, models: Mapping[str, Hosted]) -> None:
        while True:
            self._arrived.clear()
            try:
                job = await asyncio.to_thread(self._table.next)
                if job is None:
                    await self._arrived.wait()
                else:
                    await self._carry_out(job, models)
            except SeqclassError as error:
                # The disk may have room again by then.
                log.error("%s", error)
                await asyncio.sleep(_RETRY)

    async def _carry_out(self, job: Job, models: Mapping[str, Hosted]) -> None:
        loop = asyncio.get_running_loop()
        run = self._run = JobRun(job.id, lambda done, total: self._keep(job.id, done=done, total=total))
        working = loop.run_in_executor(self._thread, self._judge, job, models.get(job.model), run, loop)
        try:
            await asyncio.wait([working])
        finally:
            # When the service ends, the job has been told so.
            await asyncio.wait([working])
            self._run = None
            await asyncio.to_thread(self._settle, job.id, working.exception())

    def _judge(self, job: Job, hosted: Hosted | None, run: JobRun, loop: asyncio.AbstractEventLoop) -> None:
        """Writes the result of a job; called in the jobs' thread."""
        if hosted is None:
            raise SeqclassError(f"the model '{job.model}' is not served any more", remedy="Ask for another")
        if not self._table.change(job.id, state="running", version=hosted.version):
            raise JobEndedError
        rows = judge_file(job, self._folder / job.id, hosted, self._limits, run, loop)
        if not self._table.change(job.id, state="done", done=rows, total=rows, finished=time.time()):
            raise JobEndedError

    def _settle(self, id: str, error: BaseException | None) -> None:
        """Puts down how a job ended; what is left of one that did not end well is removed."""
        if error is None:
            return
        if isinstance(error, JobEndedError):
            job = self._table.get(id)
            if job is None or job.state not in UNFINISHED:
                shutil.rmtree(self._folder / id, ignore_errors=True)
            return
        if isinstance(error, SeqclassError):
            # A path on the server is nothing that a client should know or could use.
            error.file = None
            told = str(error)
        elif isinstance(error, OSError):
            told = f"the system refused ({error.strerror or error}). Ask again later."
        else:
            told = "The service failed; its log says how."
            log.error("job %s failed", id, exc_info=error)
        shutil.rmtree(self._folder / id, ignore_errors=True)
        self._keep(id, state="failed", error=told, finished=time.time())

    def _keep(self, id: str, **values: str | float | None) -> None:
        try:
            self._table.change(id, UNFINISHED, **values)
        except SeqclassError as error:
            log.error("%s", error)

    async def _clean(self) -> None:
        """Forgets, every hour, jobs that ended long ago."""
        while True:
            try:
                await asyncio.to_thread(self.forget_old, time.time())
            except SeqclassError as error:
                log.error("%s", error)
            await asyncio.sleep(_HOUR)

    def forget_old(self, now: float) -> None:
        """Forgets jobs that ended so many days before a time, and removes their files."""
        for job in self._table.all():
            if job.state in FINISHED and now - (job.finished or job.created) > self._limits.keep_days * _DAY:
                self._table.remove(job.id)
                shutil.rmtree(self._folder / job.id, ignore_errors=True)


def _take(folder: Path) -> int:
    """Makes the folder and gives the descriptor of its lock, which ends with the process."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SeqclassError(
            "another server keeps its jobs here", remedy="Choose another folder with --jobs", file=folder
        ) from None
    except OSError as error:
        raise SeqclassError(
            f"jobs cannot be kept here ({error.strerror or error})",
            remedy="Choose another folder with --jobs",
            file=folder,
        ) from None
    return lock
