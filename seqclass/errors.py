"""The exceptions a user can meet. Each says where, what was found, what was expected, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class SeqclassError(Exception):
    """Base of every error that this library raises for bad input.

    Args:
        problem: What was found and what was expected, as a sentence without its full stop.
        remedy: What to do about it, as a sentence without its full stop.
        file: The file in which it was found.
        record: The place in that file: a line number, a record's name, an index.
    """

    def __init__(
        self,
        problem: str,
        *,
        remedy: str | None = None,
        file: str | Path | None = None,
        record: str | int | None = None,
    ) -> None:
        self.problem = problem
        self.remedy = remedy
        self.file = None if file is None else Path(file)
        self.record = f"line {record}" if isinstance(record, int) else record
        super().__init__(problem)

    def __str__(self) -> str:
        place = ", ".join(str(part) for part in (self.file, self.record) if part is not None)
        sentence = f"{place}: {self.problem}" if place else self.problem
        if not self.remedy:
            return f"{sentence}."
        return f"{sentence}. {self.remedy}" + ("" if self.remedy.endswith("?") else ".")


class SequenceError(SeqclassError):
    """A sequence, or a file of sequences, cannot be read as what it should be."""


class IntervalError(SeqclassError):
    """A BED or narrowPeak file, a region or a chromosome name does not fit the genome."""


class SourceError(SeqclassError):
    """A raw data set does not have the layout that its importer expects."""


class StoreError(SeqclassError):
    """A file is not a store, is damaged, or was written by a newer version."""


class BundleError(SeqclassError):
    """A folder is not a bundle, is damaged, or was written by a newer version."""


class BackboneError(SeqclassError):
    """A pretrained model cannot be had, or is not one that can be used here."""


class AssemblyError(SeqclassError):
    """Blocks that do not fit together, or a model asked for something it cannot do."""


class EvaluationError(SeqclassError):
    """Scores, labels or targets from which no honest metric can be computed."""


class TrainingError(SeqclassError):
    """A training run cannot start or go on."""


class UnknownNameError(SeqclassError):
    """A target, model, layer or split that does not exist."""


class MissingPackageError(SeqclassError):
    """A part of the library needs a package that is not installed."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the {package} package", remedy=f'Run: pip install "seqclass[{extra}]"')


class DeviceMemoryError(SeqclassError):
    """The memory of a GPU is too small for even one sequence."""


class OutputExistsError(SeqclassError):
    """Something stands already where output should go."""

    def __init__(self, path: str | Path) -> None:
        super().__init__("this exists already", remedy="Pass --force to replace it, or choose another place", file=path)


def find_name(kind: str, wanted: str, names: Iterable[str]) -> str:
    """The one of `names` that `wanted` means: itself, or a case-insensitive match or prefix that is unique.

    Args:
        kind: What is looked for, in the field's word ("target", "model"), for the message.
        wanted: What the user wrote.
        names: All that exist.

    Raises:
        UnknownNameError: Nothing or more than one matches; the nearest names are suggested.
    """
    names = list(names)
    if wanted in names:
        return wanted
    folded = wanted.casefold()
    same = [name for name in names if name.casefold() == folded]
    if len(same) == 1:
        return same[0]
    starting = [name for name in names if name.casefold().startswith(folded)] if folded else []
    if len(starting) == 1:
        return starting[0]
    if starting:
        shown = ", ".join(starting[:8]) + (", ..." if len(starting) > 8 else "")
        raise UnknownNameError(
            f"{kind} '{wanted}' is ambiguous: {len(starting)} names start so ({shown})", remedy="Write more of the name"
        )
    by_fold = {name.casefold(): name for name in names}
    near = [by_fold[match] for match in difflib.get_close_matches(folded, list(by_fold), n=3, cutoff=0.5)]
    remedy = (
        f"Did you mean {' or '.join(near)}?"
        if near
        else "There are: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    )
    raise UnknownNameError(f"there is no {kind} '{wanted}' among {len(names)}", remedy=remedy)
