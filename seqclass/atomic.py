"""Writing whole or not at all: a temporary neighbour, fsync, rename.

A process that is killed, or a disk that fills up, leaves what stood there before. Only a file, an empty folder or a
folder of the same kind is ever replaced, and never what is being read.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from seqclass.errors import OutputExistsError, SeqclassError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_free(
    path: str | Path, force: bool = False, *, holding: str | None = None, inputs: Sequence[str | Path | None] = ()
) -> Path:
    """`path`, if nothing stands there or it may be replaced. To be called before long work.

    Args:
        path: Where output is to go.
        force: Replace what stands there, if it is of the kind to be written.
        holding: For a folder, the name of a file by which one of this kind is known; None for a file.
        inputs: Files and folders that are read for this output; None for what was made in memory.

    Raises:
        OutputExistsError: Something stands there and `force` is false.
        SeqclassError: What stands there is an input or holds one, or is of another kind than what is to be written.
    """
    path = Path(path)
    if not path.exists():
        return path
    real = _real(path)
    for read in (_real(each) for each in inputs if each is not None):
        if real == read:
            raise _refusal(path, "this is what is to be read, so it is not replaced")
        if real in read.parents:
            raise _refusal(path, f"this holds {read}, which is to be read, so it is not replaced")
    if path.is_dir():
        if holding is None:
            raise _refusal(path, "this is a folder, where a file is to be written")
        ours = (path / holding).is_file() or not any(path.iterdir())
        if force and not ours:
            raise _refusal(path, f"this folder holds other things than {holding}, so --force does not replace it")
    elif not path.is_file():
        raise _refusal(path, "this is neither a file nor a folder")
    elif holding is not None:
        raise _refusal(path, "this is a file, where a folder is to be written")
    if not force:
        raise OutputExistsError(path)
    return path


@contextmanager
def atomic_file(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yields a temporary neighbour to write to; on success it takes the place of `path`, on failure it vanishes.

    Where `path` is a link, what it points to is replaced.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
        SeqclassError: What stands there is no file, or the disk is full.
    """
    place = _real(check_free(path, force))
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".partial" + place.suffix, dir=place.parent)
    os.close(handle)
    partial = Path(name)
    try:
        with _telling_of_no_room(path):
            yield partial
            _sync(partial)
        partial.chmod(0o666 & ~_umask())
        os.replace(partial, place)
        _sync(place.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, *, holding: str, force: bool = False) -> Iterator[Path]:
    """As `atomic_file`, for a folder and all that is written into it.

    Args:
        path: The folder.
        holding: The name of a file that is written into it, by which one of this kind is known.
        force: Replace an empty folder, or one of this kind.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
        SeqclassError: What stands there is of another kind, or the disk is full.
    """
    place = _real(check_free(path, force, holding=holding))
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent))
    try:
        with _telling_of_no_room(path):
            yield partial
            for file in partial.rglob("*"):
                # Some libraries write files that none but their owner may read; whoever is handed the folder shall.
                file.chmod((0o777 if file.is_dir() else 0o666) & ~_umask())
                _sync(file)
        partial.chmod(0o777 & ~_umask())
        if place.exists():
            _exchange(partial, place)
        else:
            os.rename(partial, place)
        _sync(place.parent)
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def write_text(path: str | Path, text: str, *, force: bool = False) -> None:
    """Writes a text file whole or not at all."""
    with atomic_file(path, force=force) as partial:
        partial.write_text(text, encoding="utf-8")


def file_stem(name: str, used: set[str]) -> str:
    """A name of files made of the name of a sequence or target, not yet in `used`, to which it is added."""
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)[:50].strip(".") or "_"
    number, candidate = 1, stem
    while candidate in used:
        number += 1
        candidate = f"{stem}_{number}"
    used.add(candidate)
    return candidate


def _real(path: str | Path) -> Path:
    """Where a path leads once all links are followed."""
    return Path(os.path.realpath(path))


def _refusal(path: Path, problem: str) -> SeqclassError:
    return SeqclassError(problem, remedy="Choose another place", file=path)


@contextmanager
def _telling_of_no_room(path: str | Path) -> Iterator[None]:
    """Names the output where the system only says that there is no room for it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise SeqclassError(
            f"this could not be written ({error.strerror})",
            remedy="Make room on the disk; what stood here before is untouched",
            file=path,
        ) from error


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
