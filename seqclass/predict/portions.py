"""Portions of stretches that are scored together, none of them twice.

What a portion holds follows from the sequences alone: not from who scores it, nor from what was scored before. So a run
that was killed, or that several processes share, ends in the same numbers to the last bit.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import Tokens
from seqclass.predict.stretches import Stretch

_STRETCHES, _RESIDUES = 4096, 1 << 22
_REMEMBERED = 1 << 18
_BYTES = 1 << 26

Rows = NDArray[np.float32]


class Entry(NamedTuple):
    """Where a stretch stands, and which of the distinct stretches it is, counted from the first.

    Attributes:
        name: The sequence's.
        start: Where on it the stretch begins, 0-based.
        end: Where it ends (exclusive).
        whole: The sequence's length, in residues.
        number: Of the distinct stretch.
    """

    name: str
    start: int
    end: int
    whole: int
    number: int


class Portion(NamedTuple):
    """Stretches in their order, and those of them that no portion before has.

    Attributes:
        entries: Of all, at least one.
        first: Number of the first new one.
        tokens: Of each new one, `(length,)`.
    """

    entries: list[Entry]
    first: int
    tokens: list[Tokens]


def portions(stretches: Iterator[Stretch], width: int) -> Iterator[Portion]:
    """Takes stretches portion by portion; one that is equal to a recent one is not taken again.

    Args:
        stretches: In any order; no further ones are read than the portion takes.
        width: How many numbers a stretch is scored with; of more numbers, fewer stretches are remembered.
    """
    size, remembered = _size(width), _remembered(width)
    numbers: dict[bytes, int] = {}
    recent: deque[bytes] = deque()
    count = 0
    while True:
        portion, residues = Portion([], count, []), 0
        while len(portion.entries) < size and residues < _RESIDUES and (stretch := next(stretches, None)):
            tokens = np.ascontiguousarray(stretch.tokens)
            digest = hashlib.blake2b(tokens.data, digest_size=16).digest()
            number = numbers.get(digest)
            if number is None:
                number = numbers[digest] = count
                count += 1
                recent.append(digest)
                if len(recent) > remembered:
                    del numbers[recent.popleft()]
                portion.tokens.append(tokens)
                residues += len(tokens)
            end = stretch.start + len(tokens)
            portion.entries.append(Entry(stretch.name, stretch.start, end, stretch.whole, number))
        if not portion.entries:
            return
        yield portion


class RecentRows:
    """Scores of the distinct stretches to which a portion may refer, `(stretches, width)`.

    Args:
        width: As for `portions`.
    """

    def __init__(self, width: int) -> None:
        self._rows: Rows = np.empty((_remembered(width) + _size(width), width), dtype=np.float32)

    def of(self, portion: Portion, new: Rows) -> Rows:
        """The scores of all stretches of a portion, `(entries, width)`.

        Args:
            portion: The next one.
            new: Scores of its new stretches, `(tokens, width)`.
        """
        self._rows[np.arange(portion.first, portion.first + len(new)) % len(self._rows)] = new
        rows: Rows = self._rows[np.array([entry.number for entry in portion.entries]) % len(self._rows)]
        return rows


def _size(width: int) -> int:
    return max(1, min(_STRETCHES, _BYTES // (4 * width)))


def _remembered(width: int) -> int:
    return min(_REMEMBERED, _BYTES // (4 * width))
