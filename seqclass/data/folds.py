"""Cross-validation folds: every sample outside the test split is held out once, and what must stay together does.

Units of samples are those of `seqclass.data.splits`: what overlaps on the tape, all samples of one protein, and by
choice a group or a cluster of similar sequences. Of each fold's training samples some choose the best epoch; they are
parted from the others by the same rule.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from seqclass.data.seeds import seeded_generator
from seqclass.data.splits import LEVEL, deal, strata_of, units_of
from seqclass.data.store import SPLITS, Indices, Store
from seqclass.errors import SourceError, find_name

FoldsBy = Literal["stratified", "group", "cluster"]

VALID_SHARE = 0.1
"""Of a fold's training samples, so many choose the epoch that is kept."""

_TRAIN, _VALID, _TEST = range(len(SPLITS))
# In no split: a store that is divided so does not show these samples.
_UNUSED = len(SPLITS)

_MOST_FOLDS = 255
_NAMED = 5


@dataclass(frozen=True)
class Folds:
    """Folds of a store's samples.

    Attributes:
        store: As it is in its file.
        number: How many folds.
        by: How they were made.
        seed: Of what was drawn.
        of: `(samples,)`, the fold of each from 0; -1 in the test split.
        units: `(samples,)`, which samples stay together.
        strata: `(samples,)`, what is divided evenly; see `strata_of`.
        notes: What there is to tell.
    """

    store: Store
    number: int
    by: str
    seed: int
    of: Indices
    units: Indices
    strata: Indices
    notes: tuple[str, ...]

    def samples(self, fold: int) -> Indices:
        """Indices of a fold's samples, each locus once, whichever strands of it the store holds."""
        return self.store.distinct(np.flatnonzero(self.of == fold))

    def __iter__(self) -> Iterator[Store]:
        """The store once for each fold: its test split is the fold, the others' samples are train and valid."""
        for fold in range(self.number):
            split = np.full(len(self.of), _UNUSED, dtype=np.uint8)
            split[self.of == fold] = _TEST
            rest = np.flatnonzero((self.of >= 0) & (self.of != fold))
            shares = np.array([1 - VALID_SHARE, VALID_SHARE])
            split[rest] = deal(
                _numbered(self.units[rest]), self.strata[rest], shares, self.by, seeded_generator(self.seed)
            )
            yield _divided(self.store, split, {"by": self.by, "folds": self.number, "fold": fold, "seed": self.seed})

    def whole(self) -> Store:
        """The store with all samples of all folds in train."""
        split = np.where(self.of >= 0, _TRAIN, _UNUSED).astype(np.uint8)
        return _divided(self.store, split, {"by": self.by, "folds": self.number, "seed": self.seed})


