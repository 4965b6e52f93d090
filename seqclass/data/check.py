"""A store judged before anything is trained on it: leakage between splits, empty classes, odd letters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA
from seqclass.atomic import atomic_folder, check_free
from seqclass.data.check_page import write_page
from seqclass.data.check_plots import plot_classes, plot_composition, plot_lengths
from seqclass.data.homology import best_hits
from seqclass.data.leakage import Pairs, near_duplicates, overlaps, repeats
from seqclass.data.similarity import same_sequences
from seqclass.data.store import SPLITS, Indices, Store
from seqclass.data.tape import Tape
from seqclass.errors import SourceError
from seqclass.progress import track

LEVEL = 0.5
"""Samples of different splits that share this Jaccard index of k-mers are near duplicates."""

REPEAT = 100
"""Length of a stretch of DNA, in bp, that is called a repeat where another split has it too."""

MARKER = "check.json"

# Of more samples in valid or test, so many are compared.
_MOST = 20_000
_NAMED = 8

# Every genome has repeats: where a larger share of samples holds one, that is no longer an aside.
_REPEATED = 0.1
_ABOUT_REPEATS = "Exclude such regions, or name them beside the results."
_EXAMPLES = 10
_LISTED = 100_000

Grade = Literal["ok", "note", "leak"]


class Verdict(NamedTuple):
    """One thing that was looked at: "ok", worth a "note", or a "leak" between splits; and the finding in words."""

    grade: Grade
    what: str
    finding: str


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        verdicts: In order of weight.
        page: The HTML page, for people.
    """

    verdicts: list[Verdict]
    page: Path

    @property
    def leaks(self) -> bool:
        """Whether anything is shared by splits."""
        return any(verdict.grade == "leak" for verdict in self.verdicts)


def check_store(
    store: Store, out: str | Path, *, level: float = LEVEL, k: int | None = None, seed: int = 0, force: bool = False
) -> Check:
    """Looks for what makes results on a store better than they are, and writes what it finds.

    The folder gets `check.html` with pictures, `check.json`, `pairs.tsv` (pairs of samples of different splits that
    overlap, are identical or are alike, up to 100,000 of each pair of splits), and the pictures `classes.png`,
    `lengths.png` and `composition.png`.

    Args:
        store: The store.
        out: The folder to write.
        level: The Jaccard index of k-mers from which on two samples are called near duplicates, above 0, at most 1.
        k: Length of the k-mers, in residues. Default: 5 for proteins, 12 for DNA.
        seed: Of which samples are drawn where there are more than 20,000 in valid or test.
        force: Replace the check that stands at `out`.

    Raises:
        SourceError: The store has no samples, or the level is out of range.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands at `out` is no check, or the disk is full.
    """
    check_free(out, force, holding=MARKER, inputs=[store.path])
    if not 0 < level <= 1:
        raise SourceError(f"a level of {level}", remedy="Choose a --level above 0 and at most 1")
    if not len(store):
        raise SourceError("the store has no samples", remedy="Import it again", file=store.path)
    verdicts: list[Verdict] = []
    pairs: list[tuple[str, Pairs]] = []
    shared = overlaps(store)
    verdicts.append(_judge_overlaps(shared))
    pairs += [("overlap", each) for each in shared]
    if store.vector_size:
        verdicts.append(
            Verdict("note", "duplicates", "Vectors were not compared; check the store of the sequences they come from.")
        )
    else:
        same = _identical(store, [each.splits for each in shared])
        verdicts.append(_judge_identical(store, same))
        pairs += [("identical", each) for each in same]
        alike = near_duplicates(store, level, k=k, most=_MOST, seed=seed)
        verdicts += _judge_duplicates(store, alike, level)
        pairs += [("similar", each) for each in alike]
        verdicts.append(_judge_repeats(store) if store.alphabet is DNA else _judge_homology(store, alike, seed))
    if store.groups is not None:
        verdicts.append(_judge_groups(store, store.groups))
    verdicts += _judge_labels(store)
    composition = _composition(store)
    if composition is not None:
        verdicts.append(_judge_letters(store, composition))
    grades = ("leak", "note", "ok")
    verdicts.sort(key=lambda verdict: grades.index(verdict.grade))
    with atomic_folder(out, holding=MARKER, force=force) as folder:
        plot_classes(folder / "classes.png", store)
        plot_lengths(folder / "lengths.png", store)
        if composition is not None:
            plot_composition(folder / "composition.png", store, composition)
        _write_pairs(folder / "pairs.tsv", store, pairs)
        found: dict[str, Any] = {
            "store": str(store.path),
            "level": level,
            "verdicts": [verdict._asdict() for verdict in verdicts],
            "pairs": [
                {"kind": kind, "splits": each.splits, "pairs": each.count, "samples": each.samples, "of": each.of}
                for kind, each in pairs
            ],
        }
        (folder / MARKER).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        examples = list(islice(_rows(store, pairs), _EXAMPLES))
        write_page(folder / "check.html", store, verdicts, examples)
    return Check(verdicts, Path(out) / "check.html")


