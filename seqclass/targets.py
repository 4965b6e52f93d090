"""What a classifier predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seqclass.errors import find_name


class Target(NamedTuple):
    """One yes-or-no question about a sequence: its name, and the group it is averaged in ("" for none)."""

    name: str
    group: str = ""


def find_target(targets: Sequence[Target], name: str) -> int:
    """The index of the target that `name` means: its name, or a case-insensitive prefix that is unique.

    Raises:
        UnknownNameError: None or several match; the nearest are suggested.
    """
    names = [target.name for target in targets]
    return names.index(find_name("target", name, names))
