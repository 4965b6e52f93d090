"""Genome and peaks to a store: the genome is cut into bins, and a bin carries the targets whose peaks lie in it.

A sample's label belongs to its bin; what a model sees is the window centred on that bin, a view on the genome that
reaches over a chromosome's ends as N. With a window of 1,000 bp, bins of 200 bp and the label rule `overlap:0.5` this
is the task of DeepSEA (Zhou and Troyanskaya, Nature Methods 2015).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens
from seqclass.atomic import check_free
from seqclass.data.bins import BinAxis, LabelRule
from seqclass.data.chromosomes import ChromosomeNames, listing, renaming_note, same_chromosome
from seqclass.data.fasta import FastaRecord, read_fasta
from seqclass.data.intervals import Intervals, Union, parse_region, read_intervals
from seqclass.data.sources.peak_files import read_targets
from seqclass.data.store import SPLITS, Packed, Store, Views, pack_labels
from seqclass.data.writer import write_store
from seqclass.errors import IntervalError, SequenceError, SourceError
from seqclass.progress import track
from seqclass.targets import Target

_ROWS_AT_ONCE = 1 << 16

PathLike = str | Path
Mask = NDArray[np.bool_]
Bins = NDArray[np.int32]


def import_peaks(
    out: PathLike,
    *,
    genome: PathLike,
    peaks: PathLike | Sequence[PathLike],
    window: int = 1000,
    bin: int = 200,
    label_rule: str = "auto",
    keep: str = "all",
    min_positives: int = 1,
    max_n: float = 0.5,
    valid_chroms: Sequence[str] = (),
    test_chroms: Sequence[str] = (),
    exclude_chroms: Sequence[str] = (),
    valid_regions: Sequence[str] = (),
    test_regions: Sequence[str] = (),
    blacklist: PathLike | None = None,
    names: PathLike | None = None,
    chrom_alias: PathLike | None = None,
    dedupe_targets: bool = False,
    seed: int = 0,
    force: bool = False,
) -> Store:
    """Cuts a genome into bins, labels them by peaks, and writes both as a store.

    Args:
        out: The store to write.
        genome: FASTA, plain or gzip.
        peaks: A folder of BED, narrowPeak or broadPeak files (plain or gzip), or files; one target a file, named by its
            stem. A single file holds several targets if column 4 names one in every line, on two lines each on
            average, or if `names` lists them; a note says how it was read.
        window: What a model sees, in bp, centred on the bin.
        bin: What is labelled, in bp; bins do not overlap, and a chromosome's last, partial bin is left out.
        label_rule: `summit` or `midpoint` (the bin in which that lies is positive); `overlap:F` (bins of which more
            than the share F lies in the union of the target's peaks); or `auto`: by peak, overlap:0.5 for those wider
            than a bin, else the summit where the file gives one, else the midpoint.
        keep: `all` bins; `labelled` ones; or `ratio:N`, N without a label for each with one, in each split.
        min_positives: Targets with fewer positive bins are dropped; those without any always are.
        max_n: Windows with a larger share of N (what lies beyond a chromosome's ends included) are dropped.
        valid_chroms: Chromosomes of the validation split, by any of their names.
        test_chroms: Chromosomes of the test split.
        exclude_chroms: Chromosomes left out of everything.
        valid_regions: As `chr7:30508751-35296850`. Bins wholly inside are held out. So that no base is seen in two
            splits, validation windows that touch the test split are dropped, and training windows that touch either.
        test_regions: Likewise.
        blacklist: BED; bins that touch it are dropped.
        names: A table, tab-separated: stem (or name in column 4), target name and optionally group. Equal names are
            merged.
        chrom_alias: A table of chromosome names that mean the same, see `ChromosomeNames`.
        dedupe_targets: Keep only the first of targets that have identical labels.
        seed: For the choice that `ratio:N` makes.
        force: Replace what stands at `out`.

    Returns:
        The store; `provenance["notes"]` are sentences on what was found and done.

    Raises:
        IntervalError: A peak file, a region or a chromosome name is wrong or does not fit the genome.
        SequenceError: The genome is missing, empty or not DNA.
        SourceError: An option that cannot be, or nothing is left to learn from.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: A name cannot be a target's, or `out` is one of the files that are read.
    """
    rule = LabelRule.parse(label_rule)
    unlabelled_per_labelled = _parse_keep(keep)
    if bin < 1 or window < bin or (window - bin) % 2:
        raise SourceError(
            f"a window of {window} bp cannot be centred on a bin of {bin} bp",
            remedy="Let --window exceed --bin by an even number of bp",
        )
    if not 0 <= max_n <= 1:
        raise SourceError(f"--max-n is {max_n}", remedy="Give the share of N in a window, from 0 to 1")
    given = [peaks] if isinstance(peaks, str | Path) else list(peaks)
    check_free(out, force, inputs=[genome, *given, names, chrom_alias, blacklist])
    genome = Path(genome)
    if genome.is_fifo():
        raise SequenceError(
            "this is a pipe, and the genome is read twice", remedy="Write it to a file first", file=genome
        )
    notes: list[str] = []

    by_target, num_files = read_targets(given, names, notes)
    lengths = _measure(genome)
    chromosomes = ChromosomeNames(list(lengths), file=genome, aliases=chrom_alias)
    places = _first_places(part for parts in by_target.values() for part in parts)
    matched = chromosomes.find(places)
    excluded = _exclude(exclude_chroms, chromosomes, matched, places)
    chromosomes.require(matched, {name: place for name, place in places.items() if name not in excluded})
    notes += renaming_note(matched, "the peaks")

    axis = BinAxis({name: length for name, length in lengths.items() if name not in excluded}, bin)
    valid = _held_out("valid", valid_chroms, valid_regions, axis, chromosomes, matched)
    test = _held_out("test", test_chroms, test_regions, axis, chromosomes, matched)
    _refuse_common(valid, test, axis)
    positive, rule_counts = _label(by_target, rule, axis, matched, notes)
    blacklisted = _read_blacklist(blacklist, axis, chromosomes, excluded, notes)

    with write_store(out, DNA, force=force) as writer:
        split = np.zeros(len(axis.chrom), dtype=np.uint8)
        dropped: Counter[str] = Counter()
        kept = np.zeros(len(axis.chrom), dtype=bool)
        ambiguous = 0
        wanted = (record for record in read_fasta(genome) if record.name not in excluded)
        for index, record in enumerate(track(wanted, "Cutting the genome", len(axis.names), "chromosomes")):
            tokens, masked = _encode(record, genome)
            ambiguous += masked
            writer.add_contigs([record.name], tokens)
            stretch, fate = _judge(axis, index, tokens, window, max_n, blacklisted, (valid, test))
            kept[stretch], split[stretch] = fate.kept, fate.split
            dropped.update(fate.dropped)
        if ambiguous:
            notes.append(f"ambiguous letters of the genome (R, Y, ...) read as N: {ambiguous:,}")
        notes += [f"bins dropped because {reason}: {count:,}" for reason, count in dropped.items()]

        targets, rows_by_target = _choose_targets(positive, kept, min_positives, dedupe_targets, notes)
        bins = np.flatnonzero(kept)
        labelled = np.zeros(len(bins), dtype=bool)
        for rows in rows_by_target:
            labelled[rows] = True
        chosen = _sample(labelled, split[bins], unlabelled_per_labelled, seed)
        new_row = np.cumsum(chosen, dtype=np.int32) - np.int32(1)
        rows_by_target = [new_row[rows] for rows in rows_by_target]
        bins = bins[chosen]
        if not chosen.all():
            notes.append(
                f"--keep {keep} left out {(~chosen).sum():,} bins without a label, in validation and test too: average "
                "precision comes out higher than on all bins"
            )

        writer.set_targets(targets)
        blocks = -(-len(bins) // _ROWS_AT_ONCE)
        for packed in track(_packed_blocks(rows_by_target, len(bins)), "Packing labels", blocks, "blocks"):
            writer.add_labels(packed)
        views = Views(
            axis.chrom[bins],
            axis.local(bins) - (window - bin) // 2,
            np.full(len(bins), window, dtype=np.int32),
            np.ones(len(bins), dtype=np.int8),
        )
        writer.set_samples(views, split[bins])
        notes += _split_notes(split[bins])
        writer.finish(
            {
                "source": "peaks",
                "genome": {"file": genome.name, "chromosomes": len(axis.names), "bp": int(axis.length.sum())},
                "peaks": {
                    "files": num_files,
                    "peaks": sum(len(part) for parts in by_target.values() for part in parts),
                },
                "window": window,
                "bin": bin,
                "label_rule": label_rule,
                "peaks_by_rule": rule_counts,
                "keep": keep,
                "min_positives": min_positives,
                "max_n": max_n,
                "valid": [*valid_chroms, *valid_regions],
                "test": [*test_chroms, *test_regions],
                "exclude_chroms": list(exclude_chroms),
                "blacklist": None if blacklist is None else Path(blacklist).name,
                "dedupe_targets": dedupe_targets,
                "seed": seed,
                "chromosome_mapping": {name: own for name, own in matched.items() if name != own},
                "labelled_bins": int(labelled.sum()),
                "dropped_bins": dict(dropped),
                "notes": notes,
            }
        )
    return Store(out)


def _parse_keep(text: str) -> float | None:
    """How many unlabelled bins are kept for each labelled one; None for all."""
    if text == "all":
        return None
    if text == "labelled":
        return 0.0
    kind, _, ratio = text.partition(":")
    if kind == "ratio" and re.fullmatch(r"\d+(\.\d*)?|\.\d+", ratio):
        return float(ratio)
    raise SourceError(
        f"--keep is '{text}'", remedy="Choose all, labelled, or ratio:N with N unlabelled bins a labelled"
    )


def _first_places(parts: Iterable[Intervals]) -> dict[str, tuple[Path, int]]:
    """Each chromosome name with the file and the line in which it occurs first."""
    places: dict[str, tuple[Path, int]] = {}
    for part in parts:
        for chrom, row in zip(*np.unique(part.chrom, return_index=True), strict=True):
            places.setdefault(part.chroms[chrom], (part.path, int(part.line[row])))
    return places


def _measure(genome: Path) -> dict[str, int]:
    """The length in bp of each sequence of the genome."""
    lengths: dict[str, int] = {}
    for record in track(read_fasta(genome), "Measuring the genome", unit="sequences"):
        if record.name in lengths:
            raise SequenceError(
                f"a second sequence is called '{record.name}'",
                remedy="Give each sequence a name of its own",
                file=genome,
                record=record.line,
            )
        lengths[record.name] = len(record.letters)
    return lengths


def _encode(record: FastaRecord, genome: Path) -> tuple[Tokens, int]:
    try:
        return DNA.encode_masking(record.letters)
    except SequenceError as error:
        place = f"sequence '{record.name}' (line {record.line})"
        raise SequenceError(error.problem, remedy=error.remedy, file=genome, record=place) from None


def _resolve(name: str, option: str, chromosomes: ChromosomeNames, matched: Mapping[str, str]) -> str:
    own = chromosomes.find([name]).get(name) or matched.get(name)
    if own is None:
        raise IntervalError(
            f"{option} names chromosome '{name}', which the genome does not have",
            remedy=f"Name one of {listing(chromosomes.names, 30)}",
            file=chromosomes.file,
        )
    return own


def _exclude(
    wanted: Sequence[str],
    chromosomes: ChromosomeNames,
    matched: Mapping[str, str],
    places: Mapping[str, tuple[Path, int]],
) -> set[str]:
    """The names, the genome's and those that only the peaks have, of the chromosomes that are left out."""
    excluded: set[str] = set()
    for name in wanted:
        only_peaks = {other for other in places if other not in matched and same_chromosome(name, other)}
        excluded |= only_peaks or {_resolve(name, "--exclude-chroms", chromosomes, matched)}
    return excluded


def _held_out(
    split: str,
    chroms: Sequence[str],
    regions: Sequence[str],
    axis: BinAxis,
    chromosomes: ChromosomeNames,
    matched: Mapping[str, str],
) -> Union:
    """Where on the axis a split's regions lie, whole chromosomes among them."""
    starts: list[int] = []
    ends: list[int] = []
    wanted: list[tuple[str, str, int, int | None]] = [(chrom, f"--{split}-chroms", 0, None) for chrom in chroms]
    wanted += [(r.chrom, f"--{split}-regions", r.start, r.end) for r in map(parse_region, regions)]
    for chrom, option, start, end in wanted:
        own = _resolve(chrom, option, chromosomes, matched)
        if own not in axis.names:
            raise IntervalError(
                f"chromosome '{chrom}' of {option} is excluded", remedy="Leave it out of one of the two options"
            )
        index = axis.names.index(own)
        length = int(axis.length[index])
        if end is not None and end > length:
            raise IntervalError(
                f"the region {chrom}:{start + 1}-{end} of {option} lies outside its chromosome, which has {length} bp",
                remedy="Give a region of this genome",
                file=chromosomes.file,
            )
        starts.append(int(axis.origin[index]) + start)
        ends.append(int(axis.origin[index]) + (length if end is None else end))
    return Union(starts, ends)


def _refuse_common(valid: Union, test: Union, axis: BinAxis) -> None:
    common = np.flatnonzero(valid.covered(test.start, test.end))
    if len(common):
        chrom = axis.names[axis.chrom[test.start[common[0]] // axis.bin]]
        raise IntervalError(
            f"part of chromosome {chrom} is both in the validation and in the test split",
            remedy="Hold each chromosome or region out for one of the two",
        )


def _label(
    by_target: Mapping[Target, list[Intervals]],
    rule: LabelRule,
    axis: BinAxis,
    matched: Mapping[str, str],
    notes: list[str],
) -> tuple[dict[Target, Bins], dict[str, int]]:
    """The positive bins of each target, and how many peaks were read by which rule."""
    positive: dict[Target, Bins] = {}
    counts: Counter[str] = Counter()
    elsewhere = 0
    for target, parts in by_target.items():
        for part in parts:
            if rule.kind == "summit" and (part.summit < 0).any():
                raise IntervalError(
                    "this peak has no summit, which --label-rule summit needs (column 10 of narrowPeak)",
                    remedy="Choose --label-rule auto or midpoint",
                    file=part.path,
                    record=int(part.line[(part.summit < 0).argmax()]),
                )
        placed = [axis.place(part, matched) for part in parts]
        start, end, summit = (np.concatenate(columns) for columns in zip(*placed, strict=True))
        bins, by_rule = rule.positive_bins(start, end, summit, axis.bin)
        positive[target] = bins.astype(np.int32)
        counts.update(by_rule)
        elsewhere += sum(map(len, parts)) - len(start)
    if elsewhere:
        notes.append(f"peaks passed over because they lie on excluded chromosomes: {elsewhere:,}")
    return positive, dict(counts)


def _read_blacklist(
    path: PathLike | None, axis: BinAxis, chromosomes: ChromosomeNames, excluded: set[str], notes: list[str]
) -> Union:
    if path is None:
        return Union([], [])
    intervals = read_intervals(path)
    places = _first_places([intervals])
    matched = chromosomes.find(places)
    if not matched:
        chromosomes.require(matched, places)
    unknown = [name for name in places if name not in matched and name not in excluded]
    if unknown:
        notes.append(f"the blacklist's chromosomes {listing(unknown)} are not in the genome")
    start, end, _ = axis.place(intervals, matched)
    return Union(start, end)


class _Fate(NamedTuple):
    """What becomes of the bins of a chromosome: which are kept, in which split, how many were dropped and why."""

    kept: Mask
    split: NDArray[np.uint8]
    dropped: Counter[str]


def _judge(
    axis: BinAxis,
    index: int,
    tokens: Tokens,
    window: int,
    max_n: float,
    blacklisted: Union,
    held_out: tuple[Union, Union],
) -> tuple[slice, _Fate]:
    """Which bins of a chromosome become samples of which split; also the rows that they take among all bins."""
    origin, limit = int(axis.origin[index]), int(axis.origin[index]) + len(tokens)
    begin = np.arange(origin, limit, axis.bin)
    end = begin + axis.bin
    flank = (window - axis.bin) // 2
    low, high = np.maximum(begin - flank, origin), np.minimum(end + flank, limit)

    is_n = np.zeros(len(tokens) + 2, dtype=bool)
    is_n[1:-1] = tokens == DNA.unknown_token
    edges = np.flatnonzero(is_n[1:] != is_n[:-1])
    unknown = Union(origin + edges[::2], origin + edges[1::2])
    num_n = window - (high - low) + unknown.covered(low, high)

    valid, test = held_out
    in_valid, in_test = (region.covered(begin, end) == axis.bin for region in (valid, test))
    split = np.select([in_valid, in_test], [SPLITS.index("valid"), SPLITS.index("test")]).astype(np.uint8)

    kept = end <= limit
    dropped: Counter[str] = Counter()

    def drop(reason: str, bad: Mask) -> None:
        dropped[reason] += int((kept & bad).sum())
        kept[bad] = False

    def touches(region: Union, inside: Mask) -> Mask:
        seen = Union(low[kept & inside], high[kept & inside])
        touching: Mask = region.covered(low, high) + seen.covered(low, high) > 0
        return touching

    drop("the blacklist touches them", blacklisted.covered(begin, end) > 0)
    drop(f"more than {max_n:g} of the window is N", num_n > max_n * window)
    touches_test = touches(test, in_test)
    drop("a validation window touches the test split", in_valid & touches_test)
    drop("a training window touches a held-out split", (split == 0) & (touches_test | touches(valid, in_valid)))
    rows = slice(int(axis.first[index]), int(axis.first[index]) + len(begin))
    return rows, _Fate(kept, split, +dropped)


def _choose_targets(
    positive: Mapping[Target, Bins], kept: Mask, min_positives: int, dedupe: bool, notes: list[str]
) -> tuple[list[Target], list[Bins]]:
    """The targets with enough positives, and among the kept bins the numbers of those that each makes positive."""
    row = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    enough = max(1, min_positives)
    targets: list[Target] = []
    rows_by_target: list[Bins] = []
    few: list[str] = []
    labelled = np.zeros(len(kept), dtype=bool)
    twins: list[str] = []
    first: dict[bytes, Target] = {}
    for target, bins in positive.items():
        bins = bins[kept[bins]]
        labelled[bins] = True
        if len(bins) < enough:
            few.append(f"{target.name} ({len(bins)})")
            continue
        rows = row[bins]
        twin = first.setdefault(hashlib.sha256(rows.tobytes()).digest(), target)
        if twin is not target:
            twins.append(f"{target.name} = {twin.name}")
            if dedupe:
                continue
        targets.append(target)
        rows_by_target.append(rows)
    if not kept.any():
        raise SourceError("not one bin of the genome is left", remedy="Shorten --window and --bin, or drop fewer bins")
    notes.append(f"{labelled.sum():,} of {kept.sum():,} bins carry a label")
    if few:
        notes.append(f"targets dropped for fewer than {enough} positive bins: {len(few)} ({listing(few)})")

    if not targets:
        raise SourceError(
            f"no target has {enough} or more positive bins: {listing(few)}",
            remedy="Lower --min-positives, or choose another --label-rule",
        )
    if twins:
        fate = "dropped" if dedupe else "kept (--dedupe-targets drops them)"
        notes.append(f"targets with the labels of another, {fate}: {listing(twins)}")
    return targets, rows_by_target


def _sample(labelled: Mask, split: NDArray[np.uint8], unlabelled_per_labelled: float | None, seed: int) -> Mask:
    """Which samples stay: all that are labelled, and in each split so many times that number of the others."""
    if unlabelled_per_labelled is None:
        return np.ones(len(labelled), dtype=bool)
    chosen = labelled.copy()
    generator = np.random.default_rng(seed)
    for number in range(len(SPLITS)):
        others = np.flatnonzero(~labelled & (split == number))
        wanted = round(unlabelled_per_labelled * int((labelled & (split == number)).sum()))
        chosen[generator.permutation(others)[:wanted]] = True
    return chosen


def _packed_blocks(rows_by_target: Sequence[Bins], num_samples: int) -> Iterator[Packed]:
    """The label matrix in packed blocks of rows, so that it is never whole in memory."""
    for begin in range(0, num_samples, _ROWS_AT_ONCE):
        end = min(begin + _ROWS_AT_ONCE, num_samples)
        block = np.zeros((end - begin, len(rows_by_target)), dtype=bool)
        for column, rows in enumerate(rows_by_target):
            low, high = np.searchsorted(rows, (begin, end))
            block[rows[low:high] - begin, column] = True
        yield pack_labels(block)


def _split_notes(split: NDArray[np.uint8]) -> list[str]:
    sizes = {name: int((split == number).sum()) for number, name in enumerate(SPLITS)}
    notes = [f"{len(split):,} samples: " + ", ".join(f"{size:,} {name}" for name, size in sizes.items())]
    return notes + [f"the {name} split has no samples" for name, size in sizes.items() if not size]
