"""What a classifier predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seqclass.errors import SeqclassError, find_name


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


def check_targets(targets: Sequence[Target], *, file: str | Path | None = None) -> None:
    """Refuses targets that could not be told apart, or not be written to a table and read again.

    Args:
        targets: What is about to be trained on or written.
        file: Where they come from or go to, for the message.

    Raises:
        SeqclassError: There is none, one has no name, two share a name, or a name or group holds a tab, a line end or
            another character that cannot be printed.
    """
    if not targets:
        raise SeqclassError("there are no targets", remedy="Give at least one", file=file)
    for number, target in enumerate(targets, start=1):
        if not target.name or not (target.name + target.group).isprintable():
            what = "group" if target.name and target.name.isprintable() else "name"
            raise SeqclassError(
                f"target {number} has the {what} {getattr(target, what)!r}, where printable characters are expected",
                remedy="Rename it, or the file from which it has its name, without tabs and line ends",
                file=file,
            )
    name, count = Counter(target.name for target in targets).most_common(1)[0]
    if count > 1:
        raise SeqclassError(
            f"{count} targets are called '{name}'", remedy="Give each target a name of its own", file=file
        )