def make_folds(
    store: Store,
    number: int,
    by: FoldsBy,
    *,
    clusters: str | Path | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Folds:
    """Divides the samples outside the test split into folds of about equal size; the store stays as it is.

    - "stratified": each fold has as much of each class, or of each sample's rarest label, as whole units allow, and
      of a class with as many units as there are folds at least one.
    - "group": the store's groups (families, partitions) stay whole.
    - "cluster": so do sequences that hang together by similarity, or by a table of clusters.

    Args:
        store: The store.
        number: Of folds, at least 2.
        by: As above.
        clusters: For "cluster": MMseqs2's table (representative, member) or CD-HIT's `.clstr`, by names of contigs.
        level: For "cluster" without a table: the Jaccard index of k-mers from which on two sequences are joined.
        seed: Of what is drawn.

    Raises:
        SourceError: Fewer units than folds or, stratified, of a class; groups or clusters that are not known.
        UnknownNameError: There is no such way to make folds.
    """
    chosen = find_name("way to make folds", by, get_args(FoldsBy))
    if not 2 <= number <= _MOST_FOLDS:
        raise SourceError(f"{number} folds", remedy=f"Choose 2 to {_MOST_FOLDS} --folds")
    used = np.flatnonzero(store.split != _TEST)
    if not len(used):
        raise SourceError(
            "there are no samples outside the test split, which stays untouched",
            remedy="Divide it anew with 'seqclass data split'",
            file=store.path,
        )
    notes: list[str] = []
    units, strata = units_of(store, chosen, clusters=clusters, level=level, notes=notes), strata_of(store)
    mine = _numbered(units[used])
    what = {"group": "groups", "cluster": "clusters"}.get(chosen, "units of samples that must stay together")
    _check_enough(store, int(mine.max()) + 1, number, what)
    if chosen == "stratified":
        _check_classes(store, used, mine, number)
        dealt = _deal_evenly(mine, strata[used], number, seeded_generator(seed))
    else:
        shares = np.full(number, 1 / number)
        dealt = deal(mine, strata[used], shares, chosen, seeded_generator(seed)).astype(np.int64)
    _check_validation(store, mine, dealt, number, what)
    of = np.full(len(store), -1, dtype=np.int64)
    of[used] = dealt
    return Folds(store, number, chosen, seed, of, units, strata, tuple(notes))


def _check_enough(store: Store, units: int, number: int, what: str) -> None:
    if units < number:
        raise SourceError(
            f"there are {units:,} {what} outside the test split, where {number} folds need one each",
            remedy="Choose fewer --folds, or another --by",
            file=store.path,
        )


def _check_validation(store: Store, units: Indices, of: Indices, number: int, what: str) -> None:
    for fold in range(number):
        if len(np.unique(units[of != fold])) < 2:
            raise SourceError(
                f"beside fold {fold} there are fewer than two {what}: none is left to choose the epoch by",
                remedy="Choose more --folds, or another --by",
                file=store.path,
            )


def _check_classes(store: Store, used: Indices, units: Indices, number: int) -> None:
    """Refuses classes that some fold would lack; of several yes-or-no targets each may be rare."""
    layout, classes = store.layout, store.classes(used)
    members: list[tuple[str, int]] = []
    for column, group in enumerate(layout.exclusive):
        pairs = np.unique(np.stack([classes[:, column], units], axis=1), axis=0)[:, 0]
        counts = np.bincount(pairs[pairs >= 0])
        members += [(store.targets[layout.members(group)[each]].name, counts[each]) for each in np.flatnonzero(counts)]
    if len(layout.binary) == 1:
        target = int(layout.binary[0])
        labels, name = store.known_labels(used)[:, target], store.targets[target].name
        members += [(what, len(np.unique(units[labels == label]))) for label, what in ((1, name), (0, f"not {name}"))]
    few = [f"{name} ({count:,})" for name, count in members if count < number]
    if few:
        shown = ", ".join(few[:_NAMED]) + (", ..." if len(few) > _NAMED else "")
        raise SourceError(
            f"{len(few):,} of {len(members):,} classes have fewer members outside the test split than the {number} "
            f"folds: {shown}",
            remedy="Choose fewer --folds, import the data without these classes, or choose --by group or cluster",
            file=store.path,
        )


def _deal_evenly(units: Indices, strata: Indices, number: int, generator: np.random.Generator) -> Indices:
    """The fold of each sample: of a stratum's units, each fold gets as many as any other, or one fewer."""
    size = np.bincount(units)
    stratum = np.zeros(len(size), dtype=np.int64)
    stratum[units[::-1]] = strata[::-1]
    order = generator.permutation(len(size))
    order = order[np.lexsort((-size[order], stratum[order]))]
    of_unit, filled = np.zeros(len(size), dtype=np.int64), np.zeros(number)
    for mine in np.split(order, np.flatnonzero(np.diff(stratum[order])) + 1):
        for begin in range(0, len(mine), number):
            # The largest go to the folds that have least so far.
            handful = mine[begin : begin + number]
            emptiest = np.argsort(filled, kind="stable")[: len(handful)]
            of_unit[handful] = emptiest
            filled[emptiest] += size[handful]
    dealt: Indices = of_unit[units]
    return dealt


def _numbered(units: Indices) -> Indices:
    numbered: Indices = np.unique(units, return_inverse=True)[1].astype(np.int64)
    return numbered


def _divided(store: Store, split: NDArray[np.uint8], record: dict[str, int | str]) -> Store:
    """The same store under another split, which its file does not have."""
    divided = copy.copy(store)
    divided.split = split
    divided.provenance = {**store.provenance, "split": record}
    divided.provenance.pop("split_notes", None)
    return divided
