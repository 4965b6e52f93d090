import gzip
import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyfaidx import Fasta

from seqclass.alphabets import DNA
from seqclass.cli import main
from seqclass.data.bins import LabelRule
from seqclass.data.sources.peaks import import_peaks
from seqclass.data.store import SPLITS, Store
from seqclass.data.tape import read_samples
from seqclass.errors import IntervalError, OutputExistsError, SeqclassError, SequenceError, SourceError

LENGTHS = {"chr1": 1030, "chr2": 777, "chr3": 405, "chr4": 39}
WINDOW, BIN = 100, 40
FLANK = (WINDOW - BIN) // 2


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    generator = np.random.default_rng(0)
    with open(path, "w") as file:
        for name, length in LENGTHS.items():
            letters = "".join(generator.choice(list("ACGTacgt"), length))
            if name == "chr2":
                letters = letters[:200] + "N" * 90 + letters[290:]
            lines = [letters[begin : begin + 60] for begin in range(0, length, 60)]
            file.write(f">{name} some description\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def bring(genome, tmp_path):
    """Imports peaks given as {file name: lines} with small windows."""

    def bring(files, **options) -> Store:
        folder = tmp_path / "peaks"
        for name, lines in files.items():
            write(folder / name, *lines)
        options = {
            "genome": genome,
            "peaks": folder,
            "window": WINDOW,
            "bin": BIN,
            "max_n": 1.0,
            "force": True,
        } | options
        return import_peaks(tmp_path / "out.h5", **options)

    return bring


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(line.replace(" ", "\t") + "\n" for line in lines))
    return path


def positives(store: Store) -> dict[str, set[tuple[str, int]]]:
    """Of each target the chromosome and first position of its positive bins."""
    names = store.contig_names
    labels = store.labels(np.arange(len(store)))
    where = [(names[c], int(s) + FLANK) for c, s in zip(store.views.contig, store.views.start, strict=True)]
    return {t.name: {where[row] for row in np.flatnonzero(labels[:, i])} for i, t in enumerate(store.targets)}


def notes(store: Store) -> str:
    return "\n".join(store.provenance["notes"])


