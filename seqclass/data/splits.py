"""Dividing a store's samples into train, valid and test, so that no two splits share what would give the answer away.

What is divided are units that must stay together: samples that overlap on the tape, all samples of one protein, and by
choice all of one group, one chromosome or one cluster of similar sequences.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA
from seqclass.atomic import atomic_file
from seqclass.data.fasta import open_maybe_gzip
from seqclass.data.seeds import seeded_generator
from seqclass.data.similarity import components, connect, kmer_sets
from seqclass.data.store import SPLITS, Indices, Store
from seqclass.data.tape import extent
from seqclass.errors import SourceError, find_name
from seqclass.metrics import MISSING

By = Literal["random", "stratified", "group", "chromosome", "cluster"]

LEVEL = 0.1
"""Two sequences of one cluster share at least this Jaccard index of k-mers, or hang together by others that do."""

_NAMED = 5
_TEST = SPLITS.index("test")

# Their k-mers, which are compared all with all, take some 20 bytes each.
_MOST_RESIDUES = 500_000_000
_LABELS_AT_ONCE = 1 << 23


def split_store(
    store: Store,
    by: By,
    *,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    clusters: str | Path | None = None,
    level: float = LEVEL,
    k: int | None = None,
    seed: int = 0,
    keep_test: bool = False,
) -> Store:
    """Divides a store's samples anew, inside the store; nothing else of it changes.

    - "random": units at random.
    - "stratified": so that each class, or the rarest label of each sample, is divided in the same shares.
    - "group": the store's groups (families, partitions) stay whole. "chromosome": contigs do.
    - "cluster": so do sequences that hang together by similarity, or by a table of clusters.

    Groups, chromosomes and clusters are dealt out large ones first, each to the split that lacks its classes most.

    Args:
        store: The store; its file is replaced as a whole, or left as it is.
        by: As above.
        fractions: Of samples in train, valid and test; 0 for none.
        clusters: For "cluster": MMseqs2's table (representative, member) or CD-HIT's `.clstr`, by names of contigs.
        level: For "cluster" without a table: the Jaccard index of k-mers from which on two sequences are joined.
        k: Length of those k-mers, in residues. Default: 5 for proteins, 12 for DNA.
        seed: Of what is drawn.
        keep_test: The test split stays as it is, as a published one should; the others are divided between train and
            valid, of which the fractions are then.

    Returns:
        The store with its new split; the last of `provenance["notes"]` say how it came about.

    Raises:
        SourceError: Fractions that cannot be, groups or clusters that are not known, or fewer units than splits.
        UnknownNameError: There is no such way to split.
    """
    chosen = find_name("way to split", by, get_args(By))
    shares = _check(fractions, store, keep_test)
    generator = seeded_generator(seed)
    notes: list[str] = []
    units = units_of(store, chosen, clusters=clusters, level=level, k=k, notes=notes)
    strata = strata_of(store)
    dealt = np.arange(len(store))
    if keep_test:
        dealt = np.flatnonzero(store.split != _TEST)
    units, strata = np.unique(units[dealt], return_inverse=True)[1].astype(np.int64), strata[dealt]
    wanted = np.flatnonzero(shares)
    if units.max() + 1 < len(wanted):
        raise SourceError(
            f"there are {len(wanted)} splits to fill, and {units.max() + 1} "
            f"{'unit' if units.max() == 0 else 'units'} of samples that must stay together",
            remedy="Split in another way, or into fewer parts",
            file=store.path,
        )
    split = deal(units, strata, shares, chosen, generator)
    stayed = len(store) - len(dealt)
    kept = (
        [f"The {stayed:,} samples of the test split stayed in it; what follows is about the others."]
        if keep_test
        else []
    )
    notes = [*kept, _summary(chosen, units, split), *notes, *_confined(store, units, strata), *_absent(strata, split)]
    whole = store.split.copy()
    whole[dealt] = split
    record: dict[str, Any] = {"by": chosen, "fractions": list(map(float, shares)), "seed": seed}
    record |= {"kept": "test"} if keep_test else {}
    if chosen == "cluster":
        record |= {"clusters": Path(clusters).name} if clusters is not None else {"level": level, "k": k}
    _rewrite(store, whole, record, notes)
    return Store(store.path)


def units_of(
    store: Store,
    by: str,
    *,
    clusters: str | Path | None = None,
    level: float = LEVEL,
    k: int | None = None,
    notes: list[str] | None = None,
) -> Indices:
    """Which samples must stay together, `(samples,)`: numbers of units, from 0.

    Args:
        store: Of the samples.
        by: As for `split_store`, as are the next three.
        clusters: A table of clusters.
        level: From which on two sequences are joined.
        k: Length of k-mers.
        notes: Gets what there is to tell about them.

    Raises:
        SourceError: Groups or clusters are not known.
    """
    units = _units(store)
    if by == "group":
        return _by_groups(store, units)
    if by == "chromosome":
        return _joined(units, store.views.contig.astype(np.int64))
    if by == "cluster":
        return _by_clusters(store, units, clusters, level, k, [] if notes is None else notes)
    return units


def deal(
    units: Indices, strata: Indices, shares: NDArray[np.float64], by: str, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Deals out units to parts, as `split_store` tells for each way; the part of each sample, `(samples,)`.

    Every part with a share gets a unit, if there are as many.

    Args:
        units: `(samples,)`, numbered from 0 without gaps.
        strata: `(samples,)`, as from `strata_of`.
        shares: `(parts,)`, which add up to 1.
        by: The way.
        generator: Of what is drawn.
    """
    if by == "random":
        part_of = _deal(units, np.zeros(len(units), dtype=np.int64), shares, generator)
    elif by == "stratified":
        part_of = _deal(units, strata, shares, generator)
    else:
        part_of = _deal_whole(units, strata, shares, generator)
    for part in np.flatnonzero(shares):
        if not (part_of == part).any():
            part_of[units == _spare(units, part_of, len(shares))] = part
    return part_of


