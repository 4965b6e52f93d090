"""Generates files of DeepSEA's layout, row by row, so that any size can be written in little memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

_HEADER_TEXT = b"MATLAB %s MAT-file, Platform: GLNXA64, Created on: Mon Jan  5 12:00:00 2015"
_MATRIX, _COMPRESSED, _INT8, _UINT8, _INT32, _UINT32, _UINT8_CLASS = 14, 15, 1, 2, 5, 6, 9
# Per token A, C, G, T, N: the channels A, G, C, T.
_ONE_HOT = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, 4], dtype=np.uint8)


class RowArray(NamedTuple):
    """An array as h5py sees it: its name, its shape, and a function that gives the row of an index."""

    name: str
    shape: tuple[int, ...]
    row: Callable[[int], Array]


def as_rows(name: str, matlab_array: Array) -> RowArray:
    """An array in MATLAB's order, `(samples, ...)`, as a RowArray."""
    seen = matlab_array.T
    return RowArray(name, seen.shape, lambda index: np.ascontiguousarray(seen[index]))


def random_split(
    name: str, samples: int, window: int, targets: int, *, seed: int = 0, unknown: float = 0.0, positive: float = 0.02
) -> tuple[RowArray, RowArray]:
    """One-hot windows and labels of a split whose second half is the reverse complement of its first."""
    half = samples // 2

    def bases(position: int) -> Array:
        rng = np.random.default_rng([seed, 0, position])
        drawn = np.frombuffer(rng.bytes(half), np.uint8) & 3
        return np.where(rng.random(half) < unknown, np.uint8(4), drawn) if unknown else drawn

    def onehot(position: int) -> Array:
        tokens = np.concatenate([bases(position), _COMPLEMENT[bases(window - 1 - position)]])
        return np.ascontiguousarray(_ONE_HOT.T[:, tokens])

    def labels(target: int) -> Array:
        rng = np.random.default_rng([seed, 1, target])
        return np.tile((rng.random(half, np.float32) < positive).astype(np.uint8), 2)

    return (
        RowArray(f"{name}xdata", (window, 4, 2 * half), onehot),
        RowArray(f"{name}data", (targets, 2 * half), labels),
    )


def one_hot(tokens: Array) -> Array:
    """`(samples, 4, window)` with channels A, G, C, T from tokens `(samples, window)`."""
    return np.ascontiguousarray(_ONE_HOT[tokens].transpose(0, 2, 1))


def other_strand(tokens: Array) -> Array:
    return _COMPLEMENT[tokens[:, ::-1]]


def write_version_73(
    path: Path, arrays: Sequence[RowArray], chunks: Sequence[tuple[int, ...] | None], *, deflate: int = 3
) -> None:
    """HDF5 with MATLAB's 512-byte header, in chunks of the given shapes (None: not chunked)."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for array, chunk in zip(arrays, chunks, strict=True):
            options = {} if chunk is None else {"chunks": chunk, "compression": "gzip", "compression_opts": deflate}
            dataset = file.create_dataset(array.name, array.shape, "u1", **options)
            dataset.attrs["MATLAB_class"] = np.bytes_("uint8")
            height = 1 if chunk is None else chunk[0]
            for begin in range(0, array.shape[0], height):
                rows = range(begin, min(begin + height, array.shape[0]))
                dataset[begin : rows.stop] = np.stack([array.row(index) for index in rows])
    with open(path, "r+b") as file:
        file.write(_header(b"7.3", 0x0200))


def write_version_5(path: Path, arrays: Sequence[RowArray], *, compressed: bool = True) -> None:
    """MATLAB's version 5, uint8, compressed as MATLAB 7 does by default or plain."""
    with open(path, "wb") as file:
        file.write(_header(b"5.0", 0x0100))
        for array in arrays:
            count = int(np.prod(array.shape))
            start = _matrix_start(array.name, array.shape, count)
            padding = b"\0" * (-count % 8)
            tag = struct.pack("<II", _MATRIX, len(start) + count + len(padding))
            if not compressed:
                file.write(tag + start)
                for index in range(array.shape[0]):
                    file.write(array.row(index).tobytes())
                file.write(padding)
                continue
            deflater = zlib.compressobj(3)
            place = file.tell()
            file.write(struct.pack("<II", _COMPRESSED, 0) + deflater.compress(tag + start))
            for index in range(array.shape[0]):
                file.write(deflater.compress(array.row(index).tobytes()))
            file.write(deflater.compress(padding) + deflater.flush())
            end = file.tell()
            file.seek(place)
            file.write(struct.pack("<II", _COMPRESSED, end - place - 8))
            file.seek(end)


def _header(version: bytes, number: int) -> bytes:
    return (_HEADER_TEXT % version).ljust(124) + struct.pack("<H", number) + b"IM"


def _matrix_start(name: str, shape: tuple[int, ...], count: int) -> bytes:
    extents = struct.pack(f"<{len(shape)}i", *shape[::-1])
    return b"".join(
        [
            struct.pack("<IIII", _UINT32, 8, _UINT8_CLASS, 0),
            _padded(_INT32, extents),
            _padded(_INT8, name.encode()),
            struct.pack("<II", _UINT8, count),
        ]
    )


def _padded(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)
