"""Numeric arrays of MATLAB files, read by slices in bounded memory.

Two kinds of file: version 7.3, which is HDF5, and version 5 (MathWorks, "MAT-File Format"), whose arrays may be
compressed. An array is seen as h5py shows it, with its axes reversed against MATLAB's: what MATLAB calls
`(samples, 4, window)` is `(window, 4, samples)` here. Rows are its first axis, columns its last.

Neither a compressed array of version 5 nor one whose HDF5 chunks are long can be entered in the middle without
inflating it over and over. Such an array is unpacked once into a scratch file, of the array's full size.
"""

from __future__ import annotations

import math
import struct
import tempfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass.errors import SourceError
from seqclass.progress import progress

_HEADER_BYTES = 128
_BYTE_ORDERS = {b"IM": "<", b"MI": ">"}
_VERSION_5 = 0x0100
_MATRIX, _COMPRESSED = 14, 15
_STORED_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX_FLAG = 0x0800

_PIECE_BYTES = 1 << 20
_SLAB_BYTES = 8 << 20
_LONGEST_CHUNK_BYTES = 128 << 20

_File = BufferedReader | BufferedRandom


class Slices(Protocol):
    """An array opened for reading.

    `block` is the number of rows and of columns to read at once: a block of columns fits into the memory that was
    granted, and slices that begin at multiples of both unpack nothing twice.
    """

    block: tuple[int, int]

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """`(rows, ..., columns)`; the slices name both their ends.

        Raises:
            SourceError: The data cannot be read.
        """