def _check(fractions: Sequence[float], store: Store, keep_test: bool) -> NDArray[np.float64]:
    shares = np.array(fractions, dtype=np.float64)
    if len(shares) != len(SPLITS) or (shares < 0).any() or not np.isclose(shares.sum(), 1) or shares[0] == 0:
        raise SourceError(
            f"the fractions are {', '.join(f'{share:g}' for share in shares)}",
            remedy="Give three that add up to 1, for train (more than 0), valid and test, such as 0.8 0.1 0.1",
        )
    if keep_test and (shares[_TEST] or not (store.split != _TEST).any()):
        raise SourceError(
            f"the test split stays, and {shares[_TEST]:g} of the others are to be in it"
            if shares[_TEST]
            else "the test split stays, and all samples are in it",
            remedy="Give fractions for train and valid, and 0 for test, such as 0.9 0.1 0",
            file=store.path,
        )
    if not len(store):
        raise SourceError("the store has no samples", remedy="Import it again", file=store.path)
    return shares


def _units(store: Store) -> Indices:
    """Samples that share residues are of one unit, and so are all of one protein, `(samples,)`."""
    if store.alphabet is not DNA:
        return np.unique(store.views.contig, return_inverse=True)[1].astype(np.int64)
    begin, end = extent(store, store.views)
    order = np.argsort(begin, kind="stable")
    reach = np.maximum.accumulate(end[order])
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = begin[order][1:] >= reach[:-1]
    units = np.empty(len(order), dtype=np.int64)
    units[order] = np.cumsum(fresh) - 1
    return units


def _joined(units: Indices, others: Indices) -> Indices:
    """Units of which those that share a value of `others` are one; -1 joins nothing."""
    known = np.flatnonzero(others >= 0)
    order = known[np.argsort(others[known], kind="stable")]
    same = np.flatnonzero(others[order][1:] == others[order][:-1])
    return connect(units, order[same], order[same + 1])


def _by_groups(store: Store, units: Indices) -> Indices:
    if store.groups is None:
        raise SourceError(
            "it is not known which samples belong together",
            remedy="Import the data with a column of groups, or split by cluster",
            file=store.path,
        )
    return _joined(units, store.groups.astype(np.int64))


