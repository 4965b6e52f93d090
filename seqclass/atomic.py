"""Writing whole or not at all: a temporary neighbour, fsync, rename.

A process that is killed, or a disk that fills up, leaves what stood there before.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqclass.errors import OutputExistsError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def check_free(path: str | Path, force: bool = False) -> Path:
    """`path`, if nothing stands there or `force` allows replacing it. To be called before long work.

    Raises:
        OutputExistsError: Something stands there and `force` is false.
    """
    path = Path(path)
    if path.exists() and not force:
        raise OutputExistsError(path)
    return path


@contextmanager
def atomic_file(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yields a temporary neighbour to write to; on success it takes the place of `path`, on failure it vanishes.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    path = check_free(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial" + path.suffix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        _sync(partial)
        partial.chmod(0o666 & ~_umask())
        os.replace(partial, path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """As `atomic_file`, for a folder and all that is written into it.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    path = check_free(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        yield partial
        for file in partial.rglob("*"):
            _sync(file)
        partial.chmod(0o777 & ~_umask())
        if path.exists():
            _exchange(partial, path)
        else:
            os.rename(partial, path)
        _sync(path.parent)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str, *, force: bool = False) -> None:
    """Writes a text file whole or not at all."""
    with atomic_file(path, force=force) as partial:
        partial.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _exchange(new: Path, old: Path) -> None:
    """Swaps two names in one step where the system can (Linux); elsewhere in two renames."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 and renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
        return
    aside = new.with_suffix(".replaced")
    os.rename(old, aside)
    os.rename(new, old)
    os.rename(aside, new)
