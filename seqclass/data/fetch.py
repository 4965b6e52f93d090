"""Public data sets on your disk: downloaded, checked, and unpacked whole or not at all.

What was fetched is told in FETCHED.json beside it, with the SHA-256 of each file. Where a publisher gives no checksum,
the first download is trusted, and every later one has to be the same.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import tarfile
import zlib
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from seqclass.atomic import atomic_folder, write_text
from seqclass.data.download import Patience, ResumingDownloader
from seqclass.data.originals import Original, RemoteFile
from seqclass.errors import SourceError
from seqclass.progress import progress

RECORD, CONTENTS = "FETCHED.json", "CONTENTS.json"

_PIECE_BYTES = 1 << 20
_CLASHES = (FileExistsError, IsADirectoryError, NotADirectoryError)  # a file and a folder of one name

Entry = dict[str, Any]


def fetch(original: Original, folder: str | Path, *, patience: Patience | None = None) -> list[str]:
    """Downloads a public data set; what is there already is checked, and not downloaded again.

    Args:
        original: One of `seqclass.data.originals.ORIGINALS`, or your own.
        folder: Where its files go. What an archive holds goes into a folder of the archive's name.
        patience: With servers that stall or fail.

    Returns:
        Sentences on what was done.

    Raises:
        SourceError: pooch is missing; a download failed (running it again goes on from there); a file has not the
            checksum that is listed or recorded; or an archive is damaged, or would write outside its folder.
        SeqclassError: The disk is full, or something else stands where an archive is to be unpacked.
    """
    try:
        import pooch
    except ImportError:
        raise SourceError(
            "downloading needs pooch, which is not installed", remedy="Install it: pip install 'seqclass[fetch]'"
        ) from None

    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise SourceError("this is a file, where a folder is expected", remedy="Choose another place", file=folder)
    record = _read_record(folder)
    fetched: list[str] = []
    kept: list[str] = []
    unlisted: list[str] = []
    notes: list[str] = []
    num_bytes = 0
    for remote in original.files:
        place, entry = folder / remote.path, record.get(remote.path, {})
        unpacked = place.with_name(place.name.removesuffix(".gz").removesuffix(".tar"))
        if remote.unpack and not place.exists() and _is_unpacked(unpacked):
            kept.append(unpacked.name)
            continue
        known = remote.checksum or (f"sha256:{entry['sha256']}" if entry else "")
        if place.exists():
            kept.append(remote.path)
            sha256 = _check(pooch, remote, place, known)
        else:
            _download(pooch, remote, place, known, entry, patience or Patience())
            fetched.append(remote.path)
            num_bytes += place.stat().st_size
            sha256 = _hash(pooch, place, "sha256")
        if remote.unpack and not _is_unpacked(unpacked):
            notes.append(f"unpacked to {unpacked}: {_unpack(place, unpacked):,} files")
        if not known:
            unlisted.append(remote.path)
        if entry.get("sha256") != sha256:
            record[remote.path] = {
                "data_set": original.name,
                "url": remote.url,
                "bytes": place.stat().st_size,
                "sha256": sha256,
                "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
                "licence": original.licence,
                "citation": original.citation,
            }
            write_text(folder / RECORD, json.dumps(record, indent=2) + "\n", force=True)
    if unlisted:
        notes.insert(
            0,
            f"no checksum is published for {_some(unlisted)}: the SHA-256 found now is in {folder / RECORD}, and is "
            "compared from now on",
        )
    if kept:
        notes.insert(0, f"here already, and not downloaded again: {_some(kept)}")
    if fetched:
        notes.insert(0, f"fetched {_some(fetched)}: {num_bytes:,} bytes")
    return notes


def _some(paths: list[str]) -> str:
    return ", ".join(paths) if len(paths) <= 3 else f"{len(paths):,} files"


def _read_record(folder: Path) -> dict[str, Entry]:
    """What FETCHED.json says of each file of the folder."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if all(re.fullmatch("[0-9a-f]{64}", entry["sha256"]) for entry in record.values()):
            return dict(record)
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, KeyError, TypeError):
        pass
    raise SourceError(
        "this is not a record of fetched files", remedy="Move it away, and fetch again", file=path
    ) from None


def _hash(pooch: Any, place: Path, algorithm: str) -> str:
    with progress(f"Checking {place.name}"):
        return str(pooch.file_hash(str(place), alg=algorithm))


def _check(pooch: Any, remote: RemoteFile, place: Path, known: str) -> str:
    """The SHA-256 of a file that is there, once it has the checksum that is known of it."""
    sha256 = _hash(pooch, place, "sha256")
    if known:
        algorithm, _, expected = known.partition(":")
        found = sha256 if algorithm == "sha256" else _hash(pooch, place, algorithm)
        if found != expected:
            raise SourceError(
                f"this has the checksum {algorithm}:{found}, where {known} is "
                + ("listed" if remote.checksum else f"recorded in {RECORD}"),
                remedy="It is damaged or was changed: move it away, and fetch it again",
                file=place,
            )
    return sha256


def _download(pooch: Any, remote: RemoteFile, place: Path, known: str, entry: Entry, patience: Patience) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    # pooch tells of each download on standard error, where the progress bar is.
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        pooch.retrieve(
            remote.url,
            known_hash=known or None,
            fname=place.name,
            path=place.parent,
            downloader=ResumingDownloader(place, patience),
        )
    except ValueError as error:
        # Of a wrong checksum, and then the file is gone.
        found = re.search(r"but got (\w+)", str(error))
        accept = "" if remote.checksum else f"; to accept that, take its entry out of {RECORD}"
        raise SourceError(
            f"the download has the checksum {found[1] if found else 'of another file'}, where {known} is "
            + ("listed" if remote.checksum else f"recorded in {RECORD} since {entry.get('fetched')}")
            + "; it was not kept",
            remedy=f"Fetch it again; if that does not help, its publisher has changed it{accept}",
            file=place,
        ) from None
    finally:
        logger.setLevel(level)


def _is_unpacked(folder: Path) -> bool:
    """Whether all that was unpacked into a folder is there."""
    try:
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in contents.items())
    except (OSError, ValueError, AttributeError):
        return False


def _unpack(archive: Path, folder: Path) -> int:
    """Unpacks plain files, whole or not at all; returns their number."""
    contents: dict[str, int] = {}
    try:
        with (
            open(archive, "rb") as packed,
            gzip.open(packed) as stream,
            tarfile.open(fileobj=stream, mode="r:") as members,
            atomic_folder(folder, holding=CONTENTS, force=True) as partial,
            progress(f"Unpacking {archive.name}", archive.stat().st_size, "bytes") as advance,
        ):
            done = 0
            for member in members:
                if member.isdir():
                    continue
                name = PurePosixPath(member.name)
                source = members.extractfile(member) if member.isreg() else None
                if source is None or name.is_absolute() or ".." in name.parts or name.parts in ((), (CONTENTS,)):
                    raise SourceError(
                        f"the archive holds {member.name!r}, which is not a plain file inside its folder",
                        remedy="Do not trust it: ask its publisher",
                        file=archive,
                    )
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                with open(partial / name, "wb") as target:
                    while piece := source.read(_PIECE_BYTES):
                        target.write(piece)
                        advance(packed.tell() - done)
                        done = packed.tell()
                contents[str(name)] = member.size
            while stream.read(_PIECE_BYTES):
                pass  # the checksum is at the very end
            (partial / CONTENTS).write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, *_CLASHES) as error:
        raise SourceError(
            f"the archive is damaged ({error})", remedy="Move it away, and fetch it again", file=archive
        ) from None
    return len(contents)
