"""FASTA, plain or gzip, read one record at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from seqclass.errors import SequenceError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"


class FastaRecord(NamedTuple):
    """One sequence: the header's first word, the rest of the header, the letters, the header's line number."""

    name: str
    description: str
    letters: bytes
    line: int


@contextmanager
def open_maybe_gzip(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file for reading bytes, through gzip where its first bytes say so, whatever its name.

    Raises:
        SequenceError: There is no such file, it is a folder, or its compression is damaged or cut short.
    """
    path = Path(path)
    try:
        # A pipe can be read only once: its first bytes are looked at, not taken.
        with open(path, "rb") as file:
            if file.peek(2).startswith(_GZIP_MAGIC):
                with gzip.open(file, "rb") as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield file
    except FileNotFoundError:
        raise SequenceError("there is no such file", remedy="Check the path", file=path) from None
    except IsADirectoryError:
        raise SequenceError(
            "this is a folder, where a file is expected", remedy="Name a file in it", file=path
        ) from None
    except PermissionError:
        raise SequenceError("this may not be read", remedy="Ask for the permission to read it", file=path) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SequenceError(
            f"the gzip data is damaged or cut short ({error})", remedy="Copy or download the file again", file=path
        ) from None


def read_fasta(path: str | Path) -> Iterator[FastaRecord]:
    """Yields the records of a FASTA file in order, holding one of them in memory at a time.

    Args:
        path: FASTA, plain or gzip; Unix or Windows line ends.

    Raises:
        SequenceError: The file is missing, empty, not FASTA, damaged, or a record has no name or no sequence.
    """
    path = Path(path)
    header: tuple[str, str, int] | None = None
    parts: list[bytes] = []

    def finish() -> FastaRecord:
        assert header is not None
        name, description, line = header
        letters = b"".join(parts)
        if not letters:
            raise SequenceError(
                f"record '{name}' has no sequence", remedy="Remove it, or add its sequence", file=path, record=line
            )
        return FastaRecord(name, description, letters, line)

    with open_maybe_gzip(path) as stream:
        for number, raw in enumerate(stream, start=1):
            text = raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
            text = text.strip()
            if text.startswith(b">"):
                if header is not None:
                    yield finish()
                words = text[1:].decode("utf-8", "replace").split(maxsplit=1)
                if not words:
                    raise SequenceError(
                        "a header without a name", remedy="Write a name behind '>'", file=path, record=number
                    )
                header, parts = (words[0], words[1] if len(words) > 1 else "", number), []
            elif text:
                if header is None:
                    raise SequenceError(
                        f"FASTA starts with '>', this starts with {text[:20].decode('latin-1')!r}",
                        remedy="Give a FASTA file",
                        file=path,
                        record=number,
                    )
                parts.append(b"".join(text.split()) if b" " in text else text)
        if header is None:
            raise SequenceError("the file is empty", remedy="Give a FASTA file with at least one record", file=path)
        yield finish()