def all_bins(chroms=LENGTHS):
    return [(chrom, start) for chrom in chroms for start in range(0, LENGTHS[chrom] // BIN * BIN, BIN)]


# what a sample is


def test_windows_are_what_slicing_the_fasta_gives(bring, genome):
    store = bring({"A.bed": ["chr1 0 1"]})
    fasta = Fasta(str(genome), sequence_always_upper=True)
    assert len(store) == len(all_bins())
    for sample, (chrom, start) in enumerate(all_bins()):
        begin, end = start - FLANK, start + BIN + FLANK
        sequence = fasta[chrom]
        inside = str(sequence[max(0, begin) : end])
        expected = "N" * max(0, -begin) + inside
        assert DNA.decode(read_samples(store, [sample])[0][0]) == expected.ljust(WINDOW, "N")
    assert (store.views.strand == 1).all()
    assert store.window == WINDOW


def test_gzipped_input_gives_the_same_store(bring, genome, tmp_path):
    packed = tmp_path / "genome.fa.gz"
    packed.write_bytes(gzip.compress(genome.read_bytes()))
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "A.bed.gz").write_bytes(gzip.compress(b"chr1\t5\t6\n"))
    plain = bring({"A.bed": ["chr1 5 6"]}).checksum()
    assert bring({}, genome=packed, peaks=tmp_path / "packed").checksum() == plain


def test_windows_rich_in_n_are_dropped_and_counted(bring, genome):
    fasta = Fasta(str(genome))
    store = bring({"A.bed": ["chr1 100 101"]}, max_n=0.25)
    expected = []
    for chrom, start in all_bins():
        inside = str(fasta[chrom][max(0, start - FLANK) : start + BIN + FLANK])
        if WINDOW - len(inside) + inside.count("N") <= 0.25 * WINDOW:
            expected.append((chrom, start))
    names = store.contig_names
    found = [(names[c], s + FLANK) for c, s in zip(store.views.contig, store.views.start, strict=True)]
    assert found == expected
    assert f"bins dropped because more than 0.25 of the window is N: {len(all_bins()) - len(expected)}" in notes(store)


def test_ambiguous_letters_become_n_and_are_counted(bring, tmp_path):
    genome = write(tmp_path / "g.fa", ">chr1", "ACGTRYKMacgt" * 20)
    store = bring({"A.bed": ["chr1 0 1"]}, genome=genome)
    assert "80 lower-case residues in 1 record read as upper case." in notes(store)
    assert "80 residues (K, M, R, Y) in 1 record mapped to N." in notes(store)
    assert DNA.decode(read_samples(store, [2])[0][0][:12]) == "GTNNNNACGTAC"
    masked = bring({"A.bed": ["chr1 0 1"]}, genome=genome, lower_case="mask", max_n=1.0)
    assert DNA.decode(read_samples(masked, [2])[0][0][:12]) == "GTNNNNNNNNAC"
    for option in ("lower_case", "ambiguous"):
        with pytest.raises(SequenceError, match=f"--{option.replace('_', '-')}"):
            bring({"A.bed": ["chr1 0 1"]}, genome=genome, **{option: "strict"})


def test_blacklisted_bins_are_dropped(bring, tmp_path):
    blacklist = write(tmp_path / "black.bed", "1 79 81", "chrUn 0 9")
    store = bring({"A.bed": ["chr1 0 1"]}, blacklist=blacklist)
    starts = store.views.start[store.views.contig == 0] + FLANK
    assert starts.tolist() == [start for start in range(0, 1000, BIN) if start not in (40, 80)]
    assert "bins dropped because the blacklist touches them: 2" in notes(store)


# what a label is


@st.composite
def peak_sets(draw):
    peaks = []
    for _ in range(draw(st.integers(1, 12))):
        chrom = draw(st.sampled_from(["chr1", "chr2", "chr3", "chr4"]))
        width = draw(st.integers(1, min(3 * BIN, LENGTHS[chrom])))
        start = draw(st.integers(0, LENGTHS[chrom] - width))
        summit = draw(st.integers(-1, width - 1))
        peaks.append((draw(st.sampled_from("AB")), chrom, start, start + width, summit))
    return peaks


def brute_force(peaks, rule):
    """Labels counted base by base."""
    labels = {}
    for target in "AB":
        in_peak = {chrom: np.zeros(length, dtype=bool) for chrom, length in LENGTHS.items()}
        points = set()
        for name, chrom, start, end, summit in peaks:
            if name != target:
                continue
            if rule.startswith("overlap") or (rule == "auto" and end - start > BIN):
                in_peak[chrom][start:end] = True
            elif summit >= 0 and rule != "midpoint":
                points.add((chrom, start + summit))
            else:
                points.add((chrom, (start + end) // 2))
        share = Fraction(rule.partition(":")[2] or "0.5")
        found = set()
        for chrom, start in all_bins():
            if any((chrom, position) in points for position in range(start, start + BIN)):
                found.add((chrom, start))
            if in_peak[chrom][start : start + BIN].sum() > share * BIN:
                found.add((chrom, start))
        if found:
            labels[target] = found
    return labels


@given(peak_sets(), st.sampled_from(["auto", "midpoint", "overlap:0", "overlap:0.5", "overlap:0.3"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_are_what_counting_base_by_base_gives(bring, peaks, rule):
    files = {
        f"{target}.narrowPeak": [f"{c} {s} {e} . 0 . 0 0 0 {summit}" for t, c, s, e, summit in peaks if t == target]
        for target in "AB"
    }
    expected = brute_force(peaks, rule)
    if not expected:
        with pytest.raises(SourceError, match="no target has 1 or more positive bins"):
            bring(files, label_rule=rule)
        return
    store = bring(files, label_rule=rule)
    assert positives(store) == expected
    assert sum(store.provenance["peaks_by_rule"].values()) == len(peaks)


def test_every_peak_labels_a_bin_under_the_default_rule():
    rule = LabelRule.parse("auto")
    for width in range(1, 3 * BIN):
        for start in range(2 * BIN):
            bins, _ = rule.positive_bins(np.array([start]), np.array([start + width]), np.array([-1]), BIN)
            assert len(bins)


def test_the_summit_rule_uses_summits_and_wants_them(bring):
    files = {"A.narrowPeak": ["chr1 0 200 . 0 . 0 0 0 170", "chr2 0 200 . 0 . 0 0 0 10"]}
    assert positives(bring(files, label_rule="summit")) == {"A": {("chr1", 160), ("chr2", 0)}}
    with pytest.raises(IntervalError, match=r"B\.bed, line 1: this peak has no summit"):
        bring({"B.bed": ["chr1 0 200"]}, label_rule="summit")


def test_packed_labels_do_not_depend_on_the_block_size(bring, monkeypatch):
    files = {f"T{i}.bed": [f"chr1 {40 * i + 7} {40 * i + 8}", f"chr2 {11 * i} {11 * i + 90}"] for i in range(17)}
    whole = bring(files).checksum()
    monkeypatch.setattr("seqclass.data.sources.peaks._ROWS_AT_ONCE", 5)
    assert bring(files).checksum() == whole


# targets


def test_rare_targets_empty_files_and_twins_are_told(bring):
    files = {
        "A.bed": ["chr1 0 1", "chr1 50 51"],
        "B.broadPeak": ["chr1 1 2", "chr1 60 61"],
        "Rare.bed": ["chr1 0 1"],
        "Empty.bed": [],
    }
    store = bring(files, min_positives=2)
    assert [target.name for target in store.targets] == ["A", "B"]
    assert "peak files that are empty and give no target: Empty.bed" in notes(store)
    assert "targets dropped for fewer than 2 positive bins: 1 (Rare (1))" in notes(store)
    assert "B = A" in notes(store)
    assert [target.name for target in bring(files, dedupe_targets=True).targets] == ["A", "Rare"]


def test_a_single_file_takes_its_targets_from_column_four(bring, tmp_path):
    file = write(tmp_path / "all.bed", "chr1 0 1 Reb1", "chr2 50 51 Cbf1", "chr1 80 81 Reb1", "chr1 90 91 Reb1")
    store = bring({}, peaks=file)
    assert positives(store) == {"Cbf1": {("chr2", 40)}, "Reb1": {("chr1", 0), ("chr1", 80)}}
    assert "targets taken from column 4 of all.bed: 2" in notes(store)


@pytest.mark.parametrize("names", [(".", ".", "."), ("", "", ""), ("p", ".", "p")])
def test_a_column_four_without_names_is_no_target(bring, tmp_path, names):
    file = write(tmp_path / "Reb1.bed", *(f"chr1 {i} {i + 1} {name}".strip() for i, name in enumerate(names)))
    store = bring({}, peaks=[file])
    assert [target.name for target in store.targets] == ["Reb1"]
    assert "column 4" not in notes(store)


def test_ids_of_peaks_in_column_four_are_no_targets_even_if_one_is_repeated(bring, tmp_path):
    lines = [f"chr1 {i} {i + 1} peak{max(i, 1)}" for i in range(300)]
    store = bring({}, peaks=write(tmp_path / "Reb1.bed", *lines))
    assert [target.name for target in store.targets] == ["Reb1"]
    assert "column 4 of Reb1.bed has 299 names in 300 lines, taken for ids of peaks of one target, 'Reb1'" in notes(
        store
    )


def test_a_table_of_names_decides_what_column_four_is(bring, tmp_path):
    unique = write(tmp_path / "two.bed", "chr1 0 1 Reb1", "chr1 80 81 Cbf1")
    table = write(tmp_path / "names.tsv", "Reb1 Reb1 TF", "Cbf1 Cbf1 TF")
    assert positives(bring({}, peaks=unique, names=table)) == {"Cbf1": {("chr1", 80)}, "Reb1": {("chr1", 0)}}
    repeated = write(tmp_path / "one.bed", *(f"chr1 {i} {i + 1} peak" for i in range(9)))
    table = write(tmp_path / "names.tsv", "one Abf1")
    assert [target.name for target in bring({}, peaks=repeated, names=table).targets] == ["Abf1"]
    assert [target.name for target in bring({}, peaks=repeated).targets] == ["peak"]


def test_a_file_that_has_a_target_name_of_the_table_is_merged_into_it(bring, tmp_path):
    table = write(tmp_path / "names.tsv", "a X TF")
    store = bring({"a.bed": ["chr1 0 1"], "X.bed": ["chr1 90 91"]}, names=table)
    assert [tuple(target) for target in store.targets] == [("X", "TF")]
    assert positives(store) == {"X": {("chr1", 0), ("chr1", 80)}}
    assert "merged: X (2)" in notes(store)


@pytest.mark.parametrize("name", ["a\tb.bed", "a\nb.bed", ".bed"])
def test_a_file_whose_name_cannot_be_a_target_is_refused(bring, tmp_path, name):
    file = write(tmp_path / "peaks" / name, "chr1 0 1")
    with pytest.raises(SeqclassError, match="has the name") as error:
        bring({}, peaks=[file])
    assert error.value.remedy
    assert not (tmp_path / "out.h5").exists()


def test_a_table_renames_groups_and_merges_targets(bring, tmp_path):
    table = write(tmp_path / "names.tsv", "# stem name group", "x1 Reb1 TF", "x2.bed Reb1 TF", "gone Y")
    store = bring({"x1.bed": ["chr1 0 1"], "x2.bed": ["chr1 90 91"], "x3.bed": ["chr2 0 1"]}, names=table)
    assert [tuple(target) for target in store.targets] == [("Reb1", "TF"), ("x3", "")]
    assert positives(store)["Reb1"] == {("chr1", 0), ("chr1", 80)}
    assert "merged: Reb1 (2)" in notes(store)
    assert "entries without peaks in the table of names: gone" in notes(store)


@pytest.mark.parametrize("lines", [["a"], ["a b", "a c"], ["a b g", "c b h"]])
def test_a_wrong_table_of_names_is_refused_with_its_line(bring, tmp_path, lines):
    table = write(tmp_path / "names.tsv", *lines)
    with pytest.raises(SourceError) as error:
        bring({"a.bed": ["chr1 0 1"]}, names=table)
    assert str(error.value).startswith(f"{table}, line {len(lines)}: ")


# a sample sheet


def test_a_sheet_gives_what_files_and_a_table_of_names_give(bring, tmp_path):
    files = {"x1.bed": ["chr1 0 1"], "x2.bed": ["chr1 90 91"], "x3.bed": ["chr2 0 1"]}
    table = write(tmp_path / "names.tsv", "x1 Reb1 TF", "x2 Reb1 TF", "x3 Cbf1")
    expected = bring(files, names=table)
    sheet = write(
        tmp_path / "samples.tsv",
        "# three experiments",
        "target path lab group",
        "Reb1 peaks/x1.bed A TF",
        "",
        "Reb1 peaks/x2.bed B TF",
        "Cbf1 peaks/x3.bed B ",
    )
    store = bring({}, peaks=(), sheet=sheet)
    assert [tuple(target) for target in store.targets] == [("Reb1", "TF"), ("Cbf1", "")]
    assert store.checksum() == expected.checksum()
    assert "columns of samples.tsv that are not used: lab" in notes(store)
    assert "merged: Reb1 (2)" in notes(store)


def test_a_sheet_of_windows_with_a_byte_order_mark_and_full_paths_is_read(bring, tmp_path):
    peaks = write(tmp_path / "elsewhere" / "a.bed", "chr1 0 1 Reb1", "chr1 50 51 Reb1")
    sheet = tmp_path / "samples.tsv"
    sheet.write_bytes(f"\ufeffpath\ttarget\r\n{peaks}\tAbf1\r\n".encode())
    assert positives(bring({}, peaks=(), sheet=sheet)) == {"Abf1": {("chr1", 0), ("chr1", 40)}}


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        (["a.bed A TF"], 1, "the columns are 'a.bed', 'A', 'TF', where path, target and"),
        (["path target target"], 1, "the columns are 'path', 'target', 'target'"),
        (["path target group", "a.bed A"], 2, "2 cells under 3 columns"),
        (["path target", "a.bed A", "b.bed B x"], 3, "3 cells under 2 columns"),
        (["path target", "a.bed "], 2, "the target is empty"),
        (["path target", " A"], 2, "the path is empty"),
        (["path target", "gone.bed A"], 2, "there is no file"),
        (["path target", ". A"], 2, "there is no file"),
        (["path target", "x" * 5000 + " A"], 2, "there is no file"),
        (["path target", "x\x00 A"], 2, "there is no file"),
        (["path target", "", "a.bed A", "./a.bed B"], 4, "./a.bed is also on line 3"),
        (["path target group", "a.bed A x", "b.bed A y"], 3, "target 'A' is in the group 'y', and on line 2 in 'x'"),
        (["path target", "a.bed \x07"], None, "target 1 has the name"),
        (["path target"], None, "the sheet lists no files"),
        ([], None, "the sheet lists no files"),
    ],
)
def test_a_wrong_sheet_is_refused_with_its_line(bring, tmp_path, lines, line, message):
    for name in ("a.bed", "b.bed"):
        write(tmp_path / name, "chr1 0 1")
    sheet = write(tmp_path / "samples.tsv", *lines)
    with pytest.raises(SeqclassError) as error:
        bring({}, peaks=(), sheet=sheet)
    assert str(error.value).startswith(f"{sheet}: {message}" if line is None else f"{sheet}, line {line}: {message}")
    assert error.value.remedy
    assert not (tmp_path / "out.h5").exists()


def test_peaks_come_from_files_or_from_a_sheet_and_only_files_have_a_table_of_names(bring, tmp_path):
    file = write(tmp_path / "a.bed", "chr1 0 1")
    sheet = write(tmp_path / "samples.tsv", "path target", "a.bed A")
    for options, message in (
        ({"peaks": file, "sheet": sheet}, "there are peak files and a sheet"),
        ({"peaks": ()}, "there are neither peak files nor a sheet"),
        ({"peaks": (), "sheet": sheet, "names": sheet}, "--names is given with --sheet"),
    ):
        with pytest.raises(SourceError, match=message):
            bring({}, **options)


def test_the_command_takes_a_sheet_and_negatives_of_equal_gc(genome, tmp_path, capsys):
    write(tmp_path / "a.bed", "chr1 500 501", "chr2 420 421")
    sheet = write(tmp_path / "samples.tsv", "target path", "Reb1 a.bed")
    command = ["data", "import", "peaks", "--genome", str(genome), "--sheet", str(sheet), "--window", "100"]
    command += ["--bin", "40", "--negatives", "gc:2", "--max-n", "1", "--out", str(tmp_path / "out.h5")]
    main(command)
    store = Store(tmp_path / "out.h5")
    assert store.targets[0].name == "Reb1"
    assert "- --negatives gc:2 left out" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main([*command, "--force", "--peaks", str(tmp_path / "a.bed")])
    assert stop.value.code == 2
    assert "there are peak files and a sheet. Give one of --peaks and --sheet" in capsys.readouterr().err


def test_a_file_of_a_sheet_is_not_replaced_by_the_store(bring, tmp_path, genome):
    file = write(tmp_path / "a.bed", "chr1 0 1")
    sheet = write(tmp_path / "samples.tsv", "path target", "a.bed A")
    for out in (file, sheet):
        before = out.read_bytes()
        with pytest.raises(SeqclassError, match="this is what is to be read"):
            import_peaks(out, genome=genome, sheet=sheet, force=True)
        assert out.read_bytes() == before


# which samples


def test_keep_labelled_and_ratio(bring):
    files = {"A.bed": [f"{chrom} {start} {start + 1}" for chrom in ("chr1", "chr2") for start in (0, 100, 300)]}
    options = {"test_chroms": ["chr2"], "valid_chroms": ["chr3"]}
    labelled = bring(files, keep="labelled", **options)
    assert (len(labelled), labelled.labels(np.arange(6)).all()) == (6, True)
    store = bring(files, keep="ratio:2", **options)
    for split in ("train", "test"):
        samples = store.samples(split)
        assert (len(samples), store.labels(samples).sum()) == (9, 3)
    assert f"--keep ratio:2 left out {len(all_bins()) - len(store)} bins without a label, in validation" in notes(store)
    assert "--keep" not in notes(bring(files, **options))
    first, again, other = (bring(files, keep="ratio:2", seed=seed, **options).checksum() for seed in (0, 0, 1))
    assert first == again != other


def test_min_positives_counts_before_sampling(bring):
    files = {"A.bed": ["chr1 0 1", "chr1 50 51"], "B.bed": ["chr2 0 1", "chr2 50 51", "chr2 90 91"]}
    store = bring(files, keep="labelled", min_positives=3)
    assert ([target.name for target in store.targets], len(store)) == (["B"], 3)


@given(
    st.lists(st.integers(0, 700), min_size=4, max_size=4).map(sorted).filter(lambda c: c[0] < c[1] and c[2] < c[3]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_base_is_seen_in_two_splits(bring, cuts, swap):
    """Among them regions that touch each other: where windows meet, test keeps its own, then validation."""
    first, second = (slice(*cuts[:2]), slice(*cuts[2:]))
    regions = {"valid": second, "test": first} if swap else {"valid": first, "test": second}
    options = {f"{split}_regions": [f"chr2:{part.start + 1}-{part.stop}"] for split, part in regions.items()}
    store = bring({"A.bed": ["chr1 0 1"]}, test_chroms=["3"], **options)

    expected, taken = {}, np.zeros(LENGTHS["chr2"], dtype=bool)
    for split in ("test", "valid", "train"):
        wanted = np.ones(LENGTHS["chr2"], dtype=bool) if split == "train" else np.zeros(LENGTHS["chr2"], dtype=bool)
        for part in regions.values() if split == "train" else [regions[split]]:
            wanted[part] = split != "train"
        seen = taken.copy()
        for start in range(0, LENGTHS["chr2"] // BIN * BIN, BIN):
            window = slice(max(0, start - FLANK), start + BIN + FLANK)
            if wanted[start : start + BIN].all() and not taken[window].any():
                expected[start] = split
                seen[window] = True
        taken = seen
        if split != "train":
            taken[regions[split]] = True

    on_chr2 = store.views.contig == 1
    found = dict(zip((store.views.start[on_chr2] + FLANK).tolist(), store.split[on_chr2].tolist(), strict=True))
    assert {start: SPLITS[number] for start, number in found.items()} == expected
    assert set(store.split[store.views.contig == 2]) == {SPLITS.index("test")}


def test_validation_windows_that_reach_into_test_are_dropped_and_told(bring):
    options = {"valid_regions": ["chr1:1-400"], "test_regions": ["chr1:401-800"]}
    store = bring({"A.bed": ["chr1 0 1"]}, **options)
    seen = {}
    for split in SPLITS:
        views = store.views[store.samples(split)]
        places = zip(views.contig.tolist(), views.start.tolist(), strict=True)
        seen[split] = {(contig, base) for contig, start in places for base in range(start, start + WINDOW)}
    assert seen["test"] & seen["valid"] == seen["train"] & (seen["valid"] | seen["test"]) == set()
    assert "bins dropped because a validation window touches the test split: 2" in notes(store)
    assert "bins dropped because a training window touches a held-out split: 2" in notes(store)


def test_splits_by_chromosome_cover_all_samples_once(bring):
    store = bring({"A.bed": ["chr1 0 1"]}, valid_chroms=["2"], test_chroms=["chr3"])
    assert {split: set(store.views.contig[store.samples(split)]) for split in SPLITS} == {
        "train": {0},
        "valid": {1},
        "test": {2},
    }
    assert "the test split has no samples" not in notes(store)
    assert "the test split has no samples" in notes(bring({"A.bed": ["chr1 0 1"]}, valid_chroms=["2"]))


def test_excluded_chromosomes_leave_no_trace(bring):
    store = bring({"A.bed": ["chr1 0 1", "chr2 0 1", "chrUn 0 9"]}, exclude_chroms=["2", "chrUn"])
    assert store.contig_names == ["chr1", "chr3", "chr4"]
    assert positives(store) == {"A": {("chr1", 0)}}
    assert "excluded chromosomes: 2" in notes(store)


def test_names_that_differ_are_mapped_and_told(bring, tmp_path):
    table = write(tmp_path / "alias.tsv", "chr2 second")
    store = bring({"A.bed": ["1 0 1", "second 0 1"]}, chrom_alias=table, test_chroms=["second"])
    assert positives(store) == {"A": {("chr1", 0), ("chr2", 0)}}
    assert "chromosome names of the peaks mapped: 1 -> chr1, second -> chr2" in notes(store)
    assert set(store.views.contig[store.samples("test")]) == {1}


# bad input


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            ["chr1 0 1", "chr3 400 406"],
            "A.bed, line 2: the interval 400-406 lies outside chromosome chr3",
        ),
        (["1 0 1", "chr9 0 1"], "A.bed, line 2: chromosome chr9 cannot be matched"),
        (["chrA 0 1"], "A.bed, line 1: no chromosome in common with the genome"),
        (["chr1 0 1", "chr1 0"], "A.bed, line 2: 2 columns"),
        ([], "there is not one peak"),
    ],
)
def test_wrong_peaks_are_named_and_nothing_is_written(bring, tmp_path, lines, problem):
    with pytest.raises(IntervalError) as error:
        bring({"A.bed": lines})
    assert problem in str(error.value)
    assert error.value.remedy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["peaks"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "there is no such file"),
        ("", "the file is empty"),
        (">chr1\nACGT\n>chr1\nACGT\n", "line 3: a second sequence is called 'chr1'"),
        (">chr1\nACGTJ\n", "line 1, 'chr1': letter 'J' at position 5"),
        (">chr1\n", "record 'chr1' has no sequence"),
    ],
)
def test_a_wrong_genome_is_named_and_nothing_is_written(bring, tmp_path, text, problem):
    genome = tmp_path / "bad.fa"
    if text is not None:
        genome.write_text(text)
    with pytest.raises(SequenceError) as error:
        bring({"A.bed": ["chr1 0 1"]}, genome=genome)
    assert problem in str(error.value)
    assert str(genome) in str(error.value)
    assert not (tmp_path / "out.h5").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "options",
    [
        {"label_rule": "peak"},
        {"label_rule": "overlap:1.5"},
        {"keep": "some"},
        {"keep": "ratio:-1"},
        {"window": 101},
        {"window": 20},
        {"max_n": 2.0},
        {"peaks": "nowhere"},
        {"valid_chroms": ["chr7"]},
        {"exclude_chroms": ["chr7"]},
        {"valid_chroms": ["chr1"], "test_chroms": ["1"]},
        {"valid_chroms": ["chr1"], "test_regions": ["chr1:5-9"]},
        {"valid_regions": ["chr1:5-9000"]},
        {"valid_chroms": ["chr2"], "exclude_chroms": ["chr2"]},
        {"min_positives": 2},
        {"bin": 40_000, "window": 40_000},
    ],
)
def test_options_that_cannot_be_are_refused_with_a_remedy(bring, tmp_path, options):
    with pytest.raises(SeqclassError) as error:
        bring({"A.bed": ["chr1 0 1"]}, **options)
    assert error.value.remedy
    assert not (tmp_path / "out.h5").exists()


def test_a_folder_without_peaks_is_refused(bring, tmp_path):
    write(tmp_path / "peaks" / "readme.txt", "x")
    with pytest.raises(IntervalError, match="no peak files in this folder"):
        bring({})


def test_an_existing_output_stands_unless_forced(bring, tmp_path):
    out = tmp_path / "out.h5"
    out.write_text("mine")
    with pytest.raises(OutputExistsError):
        bring({"A.bed": ["chr1 0 1"]}, force=False)
    assert out.read_text() == "mine"
    assert len(bring({"A.bed": ["chr1 0 1"]}, force=True)) == len(all_bins())


@pytest.mark.parametrize("option", ["genome", "peaks", "names", "blacklist", "chrom_alias"])
def test_what_is_read_is_never_replaced(bring, tmp_path, option):
    out = write(tmp_path / "out.h5", "chr1 0 1")
    with pytest.raises(SeqclassError, match="this is what is to be read"):
        bring({"A.bed": ["chr1 0 1"]}, **{option: out})
    assert out.read_text() == "chr1\t0\t1\n"


def test_a_genome_from_a_pipe_is_refused(bring, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SequenceError, match=r"this is a pipe, and the genome is read twice\. Write it to a file"):
        bring({"A.bed": ["chr1 0 1"]}, genome=tmp_path / "pipe")


def test_a_full_disk_leaves_the_old_file(tmp_path):
    generator = np.random.default_rng(0)
    genome = write(tmp_path / "g.fa", ">chr1", "".join(generator.choice(list("ACGT"), 2_000_000)))
    peaks = write(tmp_path / "A.bed", "chr1 0 1")
    out = tmp_path / "out.h5"
    out.write_text("mine")
    code = (
        "import resource\n"
        "from seqclass.data.sources.peaks import import_peaks\n"
        "from seqclass.errors import StoreError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "try:\n"
        f"    import_peaks({str(out)!r}, genome={str(genome)!r}, peaks={str(peaks)!r}, force=True)\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "could not be written" in done.stdout
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.bed", "g.fa", "out.h5"]


# real data


@pytest.fixture(scope="module")
def yeast():
    if "SEQCLASS_REAL_DATA" not in os.environ:
        pytest.skip("SEQCLASS_REAL_DATA, the folder of real data, is not set")
    return Path(os.environ["SEQCLASS_REAL_DATA"]) / "yeast"


def test_yeast_imports_fast_small_and_with_the_known_counts(yeast, tmp_path):
    began = time.monotonic()
    store = import_peaks(
        tmp_path / "yeast.h5",
        genome=yeast / "sacCer3.fa",
        peaks=yeast / "peaks",
        min_positives=100,
        valid_chroms=["VII"],
        test_chroms=["IV"],
        exclude_chroms=["Mito"],
    )
    assert time.monotonic() - began < 20
    assert (len(store), store.num_targets) == (60_349, 251)
    assert "20,601 of 60,349 bins carry a label" in notes(store)
    assert "peak files that are empty and give no target: Kti12_CX.bed, Rpa190_CX.bed, Rsc2_CX.bed" in notes(store)
    assert "chr1 -> I, chr2 -> II" in notes(store)
    with h5py.File(store.path) as file:
        parts = [file["tokens"], file["labels"], file["split"], *file["views"].values()]
        assert store.path.stat().st_size <= 1.1 * sum(part.nbytes for part in parts)

    where = {name: index for index, name in enumerate(store.contig_names)}
    assert set(store.views.contig[store.samples("valid")]) == {where["VII"]}
    assert set(store.views.contig[store.samples("test")]) == {where["IV"]}
    fasta = Fasta(
        str(yeast / "sacCer3.fa"), sequence_always_upper=True, read_ahead=10_000, indexname=str(tmp_path / "i")
    )
    samples = np.random.default_rng(0).choice(len(store), 50, replace=False)
    for sample in samples:
        start = int(store.views.start[sample])
        if start >= 0 and start + 1000 <= store.contig_length[store.views.contig[sample]]:
            name = store.contig_names[store.views.contig[sample]]
            assert DNA.decode(read_samples(store, [sample])[0][0]) == str(fasta[name][start : start + 1000])
