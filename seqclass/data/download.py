"""Downloading one file over HTTP so that it can go on where it broke off."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from seqclass.errors import SourceError
from seqclass.progress import progress

_PIECE_BYTES = 1 << 16
# An attempt that brought so much was worth it: what failed before is forgiven.
_WORTHWHILE_BYTES = 1 << 20
_LONGEST_PAUSE = 60.0
_PASSING_STATUS = (408, 425, 429)  # beside 5xx, what another attempt may change


@dataclass(frozen=True)
class Patience:
    """How long a server is given.

    Args:
        stall: Seconds without a byte after which a connection is given up.
        attempts: How many may fail in a row.
        pause: Seconds before the second attempt, doubled before each further one.
    """

    stall: float = 30.0
    attempts: int = 6
    pause: float = 1.0


class _PassingError(Exception):
    """A failure that another attempt may not meet."""


class ResumingDownloader:
    """A downloader for pooch that goes on where the last attempt, or the last process, broke off.

    What has come lies in a hidden neighbour of the file, and beside that what identifies the version that it is part
    of. The server is asked for the rest of that very version (RFC 9110, If-Range), and all is taken anew where it has
    another one, or does not know how to send a part.

    Args:
        place: Where the file is to stand.
        patience: With servers that stall or fail.
    """

    def __init__(self, place: Path, patience: Patience) -> None:
        self.place, self.patience = place, patience
        self._partial = place.with_name(f".{place.name}.partial")
        self._version = place.with_name(f".{place.name}.version")

    def __call__(self, url: str, output_file: str, pooch: object = None) -> None:
        """Downloads `url` to `output_file`, in the way in which pooch calls it.

        Raises:
            SourceError: The server refuses, fails too often, or sends a web page; the disk has no room for the file; or
                another process is downloading it.
        """
        failures = most = 0
        with self._alone() as file:
            while True:
                try:
                    self._attempt(url, file)
                    break
                except _PassingError as passing:
                    have = file.seek(0, 2)
                    failures = 1 if have >= most + _WORTHWHILE_BYTES else failures + 1
                    most = max(most, have)
                    if failures >= self.patience.attempts:
                        raise SourceError(
                            f"{url} could not be downloaded: {passing}, and {failures} attempts in a row failed; "
                            f"{have:,} bytes are here",
                            remedy="Run it again later" + (": it goes on from there" if have else ""),
                            file=self.place,
                        ) from None
                    time.sleep(min(_LONGEST_PAUSE, self.patience.pause * 2 ** (failures - 1)))
            self._partial.replace(output_file)

    @contextmanager
    def _alone(self) -> Iterator[IO[bytes]]:
        """The partial file, open and held by this process only."""
        with open(self._partial, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SourceError(
                    "another process is downloading this", remedy="Wait for it to end", file=self.place
                ) from None
            try:
                yield file
            finally:
                if not file.seek(0, 2):
                    self._partial.unlink(missing_ok=True)
                if not self._partial.exists():
                    self._version.unlink(missing_ok=True)

    def _attempt(self, url: str, file: IO[bytes]) -> None:
        """Asks once for what is missing; returns when all is there."""
        import requests
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        have, version = file.seek(0, 2), self._read_version(url)
        # The bytes as they are stored: half of a transfer that is compressed on its way is of no use.
        headers = {"Accept-Encoding": "identity"}
        if have and version:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=self.patience.stall) as response:
                have, total = self._agree(url, response, file, have, version)
                with progress(f"Fetching {self.place.name}", total, "bytes") as advance:
                    advance(have)
                    while have != total:
                        size = _PIECE_BYTES if total is None else min(_PIECE_BYTES, total - have)
                        piece = response.raw.read(size, decode_content=False)
                        if not piece:
                            break
                        file.write(piece)
                        have += len(piece)
                        advance(len(piece))
        except (requests.Timeout, ReadTimeoutError):
            raise _PassingError(f"the server sent nothing for {self.patience.stall:g} seconds") from None
        except (requests.ConnectionError, HTTPError) as error:
            raise _PassingError(f"the connection broke ({error})") from None
        except requests.RequestException as error:
            raise SourceError(
                f"{url} could not be downloaded: {error}", remedy="Check the address", file=self.place
            ) from None
        if total is not None and have < total:
            raise _PassingError(f"the connection ended at byte {have:,} of {total:,}")

    def _agree(self, url: str, response: Any, file: IO[bytes], have: int, version: str) -> tuple[int, int | None]:
        """What the answer goes on from, and the size of the whole, None where the server does not say."""
        status, headers = response.status_code, response.headers
        served = _version_of(headers)
        if status >= 500 or status in _PASSING_STATUS:
            raise _PassingError(f"the server answered {status} {response.reason}")
        if status in (206, 416):
            part = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", ""))
            begin, total = (part[1], part[2]) if part else (None, "*")
            is_same = not served or served == version
            if is_same and status == 206 and begin == str(have):
                self._expect_room(total, have)
                return have, None if total == "*" else int(total)
            if is_same and status == 416 and total == str(have):
                return have, have
            file.truncate(0)
            raise _PassingError("the server sent another part than the one asked for")
        if status != 200:
            raise SourceError(
                f"{url} could not be downloaded: the server answered {status} {response.reason}",
                remedy="Look whether its publisher has moved it",
                file=self.place,
            )
        if headers.get("Content-Type", "").startswith("text/html") and self.place.suffix not in (".html", ".htm"):
            raise SourceError(
                f"{url} is a web page, where a file is expected",
                remedy="Look at it in a browser: its publisher may have moved the file, or your network may ask you to "
                "sign in",
                file=self.place,
            )
        file.truncate(0)
        self._version.write_text(json.dumps({"url": url, "version": served}), encoding="utf-8")
        length = headers.get("Content-Length", "*")
        self._expect_room(length, 0)
        return 0, int(length) if length.isdecimal() else None

    def _expect_room(self, total: str, have: int) -> None:
        free = shutil.disk_usage(self.place.parent).free
        if total.isdecimal() and int(total) - have > free:
            raise SourceError(
                f"this needs {int(total) - have:,} bytes more, and the disk has {free:,}",
                remedy="Make room, or choose another folder",
                file=self.place,
            )

    def _read_version(self, url: str) -> str:
        """Of what is there already; "" where that is unknown."""
        try:
            known = json.loads(self._version.read_text(encoding="utf-8"))
            return str(known["version"]) if known["url"] == url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def _version_of(headers: Any) -> str:
    """What a server identifies a version of a file by, "" where it has nothing that holds byte for byte."""
    tag: str = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else str(headers.get("Last-Modified", ""))
