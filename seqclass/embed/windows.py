"""Proteins longer than a model takes: overlapping windows, and which of them speaks for which residue."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np


class Window(NamedTuple):
    """A stretch of a sequence, in residues from 0, and the part that it speaks for, of which it sees most."""

    start: int
    end: int
    keep_start: int
    keep_end: int


def windows(length: int, longest: int, overlap: int) -> list[Window]:
    """Windows that cover a sequence; each residue is kept from the one in which it lies farther from an end.

    Args:
        length: Of the sequence, in residues.
        longest: The most residues in a window.
        overlap: Residues that neighbours share at least, less than `longest`.
    """
    if length <= longest:
        return [Window(0, length, 0, length)]
    count = -(-(length - overlap) // (longest - overlap))
    starts = np.linspace(0, length - longest, count).round().astype(int).tolist()
    # Half-way between the end of one window and the beginning of the next, both see equally far.
    borders = [0, *((here + longest + there) // 2 for here, there in pairwise(starts)), length]
    return [Window(start, start + longest, *borders[number : number + 2]) for number, start in enumerate(starts)]


def join(parts: list[np.ndarray[Any, np.dtype[np.float32]]], of: list[Window]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The vectors `(length, size)` of a sequence from those of its windows."""
    kept = [part[w.keep_start - w.start : w.keep_end - w.start] for part, w in zip(parts, of, strict=True)]
    return kept[0] if len(kept) == 1 else np.concatenate(kept)
