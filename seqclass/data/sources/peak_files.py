"""Peak files, and the targets that their names stand for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from seqclass.data.chromosomes import listing
from seqclass.data.fasta import open_maybe_gzip
from seqclass.data.intervals import Intervals, read_intervals
from seqclass.errors import IntervalError, SourceError
from seqclass.progress import track
from seqclass.targets import Target, check_targets

_PEAK_SUFFIX = re.compile(r"\.(bed|narrowPeak|broadPeak|gappedPeak)(\.gz)?$", re.IGNORECASE)


def read_targets(
    peaks: Sequence[str | Path], names: str | Path | None, notes: list[str]
) -> tuple[dict[Target, list[Intervals]], int]:
    """The peaks of each target, and the number of files they come from.

    Args:
        peaks: Folders and files; see `seqclass.data.sources.peaks.import_peaks`.
        names: A table of stems, target names and groups, None for none.
        notes: Gets sentences on what was found: how column 4 was read, empty files, merged names.

    Raises:
        IntervalError: A file is missing or is not BED, or there is not one peak.
        SourceError: The table of names contradicts itself.
        SeqclassError: A name cannot be a target's.
    """
    given = [Path(path) for path in peaks]
    files = [file for path in given for file in _peak_files(path)]
    table, groups = ({}, {}) if names is None else _read_names(Path(names))
    found: list[tuple[str, Intervals]] = []
    for file in track(files, "Reading peaks", len(files), "files"):
        intervals = read_intervals(file)
        if given == files and len(files) == 1 and _column_names_targets(intervals, table, notes):
            found = _by_column(intervals)
        else:
            nameless = np.zeros(len(intervals), dtype=np.int32)
            found.append((_stem(file.name), Intervals(**{**vars(intervals), "names": [""], "name": nameless})))
    names_of = (table.get(stem, stem) for stem, _ in found)
    targets = [Target(name, groups.get(name, "")) for name in names_of]
    by_target = _by_target(zip(targets, (part for _, part in found), strict=True), given[0], notes)
    strange = set(table) - {stem for stem, _ in found}
    if strange:
        notes.append(f"entries without peaks in the table of names: {listing(sorted(strange))}")
    return by_target, len(files)


def read_sheet(path: str | Path, notes: list[str]) -> dict[Path, Target]:
    """The peak files that a sample sheet lists, with the target of each.

    Args:
        path: A table, tab-separated, whose first line names its columns: path (relative to the sheet), target and, if
            you like, group. Files of one target are merged.
        notes: Gets a sentence on columns that are not used.

    Raises:
        SourceError: A column or a cell is missing, a file is not there or listed twice, or a target is in two groups.
        SequenceError: The sheet itself is missing.
        SeqclassError: A name cannot be a target's.
    """
    path = Path(path)
    columns: list[str] | None = None
    line_of: dict[Path, int] = {}
    samples: dict[Path, Target] = {}
    groups: dict[str, tuple[str, int]] = {}

    def refuse(problem: str, remedy: str, line: int | None = None) -> SourceError:
        return SourceError(problem, remedy=remedy, file=path, record=line)

    with open_maybe_gzip(path) as stream:
        for number, raw in enumerate(stream, start=1):
            text = raw.decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n")
            if not text.strip() or text.startswith("#"):
                continue
            cells = [cell.strip() for cell in text.split("\t")]
            if columns is None:
                columns = cells
                if not {"path", "target"} <= set(columns) or len(set(columns)) < len(columns):
                    raise refuse(
                        f"the columns are {', '.join(map(repr, columns))[:100]}, where path, target and (if you like) "
                        "group are expected",
                        "Begin with a line that names the columns, each once, separated by tabs",
                        number,
                    )
                continue
            if len(cells) != len(columns):
                raise refuse(
                    f"{len(cells)} cells under {len(columns)} columns", "Separate the cells by single tabs", number
                )
            row = dict(zip(columns, cells, strict=True))
            file = path.parent / row["path"]
            target = Target(row["target"], row.get("group", ""))
            if not row["path"] or not target.name:
                raise refuse(f"the {'target' if row['path'] else 'path'} is empty", "Fill in path and target", number)
            check_targets([target], file=path)
            if not os.path.isfile(file):  # False as well of what no path can be
                raise refuse(
                    f"there is no file {str(file)[:200]!r}", "Write paths relative to the folder of this sheet", number
                )
            group, before = groups.setdefault(target.name, (target.group, number))
            if group != target.group:
                raise refuse(
                    f"target '{target.name}' is in the group '{target.group}', and on line {before} in '{group}'",
                    "Give each target one group",
                    number,
                )
            before = line_of.setdefault(file.resolve(), number)
            if before != number:
                raise refuse(f"{row['path']} is also on line {before}", "List each file once", number)
            samples[file] = target
    if not samples:
        raise refuse("the sheet lists no files", "Write a line for each file under a line that names the columns")
    unused = [column for column in columns or [] if column not in ("path", "target", "group")]
    if unused:
        notes.append(f"columns of {path.name} that are not used: {listing(unused)}")
    return samples


def read_samples(samples: Mapping[Path, Target], notes: list[str]) -> tuple[dict[Target, list[Intervals]], int]:
    """As `read_targets`, for the files of a sheet, each of the one target that the sheet says."""
    parts = [(target, read_intervals(file)) for file, target in track(samples.items(), "Reading peaks", len(samples))]
    return _by_target(parts, next(iter(samples)), notes), len(samples)


def _by_target(
    found: Iterable[tuple[Target, Intervals]], first: Path, notes: list[str]
) -> dict[Target, list[Intervals]]:
    """The peaks of each target that has any."""
    by_target: dict[Target, list[Intervals]] = {}
    empty: list[str] = []
    for target, part in found:
        if len(part):
            by_target.setdefault(target, []).append(part)
        else:
            empty.append(part.path.name)
    if empty:
        notes.append(f"peak files that are empty and give no target: {listing(empty)}")
    if not by_target:
        raise IntervalError("there is not one peak", remedy="Give files that hold peaks", file=first)
    check_targets(list(by_target))
    merged = [f"{target.name} ({len(parts)})" for target, parts in by_target.items() if len(parts) > 1]
    if merged:
        notes.append(f"files of equal target name are merged: {listing(merged)}")
    return by_target


def _peak_files(path: Path) -> list[Path]:
    if not path.exists():
        raise IntervalError("there is no such file or folder", remedy="Give peak files or a folder of them", file=path)
    if not path.is_dir():
        return [path]
    files = [file for file in path.iterdir() if _PEAK_SUFFIX.search(file.name) and not file.name.startswith(".")]
    if not files:
        raise IntervalError(
            "no peak files in this folder",
            remedy="Give a folder of .bed, .narrowPeak or .broadPeak files (or these with .gz)",
            file=path,
        )
    return sorted(files, key=lambda file: (_stem(file.name), file.name))


def _stem(name: str) -> str:
    return _PEAK_SUFFIX.sub("", name).removesuffix(".gz")


def _column_names_targets(intervals: Intervals, table: Mapping[str, str], notes: list[str]) -> bool:
    """Whether column 4 holds targets, which a note tells, rather than the ids of peaks.

    A table of names that lists the file's stem, or names of the column, decides. Else they are targets if every line
    has one and each, on average, is on two lines or more.
    """
    stem, names = _stem(intervals.path.name), set(intervals.names)
    column = f"column 4 of {intervals.path.name}"
    if stem in table or not names.isdisjoint({"", "."}) or not names:
        return False
    if not names.isdisjoint(table) or 2 * len(names) <= len(intervals):
        notes.append(
            f"targets taken from {column}: {len(names)} (a table --names that lists '{stem}' makes the file one target)"
        )
        return True
    notes.append(
        f"{column} has {len(names):,} names in {len(intervals):,} lines, taken for ids of peaks of one target, "
        f"'{stem}' (a table --names that lists them makes each a target)"
    )
    return False


def _by_column(intervals: Intervals) -> list[tuple[str, Intervals]]:
    order = np.argsort(intervals.name, kind="stable")
    bounds = np.searchsorted(intervals.name[order], np.arange(len(intervals.names) + 1))
    parts = sorted(zip(intervals.names, bounds[:-1], bounds[1:], strict=True))
    return [(name, intervals[order[begin:end]]) for name, begin, end in parts]


def _read_names(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The target name of each stem, and the group of each target name."""
    table: dict[str, str] = {}
    groups: dict[str, str] = {}
    with open_maybe_gzip(path) as stream:
        for number, raw in enumerate(stream, start=1):
            text = raw.decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n")
            if not text.strip() or text.startswith("#"):
                continue
            stem, name, group = [*(column.strip() for column in text.split("\t")), "", ""][:3]
            stem = _stem(stem)
            if not stem or not name:
                problem = f"{text[:60]!r} is not a stem and a name"
            elif stem in table and table[stem] != name:
                problem = f"'{stem}' is named '{table[stem]}' and '{name}'"
            elif groups.setdefault(name, group) != group:
                problem = f"target '{name}' is in the groups '{groups[name]}' and '{group}'"
            else:
                table[stem] = name
                continue
            raise SourceError(
                problem,
                remedy="Write stem, target name and (if you like) group, separated by tabs, one file a line",
                file=path,
                record=number,
            )
    return table, groups