def _judge_overlaps(shared: list[Pairs]) -> Verdict:
    worst = [pairs for pairs in shared if pairs.count]
    if not worst:
        return Verdict("ok", "overlap", "No two splits read the same residues of one contig.")
    return Verdict(
        "leak",
        "overlap",
        "; ".join(
            f"{pairs.samples:,} of {pairs.of:,} {pairs.splits[0]} samples read residues that a {pairs.splits[1]} "
            "sample reads too"
            for pairs in worst
        )
        + ". Split by chromosome, or with gaps between the splits.",
    )


def _on_genome(store: Store) -> bool:
    return store.alphabet is DNA and len(np.unique(store.views.contig)) < len(store)


def _identical(store: Store, splits: list[tuple[str, str]]) -> list[Pairs]:
    """Of each two splits, the samples of the first that are the same sequence as one of the second, with that one."""
    number = same_sequences(store)
    found = []
    for later, earlier in splits:
        rows, columns = store.samples(later), store.samples(earlier)
        there, first = np.unique(number[columns], return_index=True)
        place = np.minimum(np.searchsorted(there, number[rows]), len(there) - 1)
        twins = np.flatnonzero((there[place] == number[rows]) & (number[rows] >= 0))
        listed = zip(rows[twins].tolist(), columns[first[place[twins]]].tolist(), strict=True)
        pairs = [(one, other, 1.0) for one, other in islice(listed, _LISTED)]
        found.append(Pairs((later, earlier), len(twins), len(twins), len(rows), len(twins), pairs))
    return found


def _judge_identical(store: Store, same: list[Pairs]) -> Verdict:
    worst = [pairs for pairs in same if pairs.count]
    if not worst:
        return Verdict("ok", "duplicates", "No two splits hold the same sequence.")
    on_genome = _on_genome(store)
    few = all(pairs.samples <= _REPEATED * pairs.of for pairs in worst)
    sentences = [
        f"{pairs.samples:,} of {pairs.of:,} {pairs.splits[0]} samples are the same sequence as a {pairs.splits[1]} "
        f"sample, such as {_name(store, pairs.listed[0][0])} and {_name(store, pairs.listed[0][1])}"
        for pairs in worst
    ]
    remedy = _ABOUT_REPEATS if on_genome else "Import with --dedupe, or split by cluster."
    return Verdict("note" if on_genome and few else "leak", "duplicates", f"{'; '.join(sentences)}. {remedy}")


def _judge_groups(store: Store, groups: NDArray[np.int32]) -> Verdict:
    pairs = np.unique(np.stack([groups, store.split], axis=1), axis=0)
    number, splits = np.unique(pairs[:, 0], return_counts=True)
    torn = [store.group_names[group] for group in number[splits > 1].tolist()]
    if not torn:
        return Verdict("ok", "groups", f"None of the {len(number):,} groups is in two splits.")
    named = ", ".join(torn[:_NAMED]) + (", ..." if len(torn) > _NAMED else "")
    return Verdict(
        "note",
        "groups",
        f"{len(torn):,} of {len(number):,} groups are in more than one split: {named}. To keep groups whole, split by "
        "group.",
    )


def _judge_duplicates(store: Store, alike: list[Pairs], level: float) -> Iterator[Verdict]:
    on_genome = _on_genome(store)
    remedy = _ABOUT_REPEATS if on_genome else "Split by cluster."
    if not alike:
        yield Verdict("note", "splits", "All samples are in one split, so there is nothing to compare.")
    for pairs in alike:
        later, earlier = pairs.splits
        drawn = f" (of {len(store.samples(later)):,}, drawn at random)" if pairs.of < len(store.samples(later)) else ""
        what = f"{later} and {earlier}"
        if not pairs.count:
            yield Verdict(
                "ok",
                what,
                f"No {later} sample{drawn} has a {earlier} sample at a Jaccard index of {level:g} or more; all "
                f"{pairs.of:,} were compared with all. Remote homologues are not seen so.",
            )
            continue
        one, other, index = pairs.listed[0]
        yield Verdict(
            "note" if on_genome and pairs.samples <= _REPEATED * pairs.of else "leak",
            what,
            f"{pairs.samples:,} of {pairs.of:,} {later} samples{drawn} ({pairs.samples / pairs.of:.1%}) have a near "
            f"duplicate in {earlier} ({pairs.count:,} pairs at a Jaccard index of {level:g} or more; {pairs.exact:,} "
            f"of these samples have one with just the same k-mers), such as {_name(store, one)} and "
            f"{_name(store, other)} ({index:.2f}). {remedy}",
        )


def _judge_repeats(store: Store) -> Verdict:
    found = [each for each in repeats(store, REPEAT) if each.positions]
    if not found:
        return Verdict("ok", "repeats", f"No stretch of {REPEAT} bp occurs in two splits.")
    sentences = []
    for each in found:
        there = f"{each.examples[0][0]}:{each.examples[0][1]:,} and {each.examples[0][2]}:{each.examples[0][3]:,}"
        sentences.append(
            f"{each.samples:,} of {each.of:,} {each.splits[0]} samples hold a stretch of {REPEAT} bp that "
            f"{each.splits[1]} has elsewhere, on either strand, such as {there}"
        )
    worst = max(each.samples / each.of for each in found)
    grade: Grade = "leak" if worst > _REPEATED else "note"
    return Verdict(grade, "repeats", f"{'; '.join(sentences)}. {_ABOUT_REPEATS}")


