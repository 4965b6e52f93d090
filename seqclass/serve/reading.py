"""From the bytes of a body to named sequences or vectors, by its content type. Nothing in it is ever a path or code."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
import tokenize
import zlib
from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from itertools import islice
from typing import NamedTuple

import numpy as np
from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from seqclass.data.fasta import read_fasta
from seqclass.errors import SequenceError
from seqclass.serve.asked import Named, Parameters, PredictRequest
from seqclass.serve.limits import Limits
from seqclass.serve.problems import RequestError
from seqclass.serve.scoring import Vectors

JSON, CSV, NPY, MULTIPART = "application/json", "text/csv", "application/x-npy", "multipart/form-data"
FASTA = ("text/x-fasta", "text/plain")
_GZIP_MAGIC = b"\x1f\x8b"

Inputs = Sequence[tuple[str, str | Vectors]]


class Asked(NamedTuple):
    """What a request asks."""

    inputs: Inputs
    parameters: Parameters


def content_type(request: Request) -> str:
    """The content type of a body, without its parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def accepted(request: Request, *offered: str) -> str:
    """The content type of the answer: the first that the client names among those offered, else the first of these."""
    named = [part.split(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return next((kind for kind in named if kind in offered), offered[0])


def unsupported(found: str, *expected: str) -> RequestError:
    """What to raise about a body of another content type than those expected."""
    return RequestError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"the content type is '{found}'",
        remedy=f"Send {', '.join(expected[:-1])} or {expected[-1]}" if len(expected) > 1 else f"Send {expected[0]}",
    )


def read_json(body: bytes, given: Parameters) -> Asked:
    """What a body `{"inputs": [...], "parameters": {...}}` asks; its parameters count before those given.

    Raises:
        ValidationError: It is no JSON, or not of that schema.
    """
    asked = PredictRequest.model_validate_json(body)
    told = asked.parameters.model_dump(exclude_unset=True)
    return Asked([_named(each, number) for number, each in enumerate(asked.inputs, 1)], given.model_copy(update=told))


def _named(given: Named | str | list[float], number: int) -> tuple[str, str | Vectors]:
    if isinstance(given, Named):
        return given.id, given.sequence
    return f"sequence_{number}", given if isinstance(given, str) else np.array(given, dtype=np.float32)


def read_fasta_body(body: bytes, limits: Limits) -> Inputs:
    """The records of a FASTA body, plain or gzip.

    Raises:
        RequestError: It is larger than a body may be once it is unpacked.
        SequenceError: It is no FASTA; the line is named.
    """
    if body.startswith(_GZIP_MAGIC):
        body = _unpack(body, limits.body)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        try:
            # One more than there may be suffices to be refused.
            records = list(islice(read_fasta(file.name), limits.sequences + 1))
        except SequenceError as error:
            raise SequenceError(error.problem, remedy=error.remedy, record=error.record) from None
    return [(record.name, record.letters.decode("latin-1")) for record in records]


def _unpack(body: bytes, most: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            unpacked = packed.read(most + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SequenceError(
            f"the gzip data is damaged or cut short ({error})", remedy="Make or download the file again"
        ) from None
    if len(unpacked) > most:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body has more than {most:,} bytes once it is unpacked",
            remedy="Send it in several requests",
        )
    return unpacked


async def read_form(body: bytes, headers: Headers) -> bytes:
    """The file in a multipart form.

    Raises:
        RequestError: It is no such form, or holds no file or more than one.
    """

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    remedy = "Send a form with one file, as in: curl -F file=@sequences.fasta"
    try:
        form = await MultiPartParser(headers, whole(), max_files=1, max_fields=8).parse()
    except (MultiPartException, MultipartParseError, KeyError, UnicodeDecodeError) as error:
        told = error.message if isinstance(error, MultiPartException) else str(error)
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the form cannot be read ({told})", remedy=remedy
        ) from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    try:
        if len(files) != 1 or len(form) != 1:
            raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "the form is not of one file alone", remedy=remedy)
        return await files[0].read()
    finally:
        await form.close()


def read_csv(body: bytes, *, vectors: bool) -> Inputs:
    """Rows of a sequence, or of a name and a sequence; for a model of vectors, rows of numbers.

    A first row that says "sequence" is a header.

    Raises:
        SequenceError: A row is neither; it is numbered.
    """
    rows: list[tuple[str, str | Vectors]] = []
    reader = csv.reader(io.StringIO(body.decode("utf-8", "replace"), newline=""))
    try:
        for number, row in enumerate(reader, 1):
            cells = [cell.strip() for cell in row]
            if not any(cells) or (number == 1 and cells[-1].casefold() == "sequence"):
                continue
            if vectors:
                rows.append((f"sequence_{number}", np.array(cells, dtype=np.float32)))
            elif len(cells) <= 2:
                rows.append((cells[0] if len(cells) == 2 else f"sequence_{number}", cells[-1]))
            else:
                raise SequenceError(
                    f"{len(cells)} columns",
                    remedy="Give rows of a sequence, or of a name and a sequence",
                    record=number,
                )
    except (csv.Error, ValueError) as error:
        expected = "numbers" if vectors else "a sequence, or of a name and a sequence"
        raise SequenceError(
            f"this is no row of CSV ({error})", remedy=f"Give rows of {expected}", record=reader.line_num
        ) from None
    return rows


def read_npy(body: bytes) -> Inputs:
    """The rows of an array `(sequences, size)` or `(sequences, length, size)` of floats, as numpy.save writes it.

    Raises:
        SequenceError: It is no such array.
    """
    expected = "an array (sequences, size) or (sequences, length, size) of floats, as numpy.save writes it"
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read_header(stream)
        # What the header claims is weighed before memory is given to it.
        if kind.kind != "f" or len(shape) not in (2, 3) or len(body) - stream.tell() != np.prod(shape) * kind.itemsize:
            raise ValueError(f"it holds {kind} {shape} in {len(body):,} bytes")
        array = np.load(io.BytesIO(body), allow_pickle=False).astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError("it holds numbers that are not finite")
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, OverflowError, EOFError) as error:
        raise SequenceError(f"the array cannot be read ({error})", remedy=f"Send {expected}") from None
    return [(f"sequence_{number}", row) for number, row in enumerate(array, 1)]
