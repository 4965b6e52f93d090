"""What samples read from a store's tape, in memory, and the batches cut from it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import reverse_complement
from seqclass.data.intervals import Union
from seqclass.data.store import Indices, Store, Views

_READ_BYTES = 1 << 20


class Tape:
    """The stretches of a store's tape that some views cover, in memory, and what views read from them.

    Args:
        store: The store they come from.
        views: In any order. What they share is held once, what lies between them not at all.

    Attributes:
        residues: All stretches, one after the other: `(residues,)` tokens, or `(residues, size)` vectors.
    """

    def __init__(self, store: Store, views: Views) -> None:
        self.store = store
        covered = Union(*extent(store, views))
        lengths = covered.end - covered.start
        offsets = np.cumsum(lengths) - lengths
        # Rows are cut as if all were as long as the longest, so there is something to read on either side.
        self._margin = int(views.length.max(initial=1)) * 9 // 8 + 1
        shape = (int(lengths.sum()) + 2 * self._margin, *([store.vector_size] if store.vector_size else []))
        self._buffer: NDArray[Any] = np.empty(shape, dtype=store.dtype)
        self._buffer[: self._margin] = self._buffer[len(self._buffer) - self._margin :] = 0
        self.residues = self._buffer[self._margin : len(self._buffer) - self._margin]
        self._begins = covered.start
        self._shifts = offsets - covered.start
        # A read for each of many short stretches would be slow: neighbours are read with what lies between them.
        per_read = max(1, _READ_BYTES // store.residue_bytes)
        cell, is_long = covered.start // per_read, lengths > per_read
        cuts = np.flatnonzero((cell[1:] > cell[:-1]) | is_long[1:] | is_long[:-1]) + 1
        # HDF5 would read whole chunks into its cache, and nothing here is read twice.
        with h5py.File(store.path, "r", rdcc_nbytes=0) as file:
            tape = file[store.tape_name]
            for first, behind in pairwise([0, *cuts.tolist(), len(lengths)]):
                begin, end = int(covered.start[first]), int(covered.end[behind - 1])
                if behind - first == 1:
                    offset = int(offsets[first])
                    tape.read_direct(self.residues, np.s_[begin:end], np.s_[offset : offset + end - begin])
                    continue
                span = tape[begin:end]
                for start, length, offset in zip(
                    (covered.start[first:behind] - begin).tolist(),
                    lengths[first:behind].tolist(),
                    offsets[first:behind].tolist(),
                    strict=True,
                ):
                    self.residues[offset : offset + length] = span[start : start + length]

    def place(self, positions: Indices) -> Indices:
        """Where in `residues` positions on the store's tape are that the views cover."""
        placed: Indices = positions + self._shifts[np.searchsorted(self._begins, positions, side="right") - 1]
        return placed

    def read(self, views: Views, width: int | None = None) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """What views read, one below the other, in fresh arrays.

        Args:
            views: Within what this tape covers.
            width: To which shorter ones are padded at their end, with unknown residues or with vectors of zeros.
                Default: the length of the longest.

        Returns:
            Tokens `(views, width)` or vectors `(views, width, size)`, and a mask `(views, width)` that is true at
            residues of the views, None if there is no padding.
        """
        store, length = self.store, views.length
        longest = int(length.max())
        width = longest if width is None else width
        limit = store.contig_length[views.contig]
        inside = (views.start >= 0) & (views.start + length <= limit)
        first_inside = np.clip(views.start, 0, limit)
        start = self.place(store.contig_start[views.contig] + first_inside) + views.start - first_inside + self._margin
        reverse = views.strand < 0
        # Where a view is read backwards, its end comes first: padding has to lie before its beginning.
        lead = np.where(reverse, min(width, self._margin) - length, 0)
        unknown = 0 if store.vector_size else store.alphabet.unknown_token
        out = self._rows(np.where(inside, start - lead, 0), min(width, self._margin))
        for row in np.flatnonzero(~inside):
            out[row] = unknown
            first = max(0, -int(views.start[row]))
            last = min(int(length[row]), int(limit[row] - views.start[row]))
            if first < last:
                here = slice(int(lead[row]) + first, int(lead[row]) + last)
                out[row, here] = self._buffer[start[row] + first : start[row] + last]
        if reverse.any():
            out[reverse] = reverse_complement(out[reverse])
        if width > out.shape[1]:
            more = np.full((len(out), width - out.shape[1], *out.shape[2:]), unknown, dtype=out.dtype)
            out = np.concatenate([out, more], axis=1)
        if (length == width).all():
            return out, None
        mask = np.arange(width) < length[:, None]
        beyond = ~mask[..., None] if store.vector_size else ~mask
        np.copyto(out, np.asarray(unknown, dtype=out.dtype), where=beyond)
        return out, mask

    def _rows(self, start: Indices, width: int) -> NDArray[Any]:
        """Stretches of the buffer, `(rows, width)` or `(rows, width, size)`, copied."""
        size = self.store.vector_size or 1
        every = np.lib.stride_tricks.sliding_window_view(self._buffer.reshape(-1), width * size)
        rows: NDArray[Any] = every[start * size]
        return rows.reshape(len(start), width, size) if self.store.vector_size else rows


def read_samples(store: Store, samples: Indices | Sequence[int]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """What samples of a store read, and where there is padding, its mask; see `Tape.read`."""
    views = store.views[np.asarray(samples)]
    return Tape(store, views).read(views)


def extent(store: Store, views: Views) -> tuple[Indices, Indices]:
    """Where on the tape views begin and end, clipped to their contigs; two `(views,)` arrays."""
    begin = views.start.astype(np.int64)
    end = begin + views.length
    # In place, since these may be all samples of a large store.
    origin, limit = store.contig_start[views.contig], store.contig_length[views.contig]
    for place in (begin, end):
        np.clip(place, 0, limit, out=place)
        place += origin
    return begin, end
