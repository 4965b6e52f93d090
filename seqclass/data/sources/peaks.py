"""Genome and peaks to a store: the genome is cut into bins, and a bin carries the targets whose peaks lie in it.

A sample's label belongs to its bin; what a model sees is the window centred on that bin, a view on the genome that
reaches over a chromosome's ends as N. With a window of 1,000 bp, bins of 200 bp and the label rule `overlap:0.5` this
is the task of DeepSEA (Zhou and Troyanskaya, Nature Methods 2015).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens
from seqclass.atomic import check_free
from seqclass.data.bins import BinAxis, LabelRule
from seqclass.data.chromosomes import ChromosomeNames, listing, renaming_note
from seqclass.data.fasta import FastaRecord, read_fasta
from seqclass.data.intervals import Intervals, Union, read_intervals
from seqclass.data.labels import Packed, pack_labels
from seqclass.data.letters import LetterPolicy, LetterReader, Rule
from seqclass.data.sources.negatives import Negatives, window_gc
from seqclass.data.sources.peak_files import read_samples, read_sheet, read_targets
from seqclass.data.sources.peak_splits import exclude, held_out, judge, refuse_common
from seqclass.data.store import SPLITS, Store, Views
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
    peaks: PathLike | Sequence[PathLike] = (),
    sheet: PathLike | None = None,
    window: int = 1000,
    bin: int = 200,
    label_rule: str = "auto",
    keep: str = "all",
    negatives: str | None = None,
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
    lower_case: Rule = "map",
    ambiguous: Rule = "mask",
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
        sheet: Instead of `peaks`, a table with the columns path, target and (if you like) group, see `read_sheet`.
        window: What a model sees, in bp, centred on the bin.
        bin: What is labelled, in bp; bins do not overlap, and a chromosome's last, partial bin is left out.
        label_rule: `summit` or `midpoint` (the bin in which that lies is positive); `overlap:F` (bins of which more
            than the share F lies in the union of the target's peaks); or `auto`: by peak, overlap:0.5 for those wider
            than a bin, else the summit where the file gives one, else the midpoint.
        keep: `all` bins; `labelled` ones; or `ratio:N`, N without a label for each with one, in each split.
        negatives: `gc:R`, for peaks of one target: R bins without a label for each with one, in each split, drawn among
            those whose windows have the GC share of the positives' windows; notes say how near they came.
        min_positives: Targets with fewer positive bins are dropped; those without any always are.
        max_n: Windows with a larger share of N (what lies beyond a chromosome's ends included) are dropped.
        valid_chroms: Chromosomes of the validation split, by any of their names.
        test_chroms: Chromosomes of the test split.
        exclude_chroms: Chromosomes left out of everything.
        valid_regions: As `chr7:30508751-35296850`. Bins wholly inside are held out. So that no base is seen in two
            splits, validation windows that touch the test split are dropped, and training windows that touch either.
        test_regions: Likewise.
        blacklist: BED; bins that touch it are dropped.
        names: A table for `peaks`, tab-separated: stem (or name in column 4), target name and optionally group. Equal
            names are merged.
        chrom_alias: A table of chromosome names that mean the same, see `ChromosomeNames`.
        dedupe_targets: Keep only the first of targets that have identical labels.
        lower_case: Read soft-masked bases as upper case ("map") or as N ("mask"), or refuse them ("strict").
        ambiguous: Read R, Y, ... as N ("mask"), or refuse them and N ("strict").
        seed: For the choice that `ratio:N` and `gc:R` make.
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
    # Whatever shifts what lies behind it is refused: positions count.
    reader = LetterReader(DNA, LetterPolicy(lower_case, gaps="strict", stop="strict", ambiguous=ambiguous))
    wanted = Negatives.parse(keep, negatives)
    if bin < 1 or window < bin or (window - bin) % 2:
        raise SourceError(
            f"a window of {window} bp cannot be centred on a bin of {bin} bp",
            remedy="Let --window exceed --bin by an even number of bp",
        )
    if not 0 <= max_n <= 1:
        raise SourceError(f"--max-n is {max_n}", remedy="Give the share of N in a window, from 0 to 1")
    given = [peaks] if isinstance(peaks, str | Path) else list(peaks)
    notes: list[str] = []
    if bool(given) == (sheet is not None):
        raise SourceError(
            "there are peak files and a sheet" if given else "there are neither peak files nor a sheet",
            remedy="Give one of --peaks and --sheet",
        )
    if sheet is not None and names is not None:
        raise SourceError("--names is given with --sheet, which names its targets itself", remedy="Leave out --names")
    samples = {} if sheet is None else read_sheet(sheet, notes)
    check_free(out, force, inputs=[genome, *given, sheet, *samples, names, chrom_alias, blacklist])
    genome = Path(genome)
    if genome.is_fifo():
        raise SequenceError(
            "this is a pipe, and the genome is read twice", remedy="Write it to a file first", file=genome
        )

    by_target, num_files = read_targets(given, names, notes) if sheet is None else read_samples(samples, notes)
    if wanted.same_gc and len(by_target) > 1:
        raise SourceError(
            f"{wanted.said} is for the peaks of one target, and there are {len(by_target)}: "
            f"{listing([target.name for target in by_target])}",
            remedy="Import one target, or use --keep",
        )
    lengths = _measure(genome)
    chromosomes = ChromosomeNames(list(lengths), file=genome, aliases=chrom_alias)
    places = _first_places(part for parts in by_target.values() for part in parts)
    matched = chromosomes.find(places)
    excluded = exclude(exclude_chroms, chromosomes, matched, places)
    chromosomes.require(matched, {name: place for name, place in places.items() if name not in excluded})
    notes += renaming_note(matched, "the peaks")

    axis = BinAxis({name: length for name, length in lengths.items() if name not in excluded}, bin)
    valid = held_out("valid", valid_chroms, valid_regions, axis, chromosomes, matched)
    test = held_out("test", test_chroms, test_regions, axis, chromosomes, matched)
    refuse_common(valid, test, axis)
    positive, rule_counts = _label(by_target, rule, axis, matched, notes)
    blacklisted = _read_blacklist(blacklist, axis, chromosomes, excluded, notes)

    with write_store(out, DNA, force=force) as writer:
        split = np.zeros(len(axis.chrom), dtype=np.uint8)
        dropped: Counter[str] = Counter()
        kept = np.zeros(len(axis.chrom), dtype=bool)
        gc = np.empty(len(axis.chrom) if wanted.same_gc else 0, dtype=np.float32)
        included = (record for record in read_fasta(genome) if record.name not in excluded)
        for index, record in enumerate(track(included, "Cutting the genome", len(axis.names), "chromosomes")):
            tokens = _read_letters(reader, record, genome)
            writer.add_contigs([record.name], tokens)
            stretch, fate = judge(axis, index, tokens, window, max_n, blacklisted, (valid, test))
            kept[stretch], split[stretch] = fate.kept, fate.split
            dropped.update(fate.dropped)
            if wanted.same_gc:
                gc[stretch] = window_gc(tokens, window, bin)
        notes += [f"genome: {note}" for note in reader.notes()]
        notes += [f"bins dropped because {reason}: {count:,}" for reason, count in dropped.items()]

        targets, rows_by_target = _choose_targets(positive, kept, min_positives, dedupe_targets, notes)
        bins = np.flatnonzero(kept)
        labelled = np.zeros(len(bins), dtype=bool)
        for rows in rows_by_target:
            labelled[rows] = True
        chosen, found = wanted.choose(labelled, split[bins], gc[bins] if wanted.same_gc else gc, seed)
        notes += found
        new_row = np.cumsum(chosen, dtype=np.int32) - np.int32(1)
        rows_by_target = [new_row[rows] for rows in rows_by_target]
        bins = bins[chosen]

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
                "negatives": negatives,
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


def _read_letters(reader: LetterReader, record: FastaRecord, genome: PathLike) -> Tokens:
    tokens, _ = reader.read([record.letters], lambda _: (Path(genome), f"line {record.line}, '{record.name}'"))
    return tokens


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