def _judge_homology(store: Store, alike: list[Pairs], seed: int) -> Verdict:
    seen = {one for pairs in alike if pairs.splits == ("test", "train") for one, _, _ in pairs.listed}
    test = store.samples("test")
    hits = best_hits(store, test[[sample not in seen for sample in test.tolist()]], seed=seed)
    if hits is None:
        return Verdict(
            "note", "homology", "Remote homologues were not looked for: that needs pyhmmer (pip install pyhmmer)."
        )
    if not hits.of:
        return Verdict("ok", "homology", "There is no test sample left to look for remote homologues of.")
    share = hits.found / hits.of
    best = "; ".join(f"{one} and {other} (E = {evalue:.1g})" for one, other, evalue in hits.best[:3])
    return Verdict(
        "note" if hits.found else "ok",
        "homology",
        f"phmmer finds a training homologue (E < {hits.evalue:g}) of {hits.found:,} of {hits.of:,} of the other test "
        f"samples, drawn at random ({share:.0%})" + (f", the best being {best}" if best else "") + ".",
    )


def _judge_labels(store: Store) -> Iterator[Verdict]:
    counts = {split: store.label_counts(split) for split in SPLITS if len(store.samples(split))}
    for split, (positives, known, _) in counts.items():
        if (known < len(store.samples(split))).any():
            most = int((len(store.samples(split)) - known).max())
            yield Verdict(
                "note",
                f"labels of {split}",
                f"Labels are missing, at most {most:,} of one target; they count neither in the loss nor in metrics.",
            )
        empty = [target.name for target, count in zip(store.targets, positives, strict=True) if count == 0]
        if empty:
            named = ", ".join(empty[:_NAMED]) + (", ..." if len(empty) > _NAMED else ".")
            yield Verdict(
                "note", f"classes of {split}", f"{len(empty):,} of {store.num_targets:,} have no example: {named}"
            )
    positives = counts["train"][0] if "train" in counts else np.zeros(store.num_targets, dtype=np.int64)
    if positives.any():
        most, least = int(positives.argmax()), int(np.where(positives > 0, positives, positives.max() + 1).argmin())
        told = (
            f"Of training samples, {positives[most]:,} are '{store.targets[most].name}' and {positives[least]:,} "
            f"'{store.targets[least].name}', which is {positives[most] / positives[least]:,.0f} to 1."
        )
        if positives[most] == positives[least]:
            told = f"Training samples of each target{'' if positives.all() else ' that has any'}: {positives[most]:,}."
        yield Verdict("ok", "balance", told)


def _judge_letters(store: Store, composition: NDArray[np.float64]) -> Verdict:
    unknown = composition[:, -1]
    total = float(composition.sum())
    share = float(unknown.sum()) / max(1.0, total)
    letter = store.alphabet.unknown
    if share == 0:
        return Verdict("ok", "letters", f"No residue that samples read is {letter}.")
    grade: Grade = "note" if share > 0.01 else "ok"
    shown = f"{share:.2%}" if share >= 1e-4 else "Less than 0.01%"
    return Verdict(grade, "letters", f"{shown} of the residues that samples read are {letter} (unknown).")


def _composition(store: Store) -> NDArray[np.float64] | None:
    """How often the samples of each split read each letter, `(splits, letters + 1)`; None for vectors."""
    if store.vector_size:
        return None
    counts = np.zeros((len(SPLITS), len(store.alphabet.letters) + 1))
    for part, split in enumerate(SPLITS):
        samples = store.samples(split)
        for block in track(_blocks(samples), f"Counting letters of {split}", unit="blocks"):
            inputs, mask = Tape(store, store.views[block]).read(store.views[block])
            tokens = inputs if mask is None else inputs[mask]
            counts[part] += np.bincount(tokens.ravel(), minlength=counts.shape[1])
    return counts


def _blocks(samples: Indices) -> Iterator[Indices]:
    return (samples[begin : begin + 4096] for begin in range(0, len(samples), 4096))


def _rows(store: Store, pairs: list[tuple[str, Pairs]]) -> Iterator[tuple[str, ...]]:
    for kind, each in pairs:
        for one, other, index in each.listed:
            yield kind, *each.splits, _name(store, one), _name(store, other), f"{index:.4g}"


def _name(store: Store, sample: int) -> str:
    """A sample as people find it: the contig's name, and in a genome where on it."""
    views, name = store.views, store.contig_names[int(store.views.contig[sample])]
    start, length = int(views.start[sample]), int(views.length[sample])
    whole = start == 0 and length == store.contig_length[views.contig[sample]]
    return name if whole else f"{name}:{start}-{start + length}"


def _write_pairs(path: Path, store: Store, pairs: list[tuple[str, Pairs]]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("kind\tsplit\tother_split\tsample\tother_sample\tjaccard_or_share\n")
        stream.writelines("\t".join(row) + "\n" for row in _rows(store, pairs))