@dataclass(frozen=True)
class MatlabArray(ABC):
    """A numeric array in a MATLAB file.

    Args:
        file: The file that holds it.
        name: Its variable's name.
        shape: Its axes, reversed against MATLAB's.
        dtype: The type in which its values are stored, which may be narrower than the variable's class.
    """

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def matlab_shape(self) -> tuple[int, ...]:
        return self.shape[::-1]

    @property
    def row_bytes(self) -> int:
        """What one row takes in one column."""
        return max(1, math.prod(self.shape[1:-1])) * self.dtype.itemsize

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @abstractmethod
    def open(self, scratch: Path, memory: int) -> AbstractContextManager[Slices]:
        """Opens the array for reading.

        Args:
            scratch: A folder with room for the unpacked array, which goes to a nameless file that vanishes by itself.
            memory: How many bytes all rows of a block of columns may take.

        Raises:
            SourceError: The data is damaged or ends early.
        """

    def _block(self, memory: int, rows: int = 1, columns: int = 1) -> tuple[int, int]:
        """The block made of whole pieces of `rows` x `columns`; without columns where such a piece does not fit."""
        fitting = max(1, memory // (max(self.shape[0], rows) * self.row_bytes)) // columns * columns
        slab = _SLAB_BYTES // (rows * self.row_bytes * max(fitting, 1))
        return max(slab, 1) * rows, fitting

    def _damaged(self, reason: object) -> SourceError:
        return _damaged(self.file, reason, self.name)


def find_array(path: str | Path, name: str) -> MatlabArray:
    """The numeric array of that name.

    Raises:
        SourceError: The file is missing, not MATLAB's or cut short, or holds no numeric array of that name.
    """
    arrays = list_arrays(path)
    for array in arrays:
        if array.name == name:
            return array
    held = ", ".join(f"{array.name} {array.matlab_shape}" for array in arrays)
    raise SourceError(
        f"there is no numeric array '{name}'; this file holds {held or 'none'}",
        remedy=f"Give the file that holds {name}",
        file=path,
    )


def list_arrays(path: str | Path) -> list[MatlabArray]:
    """All numeric, full and real arrays at the top of a MATLAB file, without reading their data.

    Raises:
        SourceError: The file is missing, not MATLAB's, or cut short.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            if h5py.is_hdf5(path):
                return _list_hdf5(path)
            return list(_list_version_5(path, file))
    except FileNotFoundError:
        raise SourceError("there is no such file", remedy="Check the path", file=path) from None
    except IsADirectoryError:
        raise SourceError(
            "this is a folder, where a MATLAB file is expected", remedy="Name a file in it", file=path
        ) from None
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, zlib.error, struct.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object, name: str | None = None) -> SourceError:
    return SourceError(
        f"the file cannot be read, is damaged or cut short ({reason})",
        remedy="Copy or download it again, and compare its size with the original's",
        file=path,
        record=name,
    )


class _FlatSlices:
    """An array that lies in a file as it would in memory."""

    def __init__(self, array: MatlabArray, file: _File, offset: int, memory: int) -> None:
        self._array, self._file, self._offset = array, file, offset
        self.block = array._block(memory)

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        shape, dtype = self._array.shape, self._array.dtype
        middle = math.prod(shape[1:-1])
        height, width = rows.stop - rows.start, columns.stop - columns.start
        out = np.empty((height, *shape[1:-1], width), dtype)
        runs = out.reshape(height * middle, width).view(np.uint8)
        for number, run in enumerate(runs, start=rows.start * middle):
            self._file.seek(self._offset + (number * shape[-1] + columns.start) * dtype.itemsize)
            if self._file.readinto(run.data) != run.nbytes:
                raise self._array._damaged("the data ends early")
        return out


@dataclass(frozen=True)
class _Hdf5Array(MatlabArray):
    chunks: tuple[int, ...]

    @contextmanager
    def open(self, scratch: Path, memory: int) -> Iterator[Slices]:
        block = self._block(memory, self.chunks[0], self.chunks[-1])
        with h5py.File(self.file, "r") as file:
            chunked = _Hdf5Slices(self, file[self.name], block)
            if block[1]:
                yield chunked
                return
            with tempfile.TemporaryFile(dir=scratch) as flat:
                self._unpack(chunked, flat)
                yield _FlatSlices(self, flat, 0, memory)

    def _unpack(self, chunked: _Hdf5Slices, flat: BufferedRandom) -> None:
        if math.prod(self.chunks) * self.dtype.itemsize > _LONGEST_CHUNK_BYTES:
            raise SourceError(
                f"the HDF5 chunks of shape {self.chunks} are too large to be read in bounded memory",
                remedy=f"Write the file again in smaller chunks, as with h5repack -l {self.name}:CHUNK=...",
                file=self.file,
                record=self.name,
            )
        with progress(f"Unpacking {self.file.name}", total=math.prod(self.shape), unit="values") as advance:
            for chunk in chunked.dataset.iter_chunks():
                values = chunked.get(chunk)
                corner = np.array([part.start for part in chunk])
                for index in np.ndindex(values.shape[:-1]):
                    place = np.ravel_multi_index(tuple(np.add(corner, (*index, 0))), self.shape)
                    flat.seek(int(place) * self.dtype.itemsize)
                    flat.write(values[index].data)
                advance(values.size)


class _Hdf5Slices:
    def __init__(self, array: MatlabArray, dataset: Any, block: tuple[int, int]) -> None:
        self._array, self.dataset, self.block = array, dataset, block

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        return self.get((rows, ..., columns))

    def get(self, selection: Any) -> NDArray[Any]:
        try:
            values: NDArray[Any] = self.dataset[selection]
        except (OSError, RuntimeError) as error:
            raise self._array._damaged(error) from error
        return values


def _list_hdf5(path: Path) -> list[MatlabArray]:
    with h5py.File(path, "r") as file:
        datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        return [
            _Hdf5Array(path, name, item.shape, item.dtype, item.chunks or (1,) * item.ndim)
            for name, item in datasets.items()
            if item.dtype.kind in "biuf" and item.ndim >= 2
        ]


@dataclass(frozen=True)
class _Version5Array(MatlabArray):
    """An array whose data is `data_offset` bytes into the `size` bytes of the element that begins at `offset`."""

    offset: int
    size: int
    compressed: bool
    data_offset: int

    @contextmanager
    def open(self, scratch: Path, memory: int) -> Iterator[Slices]:
        with open(self.file, "rb") as file:
            if not self.compressed:
                yield _FlatSlices(self, file, self.offset + self.data_offset, memory)
                return
            with tempfile.TemporaryFile(dir=scratch) as flat:
                try:
                    self._unpack(file, flat)
                except (EOFError, zlib.error) as error:
                    raise self._damaged(error) from error
                yield _FlatSlices(self, flat, 0, memory)

    def _unpack(self, file: BufferedReader, flat: BufferedRandom) -> None:
        stream = _Stream(_inflate(_pieces(file, self.offset, self.size)))
        stream.take(self.data_offset)
        missing = self.num_bytes
        with progress(f"Unpacking {self.file.name}", total=self.num_bytes, unit="bytes") as advance:
            # What follows the data is read as well: the checksum is at the very end.
            for piece in stream.rest():
                flat.write(piece[:missing])
                missing -= min(missing, len(piece))
                advance(len(piece))
        if missing:
            raise EOFError("the data ends early")


def _list_version_5(path: Path, file: BufferedReader) -> Iterator[MatlabArray]:
    header = file.read(_HEADER_BYTES)
    order = _BYTE_ORDERS.get(header[126:128])
    if order is None or struct.unpack(order + "H", header[124:126])[0] != _VERSION_5:
        raise SourceError(
            "this is not a MATLAB file of version 5 or 7.3", remedy="Save it with -v7 or -v7.3 in MATLAB", file=path
        )
    end = path.stat().st_size
    offset = _HEADER_BYTES
    while offset < end:
        stream = _Stream(_pieces(file, offset, 8))
        kind, size = struct.unpack(order + "II", stream.take(8))
        offset += 8
        if offset + size > end:
            raise EOFError(f"its last array needs {offset + size - end:,} bytes more")
        compressed = kind == _COMPRESSED
        stream = _Stream(_pieces(file, offset, size))
        if compressed:
            stream = _Stream(_inflate(_pieces(file, offset, size)))
            kind = struct.unpack(order + "II", stream.take(8))[0]
        array = _read_header(stream, order) if kind == _MATRIX else None
        if array is not None:
            name, shape, dtype, data_size = array
            found = _Version5Array(path, name, shape, dtype, offset, size, compressed, stream.position)
            if found.num_bytes != data_size:
                raise EOFError(f"{name} {found.matlab_shape} needs {found.num_bytes:,} bytes and has {data_size:,}")
            yield found
        offset += size


def _read_header(stream: _Stream, order: str) -> tuple[str, tuple[int, ...], np.dtype[Any], int] | None:
    """Name, shape, stored type and data size of a matrix element, leaving the stream where its data begins.

    None where it is no numeric, full, real array with a name.
    """
    flags = struct.unpack_from(order + "I", _subelement(stream, order))[0]
    if flags & 0xFF not in _NUMERIC_CLASSES or flags & _COMPLEX_FLAG:
        return None
    dims = [extent for (extent,) in struct.iter_unpack(order + "i", _subelement(stream, order))]
    name = _subelement(stream, order).decode("latin-1")
    kind, size, _ = _subelement_tag(stream, order)
    if not name or kind not in _STORED_TYPES:
        return None
    return name, tuple(dims[::-1]), np.dtype(order + _STORED_TYPES[kind]), size


def _subelement(stream: _Stream, order: str) -> bytes:
    _, size, padding = _subelement_tag(stream, order)
    data = stream.take(size)
    stream.take(padding)
    return data


def _subelement_tag(stream: _Stream, order: str) -> tuple[int, int, int]:
    """Type, size and the padding behind the data; data of up to four bytes shares the tag's eight."""
    kind = struct.unpack(order + "I", stream.take(4))[0]
    if kind >> 16:
        return kind & 0xFFFF, kind >> 16, -(kind >> 16) % 4
    size = struct.unpack(order + "I", stream.take(4))[0]
    return kind, size, -size % 8


class _Stream:
    """Bytes that arrive in pieces, taken by count."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > _PIECE_BYTES:
            raise EOFError("the header of an array is damaged")
        while len(self._left) < count:
            piece = next(self._pieces, None)
            if piece is None:
                raise EOFError("an array ends early")
            self._left += piece
        taken, self._left = self._left[:count], self._left[count:]
        self.position += count
        return taken

    def rest(self) -> Iterator[bytes]:
        yield self._left
        yield from self._pieces


def _pieces(file: BufferedReader, offset: int, size: int) -> Iterator[bytes]:
    while size > 0:
        file.seek(offset)
        piece = file.read(min(size, _PIECE_BYTES))
        if not piece:
            raise EOFError("the file ends early")
        yield piece
        offset += len(piece)
        size -= len(piece)


def _inflate(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    for piece in pieces:
        while piece:
            yield inflater.decompress(piece, _PIECE_BYTES)
            piece = inflater.unconsumed_tail
    yield inflater.flush()
    if not inflater.eof:
        raise EOFError("the compressed data ends early")
