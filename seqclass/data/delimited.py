"""Tables of text, comma-, tab- or semicolon-separated (CSV, TSV), read one row at a time.

The first line names the columns. A cell that begins with a double quote ends with one, and may hold delimiters, line
ends and, doubled, quotes (RFC 4180); a quote elsewhere in a cell is a letter like any other, as in 5"-end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from seqclass.data.fasta import open_maybe_gzip
from seqclass.errors import SourceError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon"}
_NAMED_BY = {".csv": ",", ".tsv": "\t", ".tab": "\t"}

# A longer row is a file of another kind, or a quote that nobody closed.
_LONGEST_ROW = 1 << 26


class Row(NamedTuple):
    """The cells asked for, without the space around them, and the line on which the row begins, from 1."""

    line: int
    cells: list[str]


def read_header(path: str | Path) -> list[str]:
    """The names of a table's columns.

    Raises:
        SourceError: The file is empty or no table, two columns share a name, or it can be read only once (a pipe).
        SequenceError: The file is missing, or its compression is damaged.
    """
    path = Path(path)
    if path.is_fifo():
        raise SourceError("this is a pipe, and it is read twice", remedy="Write it to a file first", file=path)
    with open_maybe_gzip(path) as stream:
        return _read_header(path, _lines(path, stream), ()).names


def read_rows(path: str | Path, columns: Sequence[str | None], optional: Sequence[str] = ()) -> Iterator[Row]:
    """Yields the rows of a table in order, holding one of them in memory at a time. Empty lines are passed over.

    Args:
        path: CSV or TSV in UTF-8, plain or gzip; Unix or Windows line ends. Which delimiter it has is told from its
            header, and where that leaves a choice, from its name.
        columns: The columns wanted, in the order in which their cells are yielded, also found in other case where that
            leaves no doubt; None yields an empty cell.
        optional: Likewise, but a column that does not exist has empty cells.

    Raises:
        SourceError: A column does not exist, two share a name, a row has more or fewer cells than the header, a quote
            is not closed, or the file is no text in UTF-8.
        SequenceError: The file is missing, or its compression is damaged.
    """
    path = Path(path)
    with open_maybe_gzip(path) as stream:
        lines = _lines(path, stream)
        names, delimiter = _read_header(path, lines, [name for name in columns if name is not None])
        # A column that does not exist is read from an empty cell behind the last one.
        places = [len(names) if name is None else _find(path, name, names) for name in columns]
        places += [_match(name, names, default=len(names)) for name in optional]
        for number, line in lines:
            cells = _split_quoted(path, number, line, delimiter, lines) if '"' in line else line.split(delimiter)
            if len(cells) != len(names):
                if len(cells) == 1 and not cells[0].strip():
                    continue
                raise SourceError(
                    f"{len(cells)} cells, where the header has {len(names)} (separated by {_DELIMITERS[delimiter]}s)",
                    remedy="Correct the line, and put cells that hold the delimiter in double quotes",
                    file=path,
                    record=number,
                )
            cells.append("")
            yield Row(number, [cells[place].strip() for place in places])


class _Header(NamedTuple):
    names: list[str]
    delimiter: str


def _lines(path: Path, stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """Line numbers and lines, without their ends."""
    for number, raw in enumerate(iter(lambda: stream.readline(_LONGEST_ROW), b""), start=1):
        if number == 1:
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
            if raw.startswith(_UTF16_MARKS):
                raise SourceError(
                    "this is UTF-16, where UTF-8 is expected",
                    remedy="Convert it: iconv -f UTF-16 -t UTF-8 old > new",
                    file=path,
                )
        if b"\0" in raw:
            raise SourceError(
                "a zero byte, which no table of text holds",
                remedy="Give CSV or TSV in UTF-8, plain or gzip; export a spreadsheet as such",
                file=path,
                record=number,
            )
        if len(raw) == _LONGEST_ROW:
            raise _too_long(path, number)
        try:
            yield number, raw.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise SourceError(
                f"byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line is not UTF-8",
                remedy="Save the table as UTF-8 (iconv -f LATIN1 -t UTF-8 old > new); other kinds of file are not read",
                file=path,
                record=number,
            ) from None


def _read_header(path: Path, lines: Iterator[tuple[int, str]], columns: Sequence[str]) -> _Header:
    number, line = next(((number, line) for number, line in lines if line.strip()), (0, ""))
    if not number:
        raise SourceError("the file is empty", remedy="Give a table whose first line names its columns", file=path)
    if "\r" in line:
        raise SourceError(
            "the lines end in carriage returns alone",
            remedy="Convert them: tr '\\r' '\\n' < old > new",
            file=path,
            record=number,
        )
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    named = _NAMED_BY.get(suffixes[-1] if suffixes else "", ",")

    def fit(delimiter: str) -> tuple[int, int, bool]:
        cells = [cell.strip().strip('"') for cell in line.split(delimiter)]
        return sum(_match(name, cells) >= 0 for name in columns), len(cells), delimiter == named

    delimiter = max(_DELIMITERS, key=fit)
    names = [name.strip() for name in _split_quoted(path, number, line, delimiter, lines)]
    name, count = max(Counter(filter(None, names)).items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        raise SourceError(
            f"{count} columns are called '{name[:60]}'", remedy="Give each column a name of its own", file=path
        )
    return _Header(names, delimiter)


def _match(name: str, names: Sequence[str], default: int = -1) -> int:
    """The index of the column of that name: as written, else the only one in other case, else `default`."""
    if name in names:
        return names.index(name)
    folded = [index for index, each in enumerate(names) if each.casefold() == name.casefold()]
    return folded[0] if len(folded) == 1 else default


def _find(path: Path, name: str, names: Sequence[str]) -> int:
    index = _match(name, names)
    if index < 0:
        shown = ", ".join(each[:60] for each in names[:20]) + (", ..." if len(names) > 20 else "")
        raise SourceError(
            f"there is no column '{name}'; there are: {shown}",
            remedy="Name one of these, or give another table",
            file=path,
        )
    return index


def _split_quoted(
    path: Path, number: int, line: str, delimiter: str, following: Iterator[tuple[int, str]]
) -> list[str]:
    """The cells of a row that begins with `line`; takes from `following` lines while a quoted cell goes on."""
    cells: list[str] = []
    parts: list[str] = []
    quotes = length = 0
    for piece, ends_line in _pieces(line, delimiter, following):
        if not parts and not piece.startswith('"'):
            cells.append(piece)
            if ends_line:
                return cells
            continue
        parts.append(piece)
        quotes += piece.count('"')
        length += len(piece)
        if length > _LONGEST_ROW:
            raise _too_long(path, number)
        if quotes % 2:
            parts.append("\n" if ends_line else delimiter)
            continue
        cell = "".join(parts)
        inside = cell[1:-1]
        if not cell.endswith('"') or '"' in inside.replace('""', ""):
            raise SourceError(
                f"a quoted cell goes on behind its closing quote ({cell[:40]!r})",
                remedy="Double the quotes within a quoted cell, or take them out",
                file=path,
                record=number,
            )
        cells.append(inside.replace('""', '"'))
        parts, quotes, length = [], 0, 0
        if ends_line:
            return cells
    raise SourceError(
        "a quoted cell begins in this row and never ends",
        remedy="Close the quote, or take it out",
        file=path,
        record=number,
    )


def _pieces(line: str, delimiter: str, following: Iterator[tuple[int, str]]) -> Iterator[tuple[str, bool]]:
    """What stands between delimiters and line ends, and whether a line end comes behind it."""
    for each in chain([line], (text for _, text in following)):
        *pieces, last = each.split(delimiter)
        for piece in pieces:
            yield piece, False
        yield last, True


def _too_long(path: Path, number: int) -> SourceError:
    return SourceError(
        f"a row of more than {_LONGEST_ROW >> 20} MiB",
        remedy="Check that this is a table with a line a record, and that every quote is closed",
        file=path,
        record=number,
    )
