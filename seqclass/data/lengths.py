"""Sequences that are longer than a model is to see: what of them is kept."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

TooLong = Literal["head", "tail", "both-ends", "windows"]

_Lengths = NDArray[np.int64]


def join_ends(residues: NDArray[Any], lengths: _Lengths, max_length: int) -> tuple[NDArray[Any], _Lengths]:
    """Sequences of which the over-long ones lose their middle; of an odd `max_length`, the first end gets one more.

    Args:
        residues: `(residues, ...)` of all sequences, one after the other.
        lengths: `(sequences,)`, of each.
        max_length: What is kept of each at most, in residues.

    Returns:
        Residues and lengths, as given.
    """
    too_long = np.flatnonzero(lengths > max_length)
    if not len(too_long):
        return residues, lengths
    ends = np.cumsum(lengths)
    kept = np.ones(len(residues), dtype=bool)
    for start, end in zip((ends - lengths)[too_long].tolist(), ends[too_long].tolist(), strict=True):
        kept[start + (max_length + 1) // 2 : end - max_length // 2] = False
    return residues[kept], np.minimum(lengths, max_length)


def cut(lengths: _Lengths, max_length: int, too_long: TooLong) -> tuple[_Lengths, _Lengths, _Lengths]:
    """The views that are taken on sequences: one on each, or with "windows" several on an over-long one.

    Windows overlap by half; the last one ends with the sequence.

    Args:
        lengths: `(sequences,)`, in residues; for "both-ends", of what `join_ends` returned.
        max_length: Of a view.
        too_long: What is taken of a longer sequence.

    Returns:
        `(views,)` each: index of the sequence, 0-based start on it, length.
    """
    surplus = np.maximum(lengths - max_length, 0)
    if too_long != "windows":
        start = surplus if too_long == "tail" else np.zeros_like(lengths)
        return np.arange(len(lengths)), start, lengths - surplus
    step = (max_length + 1) // 2
    counts = -(-surplus // step) + 1
    sequence = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(sequence)) - np.repeat(np.cumsum(counts) - counts, counts)
    return sequence, np.minimum(number * step, surplus[sequence]), np.minimum(lengths, max_length)[sequence]


def tell(lengths: _Lengths, max_length: int, too_long: TooLong, unit: str) -> str | None:
    """A sentence on how many sequences were too long and what was kept of them; None where none was.

    Args:
        lengths: `(sequences,)`, as they were found.
        max_length: In residues.
        too_long: What was taken of longer ones.
        unit: What a residue is called ("bp", "residues").
    """
    count = int((lengths > max_length).sum())
    if not count:
        return None
    first, last = (max_length + 1) // 2, max_length // 2
    kept = {
        "head": f"their first {max_length:,} {unit} were kept",
        "tail": f"their last {max_length:,} {unit} were kept",
        "both-ends": (
            f"their first and last {first:,} {unit} were kept"
            if first == last
            else f"their first {first:,} and last {last:,} {unit} were kept"
        ),
        "windows": f"they were cut into windows of {max_length:,} {unit} that overlap by half",
    }[too_long]
    return f"{count:,} of {len(lengths):,} sequences are longer than {max_length:,} {unit}; {kept}."
