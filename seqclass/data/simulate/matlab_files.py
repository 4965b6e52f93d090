"""MATLAB files of uint8 arrays, versions 5 and 7.3, written row by row, so that any size needs little memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

# The header of a file tells when it was made; a fixed date keeps equal contents equal.
_HEADER_TEXT = b"MATLAB %s MAT-file, Platform: GLNXA64, Created on: Mon Jan  5 12:00:00 2015"
_MATRIX, _COMPRESSED, _INT8, _UINT8, _INT32, _UINT32, _UINT8_CLASS = 14, 15, 1, 2, 5, 6, 9


class RowArray(NamedTuple):
    """An array to be written, with its axes in the order of HDF5, the reverse of MATLAB's.

    Args:
        name: Of the variable.
        shape: As HDF5 sees it.
        row: Gives the row of an index on the first axis, `shape[1:]`.
    """

    name: str
    shape: tuple[int, ...]
    row: Callable[[int], Bytes]


def write_version_73(
    path: Path, arrays: Sequence[RowArray], chunks: Sequence[tuple[int, ...] | None], *, deflate: int = 3
) -> None:
    """Writes HDF5 behind MATLAB's 512-byte header, in chunks of the given shapes (None: contiguous)."""
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
    """Writes MATLAB's version 5, compressed as MATLAB 7 does by default, or plain."""
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
