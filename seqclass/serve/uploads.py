"""Files that clients send for jobs: written to disk as they come, never held in memory."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from seqclass.atomic import atomic_file
from seqclass.data.fasta import open_maybe_gzip
from seqclass.serve.limits import Limits
from seqclass.serve.problems import RequestError
from seqclass.serve.reading import FASTA, MULTIPART, content_type, unsupported

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MIB = 1 << 20
_FIELDS, _LONGEST_FIELD = 8, 1000
_REMEDY = "Send a form with one file, as in: curl -F file=@sequences.fasta"


class _Sink(Protocol):
    def write(self, data: bytes) -> int: ...


async def receive_upload(request: Request, file: Path, limits: Limits) -> dict[str, str]:
    """Writes what a request brings into a file in a new folder: its body, or the one file of a form.

    Returns:
        The other fields of the form.

    Raises:
        RequestError: It is too large, too slow, of another kind, or the disk is full.
        ClientDisconnect: The client has gone.
    """
    kind = content_type(request)
    if kind != MULTIPART and kind not in FASTA:
        raise unsupported(kind, *FASTA, MULTIPART)
    try:
        file.parent.mkdir()
        with open(file, "wb") as out:
            if kind != MULTIPART:
                await _pour(request, out, limits)
                return {}
            form = _Form(_boundary(request), out)
            await _pour(request, form.parser, limits)
            return form.fields()
    except OSError as error:
        raise RequestError(
            HTTPStatus.INSUFFICIENT_STORAGE,
            f"the file cannot be kept here ({error.strerror or error})",
            remedy="Ask again later, or send a smaller one",
        ) from None


async def _pour(request: Request, sink: _Sink, limits: Limits) -> None:
    size, part = 0, bytearray()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limits.timeout) as deadline:
            async for chunk in request.stream():
                part += chunk
                size += len(chunk)
                if size > limits.upload:
                    raise too_large(limits)
                if len(part) >= _MIB:
                    await _put(sink, part)
                    deadline.reschedule(loop.time() + limits.timeout)
            await _put(sink, part)
    except TimeoutError:
        raise RequestError(
            HTTPStatus.REQUEST_TIMEOUT,
            f"a part of 1 MiB did not arrive within {limits.timeout:g} seconds",
            remedy="Send it faster, or compressed by gzip",
        ) from None


async def _put(sink: _Sink, part: bytearray) -> None:
    try:
        await run_in_threadpool(sink.write, bytes(part))
    except FormParserError as error:
        raise _unreadable(str(error)) from None
    part.clear()


class _Form:
    """A multipart form, of which the file is written as it comes.

    Args:
        boundary: Between its parts.
        out: Takes the file.
    """

    def __init__(self, boundary: bytes, out: BinaryIO) -> None:
        self._out = out
        self._fields: dict[str, bytearray] = {}
        self._files = 0
        self._ended = False
        self._header, self._value, self._about = bytearray(), bytearray(), b""
        self._into: bytearray | None = None
        told: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        try:
            self.parser = MultipartParser(boundary, told)
        except FormParserError as error:
            raise _unreadable(str(error)) from None

    def fields(self) -> dict[str, str]:
        """The fields beside the file, once all has come.

        Raises:
            RequestError: The form is cut short, or holds no file or several.
        """
        if not self._ended or self._files != 1:
            raise _unreadable("it is cut short" if not self._ended else f"it holds {self._files} files")
        return {name: value.decode("utf-8", "replace") for name, value in self._fields.items()}

    def _begin(self) -> None:
        self._about = b""

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._about = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._about)
        if b"filename" in options:
            self._files += 1
            self._into = None
        else:
            self._into = self._fields.setdefault(options.get(b"name", b"").decode("utf-8", "replace"), bytearray())
        if self._files > 1 or len(self._fields) > _FIELDS:
            raise FormParserError("it holds more than one file and a few fields")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._into is None:
            self._out.write(data[start:end])
        elif len(self._into) + end - start > _LONGEST_FIELD:
            raise FormParserError(f"a field has more than {_LONGEST_FIELD:,} bytes")
        else:
            self._into += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _boundary(request: Request) -> bytes:
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if not boundary:
        raise _unreadable("it has no boundary")
    return boundary


def _unreadable(told: str) -> RequestError:
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, f"the form cannot be read ({told})", remedy=_REMEDY)


def too_large(limits: Limits) -> RequestError:
    """What to raise about a file that is too large, as it comes or unpacked."""
    return RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the file has more than {limits.upload:,} bytes",
        remedy="Send it in several jobs",
    )


def unpack(packed: Path, file: Path, limits: Limits) -> None:
    """Writes a file anew; of one that is packed by gzip, what is in it.

    Raises:
        RequestError: It is larger than a file may be.
        SequenceError: The compression is damaged or cut short.
        SeqclassError: The disk is full.
    """
    size = 0
    with open_maybe_gzip(packed) as stream, atomic_file(file, force=True) as partial, open(partial, "wb") as out:
        while part := stream.read(_MIB):
            size += len(part)
            if size > limits.upload:
                raise too_large(limits)
            out.write(part)
