"""Windows with planted sites: where a target's evidence is known to lie."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import Tokens
from seqclass.attribution.localisation import inside
from seqclass.data.delimited import read_rows
from seqclass.data.store import Indices, Store
from seqclass.data.tape import read_samples
from seqclass.errors import SourceError

Plants = dict[tuple[str, str], NDArray[np.int64]]
"""By contig and target, `(sites, 2)` starts and ends on the contig, 0-based half-open, in order of their starts."""


class Case(NamedTuple):
    """Positive windows of one target.

    Attributes:
        target: Its index.
        tokens: `(length,)` of each window.
        where: `(length,)` of each, true inside the target's sites.
    """

    target: int
    tokens: list[Tokens]
    where: list[NDArray[np.bool_]]

    def first(self, most: int) -> Case:
        """The first so many windows."""
        return Case(self.target, self.tokens[:most], self.where[:most])


def read_plants(path: str | Path) -> Plants:
    """The sites of a table with the columns chrom, start, end (0-based, half-open) and target; others are passed over.

    Rows without a target are decoys and are passed over, too.

    Raises:
        SourceError: It is no such table, or a line has no start before its end.
        SequenceError: The file is missing or damaged.
    """
    sites: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for line, (chrom, start, end, target) in read_rows(path, ["chrom", "start", "end", "target"]):
        if not (start.isdigit() and end.isdigit() and int(start) < int(end)):
            raise SourceError(
                f"start and end are '{start}' and '{end}', where integers from 0 with start < end are expected",
                remedy="Correct the line",
                file=path,
                record=line,
            )
        if target:
            sites.setdefault((chrom, target), []).append((int(start), int(end)))
    return {key: np.array(sorted(found), dtype=np.int64) for key, found in sites.items()}


def planted_windows(
    store: Store, path: str | Path, targets: list[int], *, split: str = "test", most: int = 20, seed: int = 0
) -> list[Case]:
    """Of each target, windows that carry it and hold a site of it from end to end; targets without any are left out.

    Args:
        store: Its contigs are those of the table; each locus counts once, whichever strands the store holds.
        path: The table; see `read_plants`.
        targets: Their indices.
        split: "train", "valid" or "test".
        most: Windows of a target, drawn at random.
        seed: Of the draw.

    Raises:
        SourceError: It is no such table, or no target has such a window.
        UnknownNameError: There is no such split.
    """
    plants, cases = read_plants(path), []
    samples = store.distinct(store.samples(split))
    labels = store.labels(samples)
    for target in targets:
        positive = np.random.default_rng(seed).permutation(samples[labels[:, target] == 1])
        chosen: dict[int, NDArray[np.bool_]] = {}
        for sample, contig in zip(positive.tolist(), store.names(positive), strict=True):
            if len(chosen) == most:
                break
            where = _where(store, sample, plants.get((contig, store.targets[target].name)))
            if where.any():
                chosen[sample] = where
        if chosen:
            rows, mask = read_samples(store, list(chosen))
            lengths = [len(where) for where in chosen.values()] if mask is not None else [rows.shape[1]] * len(rows)
            tokens = [row[:length] for row, length in zip(rows, lengths, strict=True)]
            cases.append(Case(target, tokens, list(chosen.values())))
    if not cases:
        raise SourceError(
            f"no positive window of {split} in {store.path} holds a planted site of its target",
            remedy="Give the table that belongs to the data of this store, with its names of contigs and targets",
            file=path,
        )
    return cases


def _where(store: Store, sample: int, sites: Indices | None) -> NDArray[np.bool_]:
    """Which residues of a sample, as it is read, lie in sites that it holds from end to end."""
    first, length = int(store.views.start[sample]), int(store.views.length[sample])
    if sites is None:
        return np.zeros(length, dtype=bool)
    placed = sites[np.searchsorted(sites[:, 0], first) :] - first
    placed = placed[: np.searchsorted(placed[:, 0], length)]
    where = inside(length, [(start, end) for start, end in placed.tolist() if end <= length])
    return where if store.views.strand[sample] > 0 else where[::-1]
