"""Text files of simulated data: FASTA and tables, the same bytes on every machine."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

_LINE = 60


def write_fasta(path: Path, records: Iterable[tuple[str, str]]) -> None:
    """Writes records of a header, without its '>', and the letters, in lines of 60."""
    with open(path, "w", encoding="ascii", newline="\n") as file:
        for header, letters in records:
            file.write(f">{header}\n")
            file.writelines(letters[begin : begin + _LINE] + "\n" for begin in range(0, len(letters), _LINE))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, delimiter: str = "\t") -> None:
    """Writes a table with a header, separated by tabs or, with `delimiter=","`, by commas."""
    with open(path, "w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
