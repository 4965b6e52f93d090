"""Intervals on a genome: BED and narrowPeak files, regions as genome browsers write them, and unions of intervals.

Everything is 0-based and half-open inside, whatever the file or the user wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqclass.data.fasta import open_maybe_gzip
from seqclass.errors import IntervalError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOT_INTERVALS = (b"#", b"track", b"browser")
_NARROW_PEAK_COLUMNS = 10
_MOST_DIGITS = 18  # what a signed number of 64 bits always holds
_REGION = re.compile(r"(?P<chrom>[^:\s]+)(?::(?P<first>\d[\d,]{,30})-(?P<last>\d[\d,]{,30}))?")


@dataclass(frozen=True)
class Intervals:
    """The intervals of one file, as arrays of one length.

    Args:
        path: The file.
        chroms: The distinct chromosome names, in the order in which they first occur.
        chrom: Index into `chroms`.
        start: First base, 0-based.
        end: Behind the last base.
        summit: The base with the strongest signal, on the chromosome; -1 where the file gives none.
        names: The distinct names of column 4; "" stands for a line without one.
        name: Index into `names`.
        line: The line number in the file, from 1.
    """

    path: Path
    chroms: list[str]
    chrom: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    summit: NDArray[np.int64]
    names: list[str]
    name: NDArray[np.int32]
    line: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: Any) -> Intervals:
        columns = (self.chrom[rows], self.start[rows], self.end[rows], self.summit[rows])
        return Intervals(self.path, self.chroms, *columns, self.names, self.name[rows], self.line[rows])


def read_intervals(path: str | Path) -> Intervals:
    """Reads BED, narrowPeak or broadPeak, plain or gzip; comments and the `track` and `browser` lines are passed over.

    Columns are separated by tabs, or by spaces in a line without tabs. A line of exactly ten columns is narrowPeak: its
    last column is the summit's distance from the start, or -1. Longer BED formats use that column otherwise.

    Raises:
        IntervalError: A line has fewer than three columns, or coordinates that are not integers, negative, reversed
            or of more than 18 digits, or a summit outside its peak.
        SequenceError: The file is missing, or its compression is damaged.
    """
    path = Path(path)
    chroms: dict[bytes, int] = {}
    names: dict[bytes, int] = {}
    rows: list[tuple[int, int, int, int, int, int]] = []
    with open_maybe_gzip(path) as stream:
        for number, raw in enumerate(stream, start=1):
            text = raw.removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n")
            columns = text.split(b"\t") if b"\t" in text else text.split()
            if not text.strip() or text.startswith(b"#") or columns[0].split(b" ", 1)[0] in _NOT_INTERVALS:
                continue
            if len(columns) < 3 or not (_is_position(columns[1]) and _is_position(columns[2])):
                raise _refuse_line(path, number, text, columns)
            start, end = int(columns[1]), int(columns[2])
            if start >= end:
                raise IntervalError(
                    f"the interval {start}-{end} is empty or reversed (expected start < end, 0-based and half-open)",
                    remedy="Correct the line: a single base at position p, counted from 0, is written p, p + 1",
                    file=path,
                    record=number,
                )
            summit = _summit(path, number, start, end, columns[9]) if len(columns) == _NARROW_PEAK_COLUMNS else -1
            name = columns[3] if len(columns) > 3 else b""
            chrom_index = chroms.setdefault(columns[0], len(chroms))
            rows.append((chrom_index, start, end, summit, names.setdefault(name, len(names)), number))
    table = np.array(rows, dtype=np.int64).reshape(-1, 6)
    chrom, start_, end_, summit_, name_, line = (np.ascontiguousarray(column) for column in table.T)
    return Intervals(
        path,
        [chrom.decode("utf-8", "replace") for chrom in chroms],
        chrom.astype(np.int32),
        start_,
        end_,
        summit_,
        [name.decode("utf-8", "replace") for name in names],
        name_.astype(np.int32),
        line.astype(np.int32),
    )


def _is_position(column: bytes) -> bool:
    return column.isdigit() and len(column) <= _MOST_DIGITS


def _refuse_line(path: Path, number: int, text: bytes, columns: list[bytes]) -> IntervalError:
    if len(columns) < 3:
        shown = text[:60].decode("utf-8", "replace")
        problem = f"{len(columns)} column{'s' * (len(columns) > 1)} ({shown!r}), where BED has at least three"
    else:
        found = " and ".join(repr(column[:60].decode("utf-8", "replace")) for column in columns[1:3])
        problem = f"start and end are {found}, where integers from 0 (of up to {_MOST_DIGITS} digits) are expected"
    return IntervalError(
        problem,
        remedy="Give BED or narrowPeak (chromosome, start, end, tab-separated); put # before a header line",
        file=path,
        record=number,
    )


def _summit(path: Path, number: int, start: int, end: int, column: bytes) -> int:
    if column == b"-1":
        return -1
    if not _is_position(column) or start + int(column) >= end:
        raise IntervalError(
            f"column 10 is {column[:60].decode('utf-8', 'replace')!r}, where narrowPeak has the summit's distance from "
            f"the start (0 to {end - start - 1} here, or -1)",
            remedy="If this is not narrowPeak, keep only its first columns (cut -f1-6)",
            file=path,
            record=number,
        )
    return start + int(column)


class Region(NamedTuple):
    """A stretch of a chromosome, 0-based and half-open; `end` None means the chromosome's end."""

    chrom: str
    start: int
    end: int | None


def parse_region(text: str) -> Region:
    """Reads a region as genome browsers write it: `chr7:30,508,751-35,296,850` (1-based, inclusive) or `chr7`.

    Raises:
        IntervalError: It is not written so.
    """
    match = _REGION.fullmatch(text.strip())
    if match and match["first"] is None:
        return Region(match["chrom"], 0, None)
    if match:
        first, last = (int(match[part].replace(",", "")) for part in ("first", "last"))
        if 1 <= first <= last:
            return Region(match["chrom"], first - 1, last)
    raise IntervalError(
        f"'{text}' is not a region", remedy="Write it as chr7:30508751-35296850 (from 1, both ends included) or chr7"
    )


class Union:
    """The union of intervals on one axis, asked how much of a stretch it covers.

    Args:
        start: First positions, in any order.
        end: Behind the last positions.
    """

    def __init__(self, start: ArrayLike, end: ArrayLike) -> None:
        order = np.argsort(start, kind="stable")
        begins = np.asarray(start, dtype=np.int64)[order]
        reach = np.maximum.accumulate(np.asarray(end, dtype=np.int64)[order])
        opens = np.ones(len(begins), dtype=bool)
        opens[1:] = begins[1:] > reach[:-1]
        self.start: NDArray[np.int64] = begins[opens]
        self.end: NDArray[np.int64] = reach[np.append(opens[1:], True)] if len(reach) else reach
        self._total = np.concatenate(([0], np.cumsum(self.end - self.start)))

    def covered(self, start: ArrayLike, end: ArrayLike) -> NDArray[np.int64]:
        """How many positions of each stretch `[start, end)` lie in the union."""
        return self._before(np.asarray(end)) - self._before(np.asarray(start))

    def _before(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        opened = np.searchsorted(self.start, position, side="right")
        if not len(self.start):
            return opened
        beyond = np.where(opened > 0, np.maximum(0, self.end[opened - 1] - position), 0)
        covered: NDArray[np.int64] = self._total[opened] - beyond
        return covered
