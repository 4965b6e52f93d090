"""Peak files, and the targets that their names stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqclass.data.chromosomes import listing
from seqclass.data.fasta import open_maybe_gzip
from seqclass.data.intervals import Intervals, read_intervals
from seqclass.errors import IntervalError, SourceError
from seqclass.progress import track
from seqclass.targets import Target

_PEAK_SUFFIX = re.compile(r"\.(bed|narrowPeak|broadPeak|gappedPeak)(\.gz)?$", re.IGNORECASE)


def read_targets(
    peaks: str | Path | Sequence[str | Path], names: str | Path | None, notes: list[str]
) -> tuple[dict[Target, list[Intervals]], int]:
    """The peaks of each target, and the number of files they come from.

    Args:
        peaks: A folder, a file, or files; see `seqclass.data.sources.peaks.import_peaks`.
        names: A table of stems, target names and groups, None for none.
        notes: Gets sentences on what was found: empty files, merged names.

    Raises:
        IntervalError: A file is missing or is not BED, or there is not one peak.
        SourceError: The table of names contradicts itself.
    """
    given = [Path(peaks)] if isinstance(peaks, str | Path) else [Path(path) for path in peaks]
    files = [file for path in given for file in _peak_files(path)]
    table = {} if names is None else _read_names(Path(names))
    found: list[tuple[str, Intervals]] = []
    for file in track(files, "Reading peaks", len(files), "files"):
        intervals = read_intervals(file)
        if given == files and len(files) == 1 and _column_names_targets(intervals):
            found = _by_column(intervals)
            notes.append(f"targets taken from column 4 of {file.name}: {len(found)}")
        else:
            nameless = np.zeros(len(intervals), dtype=np.int32)
            found.append((_stem(file.name), Intervals(**{**vars(intervals), "names": [""], "name": nameless})))
    empty = [part.path.name for _, part in found if not len(part)]
    if empty:
        notes.append(f"peak files that are empty and give no target: {listing(empty)}")
    by_target: dict[Target, list[Intervals]] = {}
    stems: dict[Target, list[str]] = {}
    for stem, part in found:
        if len(part):
            target = table.get(stem, Target(stem))
            by_target.setdefault(target, []).append(part)
            stems.setdefault(target, []).append(stem)
    if not by_target:
        raise IntervalError("there is not one peak", remedy="Give files that hold peaks", file=given[0])
    merged = [f"{target.name} ({len(parts)})" for target, parts in by_target.items() if len(parts) > 1]
    if merged:
        notes.append(f"files of equal target name are merged: {listing(merged)}")
    strange = set(table) - {stem for stem, _ in found}
    if strange:
        notes.append(f"entries without peaks in the table of names: {listing(sorted(strange))}")
    return by_target, len(files)


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


def _column_names_targets(intervals: Intervals) -> bool:
    """Whether column 4 holds targets: on every line a name, some of them more than once (peaks' ids are unique)."""
    return len(intervals.names) < len(intervals) and not {"", "."} & set(intervals.names)


def _by_column(intervals: Intervals) -> list[tuple[str, Intervals]]:
    order = np.argsort(intervals.name, kind="stable")
    bounds = np.searchsorted(intervals.name[order], np.arange(len(intervals.names) + 1))
    parts = sorted(zip(intervals.names, bounds[:-1], bounds[1:], strict=True))
    return [(name, intervals[order[begin:end]]) for name, begin, end in parts]


def _read_names(path: Path) -> dict[str, Target]:
    table: dict[str, Target] = {}
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
            elif stem in table and table[stem].name != name:
                problem = f"'{stem}' is named '{table[stem].name}' and '{name}'"
            elif groups.setdefault(name, group) != group:
                problem = f"target '{name}' is in the groups '{groups[name]}' and '{group}'"
            else:
                table[stem] = Target(name, group)
                continue
            raise SourceError(
                problem,
                remedy="Write stem, target name and (if you like) group, separated by tabs, one file a line",
                file=path,
                record=number,
            )
    return table
