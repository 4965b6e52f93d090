"""The folder of a run: one process writes it at a time, and an old run stands until a new one can take its place."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seqclass.errors import TrainingError
from seqclass.terminal import say

CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"

# Some network file systems have no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Keeps other processes from writing the run `out` within the block.

    The lock (`flock`, on a hidden neighbour of the folder) ends with the process, however that ends. What a process
    that was killed left half replaced is put right first, and what it left half written removed.

    Raises:
        TrainingError: Another process writes there; its host and process id are named.
    """
    missing = [folder for folder in out.parents if not folder.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = out.with_name(f".{out.name}.lock")
    descriptor = _locked(lock, out)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        if _aside(out).exists():
            _settle(out)
        for unfinished in (out / CHECKPOINTS).glob(".*.partial*"):
            unfinished.unlink()
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()


@contextmanager
def in_place_of_old_run(out: Path) -> Iterator[None]:
    """Makes the folder for a new run, and puts an old one aside while the block fills it.

    If the block fails before the new run has a checkpoint, the old one is brought back.
    """
    if out.exists():
        out.rename(_aside(out))
    try:
        out.mkdir(parents=True)
        yield
    except BaseException:
        if _aside(out).exists():
            _settle(out)
        raise
    shutil.rmtree(_aside(out), ignore_errors=True)


def last_checkpoint(out: Path) -> Path:
    """Where a run's last checkpoint lies, if it has one."""
    return out / CHECKPOINTS / LAST


def has_checkpoint(out: Path) -> bool:
    """Whether there is one to go on from, of the run or of one of the several that it consists of."""
    return any(out.rglob(f"{CHECKPOINTS}/{LAST}"))


def _aside(out: Path) -> Path:
    return out.with_name(f".{out.name}.replaced")


def _settle(out: Path) -> None:
    """Keeps the new run if it has a checkpoint, else the old one."""
    if has_checkpoint(out):
        shutil.rmtree(_aside(out))
    else:
        shutil.rmtree(out, ignore_errors=True)
        _aside(out).rename(out)


def _locked(lock: Path, out: Path) -> int:
    """An open descriptor of the lock's file, locked."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 1000, 0).decode() or "another process"
            os.close(descriptor)
            raise TrainingError(
                f"{holder} is writing this run", remedy="Wait for it, stop it, or give another --out", file=out
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            say(f"{out.parent} cannot be locked ({error.strerror}): let no other process write {out}")
            return descriptor
        # Whoever held it before may have removed the file since it was opened here.
        if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
            return descriptor
        os.close(descriptor)