def _by_clusters(
    store: Store, units: Indices, clusters: str | Path | None, level: float, k: int | None, notes: list[str]
) -> Indices:
    everything = np.arange(len(store))
    if clusters is not None:
        number = _read_clusters(Path(clusters))
        names = store.names(everything)
        lacking = [name for name in names if name not in number]
        if lacking:
            raise SourceError(
                f"{len(lacking):,} of {len(names):,} samples are in no cluster, such as '{lacking[0]}'",
                remedy="Cluster all sequences of the store, under the names they have there (CD-HIT cuts names short "
                "unless it is told -d 0)",
                file=clusters,
            )
        return _joined(units, np.array([number[name] for name in names], dtype=np.int64))
    total = int(store.views.length.sum(dtype=np.int64))
    if total > _MOST_RESIDUES:
        raise SourceError(
            f"samples of {total:,} residues are too many to be compared with each other",
            remedy="Cluster them with MMseqs2 and pass --clusters, or split by group or by chromosome",
            file=store.path,
        )
    sets = kmer_sets(store, everything, k)
    notes.append(
        f"No two samples of different splits have a Jaccard index of {sets.k}-mers of {level:g} or more; every "
        "pair was compared. This does not see remote homologues: for those, cluster with MMseqs2 and pass --clusters."
    )
    return _joined(units, components(sets, level))


def _read_clusters(path: Path) -> dict[str, int]:
    """The cluster of each name, from MMseqs2's table or CD-HIT's list."""
    number: dict[str, int] = {}
    representatives: dict[str, int] = {}
    with open_maybe_gzip(path) as stream:
        for line, raw in enumerate(stream, start=1):
            text = raw.decode("utf-8", "replace").strip().lstrip("\ufeff")
            if not text:
                continue
            if text.startswith(">Cluster"):
                representatives[text] = len(representatives)
                continue
            if ">" in text and "..." in text:
                cluster, name = len(representatives) - 1, text[text.index(">") + 1 : text.index("...")]
            else:
                cells = text.split("\t")
                if len(cells) != 2:
                    raise SourceError(
                        f"this line has {len(cells)} columns, where a representative and a member are expected",
                        remedy="Give the _cluster.tsv of MMseqs2, or the .clstr file of CD-HIT",
                        file=path,
                        record=line,
                    )
                cluster, name = representatives.setdefault(cells[0], len(representatives)), cells[1]
            if cluster < 0 or number.setdefault(name, cluster) != cluster:
                raise SourceError(
                    f"'{name}' is in two clusters" if cluster >= 0 else "a member stands before the first cluster",
                    remedy="Give the table as the program wrote it",
                    file=path,
                    record=line,
                )
    return number


