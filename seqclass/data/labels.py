"""Labels as a store keeps them and a batch carries them: a few bytes a sample, whatever they say.

Most data sets ask one of two kinds of question. A yes-or-no target (a factor binds here) is a bit. An exclusive group
of targets, of which exactly one is true (the family of a protein), is a number, which takes four bytes for 17,929
families where bits would take two thousand. Any label may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.errors import StoreError
from seqclass.metrics.ranking import MISSING
from seqclass.targets import Target, check_targets

Packed = NDArray[np.uint8]
_Counts = NDArray[np.int64]

_CLASS = np.dtype("<i4")


def pack_labels(labels: NDArray[Any]) -> Packed:
    """Packs `(samples, targets)` zeros and ones into `(samples, ceil(targets / 8))` bytes."""
    return np.packbits(labels.astype(bool, copy=False), axis=1)


def unpack_labels(packed: Packed, num_targets: int) -> NDArray[np.uint8]:
    """`(samples, targets)` zeros and ones from their packed form."""
    return np.unpackbits(packed, axis=1, count=num_targets)


@dataclass(frozen=True)
class LabelLayout:
    """What the bytes of a sample's labels mean.

    A row is the bits of the yes-or-no targets, highest first; then, where any can be missing, as many bits that say
    which are present; then four bytes (little-endian, signed) an exclusive group, with the index of the true target
    among the group's, or -1.

    Args:
        targets: All targets, in the order of a model's outputs.
        exclusive: Names of the groups of which exactly one target is true.
        missing: Whether labels of yes-or-no targets can be missing.

    Raises:
        SeqclassError: There are no targets, or two that could not be told apart.
        StoreError: An exclusive group has fewer than two targets.
    """

    targets: Sequence[Target]
    exclusive: Sequence[str] = ()
    missing: bool = False

    def __post_init__(self) -> None:
        check_targets(self.targets)
        for group in self.exclusive:
            if (count := len(self.members(group))) < 2:
                raise StoreError(
                    f"the question '{group}' has {'one class' if count else 'no class'}, where at least two are needed",
                    remedy="Add examples of other classes, or leave this question out",
                )

    @property
    def num_targets(self) -> int:
        return len(self.targets)

    @cached_property
    def binary(self) -> _Counts:
        """Indices of the yes-or-no targets, ascending."""
        excluded = set(self.exclusive)
        return np.flatnonzero([target.group not in excluded for target in self.targets])

    @cached_property
    def _members(self) -> dict[str, _Counts]:
        groups = np.array([target.group for target in self.targets])
        return {group: np.flatnonzero(groups == group) for group in self.exclusive}

    def members(self, group: str) -> _Counts:
        """Indices of the targets of an exclusive group, ascending."""
        return self._members[group]

    @property
    def bit_bytes(self) -> int:
        """Bytes that the bits of the yes-or-no targets take."""
        return (len(self.binary) + 7) // 8

    @property
    def class_offset(self) -> int:
        """Where in a row the exclusive groups begin."""
        return self.bit_bytes * (2 if self.missing else 1)

    @property
    def row_bytes(self) -> int:
        """Bytes that the labels of a sample take."""
        return self.class_offset + _CLASS.itemsize * len(self.exclusive)

    def pack(self, binary: NDArray[Any] | None = None, classes: NDArray[Any] | None = None) -> Packed:
        """Rows `(samples, row_bytes)` of labels.

        Args:
            binary: `(samples, yes-or-no targets)`, 1, 0 or -1 for a missing one; left out where there is none.
            classes: `(samples, exclusive groups)`, indices among the group's targets, -1 for a missing one; likewise.
        """
        parts = []
        if binary is not None:
            parts.append(pack_labels(binary == 1))
            if self.missing:
                parts.append(pack_labels(binary != MISSING))
        if classes is not None and len(self.exclusive):
            parts.append(np.ascontiguousarray(classes, dtype=_CLASS).view(np.uint8))
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        assert rows.shape[1] == self.row_bytes, "one column a yes-or-no target, and one an exclusive group"
        return rows

    def labels(self, rows: Packed) -> NDArray[np.uint8]:
        """Zeros and ones `(samples, targets)`; a missing label reads as 0."""
        bits = unpack_labels(rows[:, : self.bit_bytes], len(self.binary))
        if not self.exclusive:
            return bits
        labels = np.zeros((len(rows), self.num_targets), dtype=np.uint8)
        labels[:, self.binary] = bits
        for group, classes in zip(self.exclusive, self.classes(rows).T, strict=True):
            known = np.flatnonzero(classes != MISSING)
            labels[known, self.members(group)[classes[known]]] = 1
        return labels

    def present(self, rows: Packed) -> NDArray[np.bool_]:
        """Which labels are not missing, `(samples, targets)`."""
        present = np.ones((len(rows), self.num_targets), dtype=bool)
        if self.missing:
            bits = rows[:, self.bit_bytes : self.class_offset]
            present[:, self.binary] = unpack_labels(bits, len(self.binary)).view(bool)
        for group, classes in zip(self.exclusive, self.classes(rows).T, strict=True):
            present[np.ix_(classes == MISSING, self.members(group))] = False
        return present

    def known_labels(self, rows: Packed) -> NDArray[np.int8]:
        """Labels `(samples, targets)`: 1, 0, or -1 where one is missing."""
        labels = self.labels(rows).view(np.int8)
        if self.missing or self.exclusive:
            labels[~self.present(rows)] = MISSING
        return labels

    def classes(self, rows: Packed) -> NDArray[np.int32]:
        """`(samples, exclusive groups)`: the index of the true target among the group's, -1 where it is missing."""
        return np.ascontiguousarray(rows[:, self.class_offset :]).view(_CLASS).reshape(len(rows), len(self.exclusive))

    def count(self, rows: Packed) -> tuple[_Counts, _Counts, int]:
        """How many samples carry each target, `(targets,)`; for how many it is known; how many carry any."""
        positives, known = np.zeros(self.num_targets, dtype=np.int64), np.full(self.num_targets, len(rows))
        bits = unpack_labels(rows[:, : self.bit_bytes], len(self.binary))
        positives[self.binary] = bits.sum(axis=0, dtype=np.int64)
        carries = bits.any(axis=1)
        if self.missing:
            there = unpack_labels(rows[:, self.bit_bytes : self.class_offset], len(self.binary))
            known[self.binary] = there.sum(axis=0, dtype=np.int64)
        for group, classes in zip(self.exclusive, self.classes(rows).T, strict=True):
            members, there = self.members(group), classes != MISSING
            positives[members] = np.bincount(classes[there], minlength=len(members))
            known[members] = there.sum()
            carries |= there
        return positives, known, int(carries.sum())