def strata_of(store: Store) -> Indices:
    """What is to be divided in equal shares, `(samples,)`: a sample's class, or else its rarest label; -1 for none."""
    everything = np.arange(len(store))
    if store.layout.exclusive:
        return store.classes(everything)[:, 0].astype(np.int64)
    strata = np.full(len(store), MISSING, dtype=np.int64)
    positives = sum(store.positives(split) for split in SPLITS)
    rank = np.argsort(np.argsort(positives, kind="stable"))
    block = max(1, _LABELS_AT_ONCE // store.num_targets)
    for begin in range(0, len(store), block):
        labels = store.labels(everything[begin : begin + block]).astype(bool)
        rarest = np.where(labels, rank, len(rank)).argmin(axis=1)
        strata[begin : begin + block] = np.where(labels.any(axis=1), rarest, MISSING)
    return strata


def _deal(
    units: Indices, strata: Indices, shares: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Deals out units at random, of each stratum the same shares as nearly as whole units allow."""
    size = np.bincount(units)
    first = np.zeros(len(size), dtype=np.int64)
    first[units[::-1]] = strata[::-1]
    order = generator.permutation(len(size))
    order = order[np.argsort(first[order], kind="stable")]
    of_unit = np.empty(len(size), dtype=np.uint8)
    cuts = np.flatnonzero(np.diff(first[order], prepend=-2, append=np.iinfo(np.int64).max))
    owed = np.zeros(len(shares))
    for begin, end in pairwise(cuts):
        mine = order[begin:end]
        # What rounding took from a part in one stratum it gets in the next.
        quota = shares * size[mine].sum() + owed
        got = np.zeros(len(shares))
        for unit in mine.tolist():
            part = int(np.argmax(np.where(shares > 0, quota - got, -np.inf)))
            of_unit[unit] = part
            got[part] += size[unit]
        owed = quota - got
    return of_unit[units]


def _deal_whole(
    units: Indices, strata: Indices, shares: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Deals out units, large ones first, each to the part that lacks its classes most."""
    count = int(units.max()) + 1
    size = np.bincount(units, minlength=count)
    classes = strata - strata.min()
    total = np.bincount(classes).astype(np.float64)
    pairs, number = np.unique(units * len(total) + classes, return_counts=True)
    of_pair, class_of_pair = np.divmod(pairs, len(total))
    bounds = np.searchsorted(of_pair, np.arange(count + 1))
    lacking = np.outer(shares, total)
    room = shares * len(units)
    of_unit = np.empty(count, dtype=np.uint8)
    order = generator.permutation(count)
    for unit in order[np.argsort(-size[order], kind="stable")].tolist():
        here = slice(bounds[unit], bounds[unit + 1])
        mine, amount = class_of_pair[here], number[here]
        # How much farther from the shares the unit takes a part, by the squares of what each class lacks.
        cost = (amount * (amount - 2 * lacking[:, mine]) / total[mine]).sum(axis=1)
        cost += size[unit] * (size[unit] - 2 * room) / len(units)
        part = int(np.argmin(np.where(shares > 0, cost / np.maximum(shares, 1e-9), np.inf)))
        of_unit[unit] = part
        lacking[part, mine] -= amount
        room[part] -= size[unit]
    return of_unit[units]


def _spare(units: Indices, split: NDArray[np.uint8], parts: int) -> int:
    """The smallest unit of a part that has several."""
    size = np.bincount(units)
    of_unit = np.zeros(len(size), dtype=np.int64)
    of_unit[units] = split
    several = np.bincount(of_unit, minlength=parts)[of_unit] > 1
    return int(np.where(several, size, len(units) + 1).argmin())


def _summary(by: str, units: Indices, split: NDArray[np.uint8]) -> str:
    counts = ", ".join(f"{int((split == part).sum()):,} in {name}" for part, name in enumerate(SPLITS))
    whole = {"group": "groups", "chromosome": "chromosomes", "cluster": "clusters"}.get(by, "units")
    return f"Split by {by}: {counts}; {units.max() + 1:,} {whole}, none of them in two splits."


def _absent(strata: Indices, split: NDArray[np.uint8]) -> list[str]:
    """Says how many classes a split lacks."""
    classes = np.unique(strata[strata >= 0])
    notes = []
    for part, name in enumerate(SPLITS):
        lacking = len(np.setdiff1d(classes, strata[split == part]))
        if lacking and (split == part).any():
            notes.append(f"{lacking:,} of {len(classes):,} classes have no sample in {name}.")
    return notes


def _confined(store: Store, units: Indices, strata: Indices) -> list[str]:
    """Says which classes are in one unit only, and so in one split."""
    known = strata >= 0
    pairs = np.unique(np.stack([strata[known], units[known]], axis=1), axis=0)
    per_class = Counter(pairs[:, 0].tolist())
    alone = sorted(each for each, count in per_class.items() if count == 1)
    samples = np.bincount(strata[known], minlength=max(per_class, default=0) + 1)
    alone = [each for each in alone if samples[each] > 1]
    if not alone:
        return []
    members = store.layout.members(store.layout.exclusive[0]) if store.layout.exclusive else None
    names = [store.targets[int(members[each]) if members is not None else each].name for each in alone[:_NAMED]]
    more = ", ..." if len(alone) > _NAMED else ""
    return [
        f"All samples of {len(alone):,} classes must stay together, so each of these is in one split only: "
        f"{', '.join(names)}{more}."
    ]


def _rewrite(store: Store, split: NDArray[np.uint8], record: dict[str, Any], notes: list[str]) -> None:
    before = store.provenance
    # Of an earlier split nothing is left to tell.
    earlier = set(before.get("split_notes", []))
    kept = [note for note in before.get("notes", []) if note not in earlier]
    provenance = {**before, "split": record, "split_notes": notes, "notes": [*kept, *notes]}
    with atomic_file(store.path, force=True) as partial:
        shutil.copyfile(store.path, partial)
        with h5py.File(partial, "r+", libver=("v110", "v110")) as file:
            file["split"][...] = split
            file.attrs["provenance"] = json.dumps(provenance)
