"""Effects of a VCF's alleles: against plain prediction of plain strings, in every form of file, and with bad input."""

import csv
import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from seqclass.alphabets import DNA
from seqclass.blocks import ConvolutionStages, LinearHead, MaxPool, OneHotEmbedding
from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.data.fasta import read_fasta
from seqclass.data.simulate.motifs import CONSENSUS, consensus_ppm, scan
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.simulate.variants import simulate_vcf
from seqclass.data.sources.peaks import import_peaks
from seqclass.errors import IntervalError, OutputExistsError, SeqclassError, SourceError, UnknownNameError
from seqclass.models import SequenceClassifier
from seqclass.models.classifier import Classifier
from seqclass.predict import predict
from seqclass.targets import Target, find_target
from seqclass.training import run_experiment
from seqclass.variants import Background, Genome, RegionSubstitutions, VcfVariants, score_variants
from seqclass.variants import score as score_module
from seqclass.variants.region_map import RegionMap
from seqclass.variants.score import window_length

pysam = pytest.importorskip("pysam", reason="reading VCF needs pysam")

LENGTH, WINDOW = 64, 200
HEADER = "##fileformat=VCFv4.2\n##contig=<ID=c1,length=300>\n##contig=<ID=c2,length=300>\n"
HEADER += '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone\ttwo\n"

Rows = list[dict[str, str]]


@pytest.fixture
def letters() -> dict[str, str]:
    generator = np.random.default_rng(1)
    return {name: DNA.decode(generator.integers(0, 4, 300).astype(np.uint8)) for name in ("c1", "c2")}


@pytest.fixture
def genome(letters: dict[str, str], tmp_path: Path) -> Genome:
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in letters.items()))
    return Genome(path)


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    return simulate_vcf(tmp_path / "simulated", length=4000)


def write_vcf(path: Path, *records: str) -> Path:
    """Records as `c1 10 A C`, where wanted with `FILTER one two` behind."""
    lines = []
    for record in records:
        chrom, pos, ref, alt, *rest = record.split()
        passed, *calls = rest or ["PASS", "0/1", "1/1"]
        lines.append("\t".join([chrom, pos, ".", ref, alt, "9", passed, ".", "GT", *calls]) + "\n")
    path.write_text(HEADER + COLUMNS + "".join(lines))
    return path


def other(base: str, number: int = 0) -> str:
    return [letter for letter in DNA.letters if letter != base][number]


def table(path: Path) -> Rows:
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
        return list(csv.DictReader(file, delimiter="\t"))


def by_strings(letters: dict[str, str], chrom: str, pos: int, ref: str, alt: str, length: int) -> tuple[str, str]:
    """Both windows of an allele that is in its least form but for one anchor base, by string work alone."""
    start = pos - 1
    while len(ref) == len(alt) > 1 and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    if len(ref) != len(alt):
        start, ref, alt = start + 1, ref[1:], alt[1:]
    padded = "N" * length + letters[chrom] + "N" * length
    changed = "N" * length + letters[chrom][:start] + alt + letters[chrom][start + len(ref) :] + "N" * length
    windows = []
    for text, allele in ((padded, ref), (changed, alt)):
        first = length + start - (length - len(allele)) // 2
        windows.append(text[first : first + length])
    return windows[0], windows[1]


def log_odds(probability: Any) -> Any:
    return np.log(probability) - np.log1p(-probability)


def read_letters(path: Path) -> dict[str, str]:
    return {record.name: record.letters.decode() for record in read_fasta(path)}


def test_effects_are_those_of_predicting_both_windows(
    simulated: Path, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """SNVs, insertions, deletions and sites of two alleles; the bundle has a calibration."""
    bundle = make_bundle()
    bundle.calibration = Calibration([0.5, 1.0, 2.0], [0.1, 0.0, -1.0], [0.5] * 3, {}, {})
    source = VcfVariants(simulated / "variants.vcf", Genome(simulated / "genome.fa"), LENGTH)
    score_variants(bundle, source, tmp_path / "out.h5")
    letters = read_letters(simulated / "genome.fa")
    pairs = []
    for line in (simulated / "variants.vcf").read_text().splitlines():
        if not line.startswith("#"):
            chrom, pos, _, ref, alts, *_ = line.split("\t")
            pairs += [by_strings(letters, chrom, int(pos), ref, alt, LENGTH) for alt in alts.split(",")]
    windows = [window for pair in pairs for window in pair]
    found = predict(bundle, [(str(number), window) for number, window in enumerate(windows)])
    expected = np.array([each.probabilities for each in found], dtype=np.float64).reshape(len(pairs), 2, 3)
    assert len(pairs) > 80
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_allclose(file["reference"], expected[:, 0], rtol=1e-5)
        delta = expected[:, 1] - expected[:, 0]
        np.testing.assert_allclose(file["delta_probability"], delta, atol=1e-6)
        odds = log_odds(expected[:, 1]) - log_odds(expected[:, 0])
        np.testing.assert_allclose(file["delta_logit"], odds, atol=2e-5)
        np.testing.assert_allclose(file["product"], np.abs(odds * delta), atol=1e-5)


def test_a_table_an_annotated_vcf_and_hdf5_tell_the_same(
    simulated: Path, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = make_bundle()
    bundle.targets[0] = Target("K562|CTCF, 1;x=y")
    source = VcfVariants(simulated / "variants.vcf", Genome(simulated / "genome.fa"), LENGTH)
    for name in ("a.tsv", "a.tsv.gz", "a.h5", "a.vcf", "a.vcf.gz", "a.bcf"):
        score_variants(bundle, source, tmp_path / name, targets=["t1", "k562"])
    rows = table(tmp_path / "a.tsv")
    assert rows == table(tmp_path / "a.tsv.gz")
    assert [name for name in rows[0] if ":" in name][:2] == ["t1:delta_probability", "t1:delta_logit"]
    with h5py.File(tmp_path / "a.h5") as file:
        deltas = file["delta_logit"][:]
        positions = file["pos"][:].tolist()
        assert [text.decode() for text in file["alt"]] == [row["alt"] for row in rows]
    assert positions == [int(row["pos"]) for row in rows]
    np.testing.assert_allclose([float(row["t1:delta_logit"]) for row in rows], deltas[:, 1], rtol=1e-4)
    np.testing.assert_allclose([float(row["max_abs_delta_logit"]) for row in rows], np.abs(deltas).max(1), rtol=1e-4)
    np.testing.assert_allclose([float(row["mean_abs_delta_logit"]) for row in rows], np.abs(deltas).mean(1), rtol=1e-4)
    names = [target.name for target in bundle.targets]
    assert [row["most_affected"] for row in rows] == [names[column] for column in np.abs(deltas).argmax(1)]
    for name in ("a.vcf", "a.vcf.gz", "a.bcf"):
        told = []
        with pysam.VariantFile(str(tmp_path / name)) as file:
            form = file.header.info["SEQCLASS"].description.split(": ")[1].split("|")
            for record in file:
                entries = [dict(zip(form, text.split("|"), strict=True)) for text in record.info["SEQCLASS"]]
                assert {entry["allele"] for entry in entries} == set(record.alts)
                told += [float(entry["delta_logit"]) for entry in entries if entry["target"] == "t1"]
                assert len(record.info["SEQCLASS_MAX"]) == len(record.alts)
                assert record.samples["simulated"]["GT"] != (None,)
            assert {entry["target"] for entry in entries} == {"t1", "K562%7CCTCF%2C%201%3Bx%3Dy"}
        np.testing.assert_allclose(told, deltas[:, 1], rtol=1e-4)


def test_every_form_of_the_file_gives_the_same_alleles(simulated: Path, tmp_path: Path) -> None:
    plain, genome = simulated / "variants.vcf", Genome(simulated / "genome.fa")
    shutil.copy(plain, tmp_path / "indexed.vcf")
    pysam.tabix_index(str(tmp_path / "indexed.vcf"), preset="vcf")
    shutil.copy(tmp_path / "indexed.vcf.gz", tmp_path / "alone.vcf.gz")
    with (
        pysam.VariantFile(str(plain)) as read,
        pysam.VariantFile(str(tmp_path / "a.bcf"), "wb", header=read.header) as to,
    ):
        for record in read:
            to.write(record)
    expected = [row.labels for row in VcfVariants(plain, genome, LENGTH).rows()]
    assert len(expected) > 80
    for name in ("indexed.vcf.gz", "alone.vcf.gz", "a.bcf"):
        assert [row.labels for row in VcfVariants(tmp_path / name, genome, LENGTH).rows()] == expected


def test_equal_windows_are_scored_once(
    genome: Genome, letters: dict[str, str], make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    ref = letters["c1"][99]
    vcf = write_vcf(
        tmp_path / "a.vcf", f"c1 100 {ref} {','.join(other(ref, i) for i in range(3))}", f"c1 100 {ref} {other(ref)}"
    )
    notes = score_variants(make_bundle(), VcfVariants(vcf, genome, LENGTH), tmp_path / "a.tsv")
    assert notes[-1].startswith("4 alleles, 4 windows scored")
    rows = table(tmp_path / "a.tsv")
    assert rows[0] == rows[3]


def test_a_run_that_was_stopped_goes_on_where_it_was(
    simulated: Path, make_bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, out = make_bundle(), tmp_path / "out.tsv"
    source = VcfVariants(simulated / "variants.vcf", Genome(simulated / "genome.fa"), LENGTH)
    score_variants(bundle, source, tmp_path / "whole.tsv")
    monkeypatch.setattr(score_module, "_PORTION_ROWS", 32)
    real, calls = score_module._score_portion, []

    def stops(*arguments: Any) -> Any:
        calls.append(len(arguments[0]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(score_module, "_score_portion", stops)
    with pytest.raises(KeyboardInterrupt):
        score_variants(bundle, source, out)
    assert not out.exists()
    with pytest.raises(SeqclassError, match="begun with another model"):
        score_variants(make_bundle(), source, out)
    notes = score_variants(bundle, source, out)
    assert sum(calls) == source.count + 32
    assert any(note.startswith("32 of") for note in notes)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    for ours, whole in zip(table(out), table(tmp_path / "whole.tsv"), strict=True):
        assert {**ours, **whole}.keys() == ours.keys()
        np.testing.assert_allclose(float(ours["t0:delta_logit"]), float(whole["t0:delta_logit"]), atol=1e-4)


def test_evalues_are_shares_of_the_background(
    simulated: Path, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle, genome = make_bundle(), Genome(simulated / "genome.fa")
    lines = (simulated / "variants.vcf").read_text().splitlines(keepends=True)
    head = [line for line in lines if line.startswith("#")]
    records = [line for line in lines if not line.startswith("#")]
    (tmp_path / "common.vcf").write_text("".join(head + records[::2]))
    (tmp_path / "mine.vcf").write_text("".join(head + records[1::2]))
    score_variants(bundle, VcfVariants(tmp_path / "common.vcf", genome, LENGTH), tmp_path / "common.h5")
    background = Background.read(tmp_path / "common.h5", bundle.targets)
    mine = VcfVariants(tmp_path / "mine.vcf", genome, LENGTH)
    score_variants(bundle, mine, tmp_path / "mine.h5", background=background)
    score_variants(bundle, mine, tmp_path / "mine.tsv", background=background)
    with h5py.File(tmp_path / "common.h5") as common, h5py.File(tmp_path / "mine.h5") as file:
        products = file["product"][:]
        expected = (common["product"][:][:, None] >= products).mean(axis=0)
        np.testing.assert_allclose(file["evalue"], expected, rtol=1e-6)
        assert 0 < expected.mean() < 1
    rows = table(tmp_path / "mine.tsv")
    np.testing.assert_allclose([float(row["min_evalue"]) for row in rows], expected.min(axis=1), rtol=1e-4)
    beside = Background.read(tmp_path / "mine.tsv.background.h5", bundle.targets)
    assert beside.source == "common.h5"
    np.testing.assert_array_equal(beside.evalues(products), background.evalues(products))


def test_a_background_of_another_model_is_refused(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle()
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["targets"], file["product"] = ["x", "y"], np.zeros((4, 2), np.float32)
    with pytest.raises(SeqclassError, match=r"the background's 2 targets \(x, y, ...\) are not the model's 3"):
        Background.read(tmp_path / "b.h5", bundle.targets)
    (tmp_path / "c.h5").write_text("no HDF5")
    with pytest.raises(SeqclassError, match="cannot be read as effects"):
        Background.read(tmp_path / "c.h5", bundle.targets)


class MotifScan(Classifier):
    """Sites of four motifs on the strand that is read: the log of the sum of their odds, in closed form."""

    alphabet, length, num_targets = "dna", None, len(CONSENSUS)

    def __init__(self) -> None:
        super().__init__()
        self.odds = torch.nn.ParameterList(
            torch.tensor(np.log(consensus_ppm(consensus, 0.9) / 0.25)) for consensus in CONSENSUS.values()
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        logits = []
        for odds in self.odds:
            table = torch.cat([odds, odds.new_zeros(len(odds), 1)], dim=1)
            windows = x.long().unfold(1, len(odds), 1)
            sites = sum(table[place][windows[..., place]] for place in range(len(odds)))
            logits.append(torch.logsumexp(sites, dim=1) - 8)
        return torch.stack(logits, dim=1)


def motif_changes(folder: Path, length: int) -> np.ndarray[Any, Any]:
    """How the best site's log odds change, `(alleles, motifs)`, by a scan of both windows."""
    letters = read_letters(folder / "genome.fa")
    changes = []
    for line in (folder / "variants.vcf").read_text().splitlines():
        if not line.startswith("#"):
            chrom, pos, _, ref, alts, *_ = line.split("\t")
            for alt in alts.split(","):
                pair = [DNA.encode(text) for text in by_strings(letters, chrom, int(pos), ref, alt, length)]
                ppms = [consensus_ppm(consensus, 0.9) for consensus in CONSENSUS.values()]
                best = [[scan(window, ppm, [0.25] * 4).max() for ppm in ppms] for window in pair]
                changes.append(np.subtract(best[1], best[0]))
    return np.array(changes)


def test_delta_logits_follow_the_change_of_the_motifs_score(tmp_path: Path) -> None:
    """Indels among them: were a window not cut again, or an allele put elsewhere, the order would be lost."""
    folder = simulate_vcf(tmp_path / "simulated", length=20_000)
    bundle = Bundle(MotifScan(), [Target(name) for name in CONSENSUS], [1] * len(CONSENSUS), window=60)
    source = VcfVariants(folder / "variants.vcf", Genome(folder / "genome.fa"), window_length(bundle))
    score_variants(bundle, source, tmp_path / "out.h5")
    changes = motif_changes(folder, 60)
    with h5py.File(tmp_path / "out.h5") as file:
        deltas = file["delta_logit"][:]
    for column in range(len(CONSENSUS)):
        moved = np.abs(changes[:, column]) > 0.5
        assert moved.sum() > 40
        assert spearmanr(changes[moved, column], deltas[moved, column]).statistic >= 0.8


def one_layer(num_targets: int, channels: int = 64) -> SequenceClassifier:
    """Motif detectors and the best site of each: one convolution, maximum, linear.

    Args:
        num_targets: Number of logits.
        channels: How many detectors.
    """
    stem = ConvolutionStages(4, [channels], 15, pools=[1], dropouts=[0.0])
    return SequenceClassifier(OneHotEmbedding("dna"), stem, None, LinearHead(channels, num_targets, MaxPool()), None)


@pytest.mark.slow
def test_a_trained_models_delta_logits_follow_the_change_of_the_motifs_score(tmp_path: Path) -> None:
    """Over all alleles that change a motif's best score at all; and the sign is that of what becomes of the site."""
    raw = simulate_peaks(tmp_path / "raw", chromosomes=4, seed=1)
    peaks = {"genome": raw / "genome.fa", "peaks": raw / "peaks", "window": WINDOW, "valid_chroms": ["chr4"]}
    store = import_peaks(tmp_path / "store.h5", **peaks)
    options = [f"--data.store={store.path}", f"--out={tmp_path / 'run'}", "--recipe.learning_rate=0.005"]
    options += ["--trainer.max_epochs=12", "--evaluate=false"]
    run_experiment(one_layer, name="variants", arguments=["fit", *options])
    bundle = Bundle.load(tmp_path / "run" / "bundle")

    folder = simulate_vcf(tmp_path / "simulated", length=40_000)
    source = VcfVariants(folder / "variants.vcf", Genome(folder / "genome.fa"), window_length(bundle))
    score_variants(bundle, source, tmp_path / "out.h5")
    columns = [find_target(bundle.targets, name) for name in CONSENSUS]
    with h5py.File(tmp_path / "out.h5") as file:
        deltas = file["delta_logit"][:][:, columns]
    changes = motif_changes(folder, WINDOW)
    moved = changes != 0
    assert moved.sum() > 500
    assert spearmanr(changes[moved], deltas[moved]).statistic >= 0.8

    truth = {
        (row["chrom"], int(row["pos"]), row["ref"], row["alt"], row["motif"]): row["effect"]
        for row in table(folder / "effects.tsv")
    }
    labels = [(row.labels[0], row.labels[1], row.labels[3], row.labels[4]) for row in source.rows()]
    effect = np.array([[truth[*label, motif] for motif in CONSENSUS] for label in labels])
    # Where a second site stands in the window, the best score stays, and the logit may.
    assert (deltas[(effect == "destroys") & moved] < 0).mean() > 0.95
    assert (deltas[(effect == "creates") & moved] > 0).mean() > 0.95


def test_saturation_of_a_region_is_all_its_snvs(
    genome: Genome, letters: dict[str, str], make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = make_bundle()
    region = RegionSubstitutions("c1:1-40", genome, LENGTH)
    drawn = RegionMap(region, bundle.targets)
    score_variants(bundle, region, tmp_path / "ism.tsv", also=[drawn])
    records = [
        f"c1 {pos} {letters['c1'][pos - 1]} {other(letters['c1'][pos - 1], i)}"
        for pos in range(1, 41)
        for i in range(3)
    ]
    snvs = VcfVariants(write_vcf(tmp_path / "a.vcf", *records), genome, LENGTH)
    score_variants(bundle, snvs, tmp_path / "snvs.tsv")
    ours, theirs = table(tmp_path / "ism.tsv"), table(tmp_path / "snvs.tsv")
    assert len(ours) == 120
    assert ours == [{name: row[name] for name in ours[0]} for row in theirs]
    for row in ours:
        value = drawn.delta_logit[int(row["pos"]) - 1, DNA.letters.index(row["alt"]), 2]
        assert value == pytest.approx(float(row["t2:delta_logit"]), rel=1e-4)
    assert np.count_nonzero(drawn.delta_logit) == 120 * 3
    for name in ("map.png", "map.svg", "map.pdf"):
        drawn.draw(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ("c1:5", "is not a region"),
        ("c9:1-5", "there is no chromosome 'c9'; there are: c1, c2"),
        ("c1:290-301", "is not within c1 of 300 bp"),
    ],
)
def test_a_region_that_is_none_is_refused(genome: Genome, region: str, said: str) -> None:
    with pytest.raises(IntervalError, match=said):
        RegionSubstitutions(region, genome, LENGTH)


@pytest.fixture
def called(letters: dict[str, str], tmp_path: Path) -> Path:
    """Six records: passed or not, and with different genotypes in two samples."""
    records = []
    for pos, rest in zip(
        range(50, 110, 10),
        ["PASS 0|1 1|1", "LowQual 1|0 0/0", "PASS 0/1 ./.", ". 1|1 0|1", "PASS 0|0 1/1", "PASS 0|1 0|0"],
        strict=True,
    ):
        base = letters["c1"][pos - 1]
        records.append(f"c1 {pos} {base} {other(base)} {rest}")
    return write_vcf(tmp_path / "called.vcf", *records)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [50, 60, 70, 80, 90, 100]),
        ({"pass_only": True}, [50, 70, 90, 100]),
        ({"sample": "one"}, [50, 60, 70, 80, 100]),
        ({"sample": "two", "genotype": "hom"}, [50, 90]),
        ({"sample": "one", "genotype": "het"}, [50, 60, 70, 100]),
        ({"sample": "two", "pass_only": True}, [50, 90]),
        ({"exclude_chroms": ["c1"]}, []),
    ],
)
def test_records_and_alleles_are_kept_as_asked(
    genome: Genome, called: Path, options: dict[str, Any], kept: list[int]
) -> None:
    source = VcfVariants(called, genome, LENGTH, **options)
    assert [row.labels[1] for row in source.rows()] == kept
    left_out = sum(int(note.rsplit(" ", 1)[1]) for note in source.notes)
    assert (source.count, left_out) == (len(kept), 6 - len(kept))


def test_haplotypes_put_what_stands_on_one_copy_into_one_window(
    genome: Genome, letters: dict[str, str], called: Path, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    source = VcfVariants(called, genome, LENGTH, sample="one", with_haplotypes=True)
    rows = {(row.labels[1], row.labels[5]): row for row in source.rows()}
    bases = {pos: letters["c1"][pos - 1] for pos in range(50, 110, 10)}
    shown = {pos: f"{pos}{base}>{other(base)}" for pos, base in bases.items()}
    assert {key: row.labels[6] for key, row in rows.items()} == {
        (50, "2"): shown[80],
        (60, "1"): shown[80],
        (70, "unphased"): shown[80],
        (80, "1"): shown[60],
        (80, "2"): f"{shown[50]},{shown[100]}",
        (100, "2"): shown[80],
    }
    reference, alternative = map(DNA.decode, rows[80, "2"].windows())
    text = list(letters["c1"])
    for pos in (50, 80, 100):
        text[pos - 1] = other(bases[pos])
    first = 79 - (LENGTH - 1) // 2
    assert reference == letters["c1"][first : first + LENGTH]
    assert alternative == "".join(text)[first : first + LENGTH]
    score_variants(make_bundle(), source, tmp_path / "out.vcf")
    with pysam.VariantFile(str(tmp_path / "out.vcf")) as file:
        copies = {record.pos: [text.split("|")[-1] for text in record.info.get("SEQCLASS", ())] for record in file}
    assert copies == {50: ["2"], 60: ["1"], 70: ["unphased"], 80: ["1", "2"], 90: [], 100: ["2"]}


def test_symbolic_alleles_are_skipped_and_counted(genome: Genome, letters: dict[str, str], tmp_path: Path) -> None:
    ref = letters["c1"][49]
    vcf = write_vcf(
        tmp_path / "a.vcf",
        f"c1 50 {ref} <DEL>,*,{other(ref)}",
        f"c1 50 {ref} {ref}[c2:7[",
        f"c1 50 {ref} .",
        f"c1 50 {ref} {ref.lower()}",
    )
    source = VcfVariants(vcf, genome, LENGTH)
    assert [(row.record, row.alternative) for row in source.rows()] == [(0, 2)]
    assert source.notes == [
        "alleles that are equal to REF left out: 1",
        "records without an alternative allele left out: 1",
        "symbolic alleles (<...>, *, breakends) left out: 3",
    ]


def test_a_ref_that_is_not_the_genomes_is_refused_skipped_or_flagged(
    genome: Genome, letters: dict[str, str], make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    good = [f"c1 {pos} {letters['c1'][pos - 1]} {other(letters['c1'][pos - 1])}" for pos in (10, 20)]
    base = letters["c1"][29]
    vcf = write_vcf(tmp_path / "a.vcf", *good, f"c1 30 {other(base)} {other(base, 1)}")
    with pytest.raises(SourceError, match=rf"line 8: REF is {other(base)} at c1:30, where the genome has {base}\."):
        VcfVariants(vcf, genome, LENGTH)
    skipping = VcfVariants(vcf, genome, LENGTH, ref_mismatch="skip")
    assert skipping.count == 2
    assert skipping.notes == ["alleles of records whose REF is not the genome's left out: 1"]
    flagging = VcfVariants(vcf, genome, LENGTH, ref_mismatch="flag")
    score_variants(make_bundle(), flagging, tmp_path / "out.tsv")
    score_variants(make_bundle(), flagging, tmp_path / "out.vcf")
    assert [row["ref_matches"] for row in table(tmp_path / "out.tsv")] == ["yes", "yes", "no"]
    with pysam.VariantFile(str(tmp_path / "out.vcf")) as file:
        assert ["SEQCLASS_REF_MISMATCH" in record.info for record in file] == [False, False, True]
    reference, _ = list(flagging.rows())[2].windows()
    assert DNA.decode(reference)[(LENGTH - 1) // 2] == other(base)


@pytest.mark.parametrize("mode", ["error", "skip", "flag"])
def test_another_build_is_told_at_once(genome: Genome, letters: dict[str, str], tmp_path: Path, mode: Any) -> None:
    bases = {pos: letters["c1"][pos - 1] for pos in range(10, 60, 10)}
    vcf = write_vcf(tmp_path / "a.vcf", *(f"c1 {pos} {other(base)} {base}" for pos, base in bases.items()))
    with pytest.raises(SourceError, match="at 5 of the first 5 alleles: another build of the genome"):
        VcfVariants(vcf, genome, LENGTH, ref_mismatch=mode)


def test_chromosomes_may_go_by_other_names(genome: Genome, letters: dict[str, str], tmp_path: Path) -> None:
    base = letters["c2"][99]
    vcf = write_vcf(tmp_path / "a.vcf", f"CHR_2 100 {base} {other(base)}")
    (tmp_path / "names.tsv").write_text("CHR_2\tc2\n")
    source = VcfVariants(vcf, genome, LENGTH, chrom_alias=tmp_path / "names.tsv")
    assert [row.labels[0] for row in source.rows()] == ["CHR_2"]
    assert source.notes == ["chromosome names of the VCF mapped: CHR_2 -> c2"]
    with pytest.raises(IntervalError, match="line 6: no chromosome in common with the genome; here: CHR_2"):
        VcfVariants(vcf, genome, LENGTH)


@pytest.mark.parametrize(
    ("records", "error", "said"),
    [
        ("c1 20 {r20} A,\n", SourceError, "line 6: the alternative allele '.' is neither"),
        ("c1 20 {r20} <DEL>\nc1 x A C\n", SourceError, "line 7: this is not a record of a VCF"),
        ("c1 20 {r20} <DEL>\n\n", SourceError, "line 7: this is not a record of a VCF"),
        (
            "c1 20 {r20} <DEL>\nc1 10 {r10} <DEL>\n",
            SourceError,
            "line 7: position 10 after 20, where records are to be",
        ),
        ("c1 20 {r20} <DEL>\nc2 9 A <DEL>\nc1 30 A <DEL>\n", SourceError, "line 8: chromosome c1 again, after c2"),
        ("c1 20 {r20} AR\n", SourceError, "line 6: the allele 'AR' is not DNA"),
        ("c1 20 {r20} A-\n", SourceError, "line 6: the alternative allele 'A-' is neither"),
        ("c1 20 {r20} {long}\n", SourceError, "line 6: an allele of 65 bp is longer than the model's window of 64"),
        ("c1 301 A C\n", IntervalError, "line 6: REF of 1 bp at 301 does not lie in c1 of 300 bp"),
        ("c1 0 A C\n", IntervalError, "line 6: REF of 1 bp at 0 does not lie"),
        (
            "c9 20 A C\n",
            IntervalError,
            "line 6: no chromosome in common with the genome; here: c9; in genome.fa: c1, c2",
        ),
    ],
)
def test_bad_records_are_named_with_their_line(
    genome: Genome, letters: dict[str, str], tmp_path: Path, records: str, error: type[SeqclassError], said: str
) -> None:
    text = records.format(r20=letters["c1"][19], r10=letters["c1"][9], long=letters["c1"][19] + "A" * 64)
    lines = [
        "\t".join([*line.split()[:2], ".", *line.split()[2:], "9", "PASS", ".", "GT", "0/1", "1/1"]) if line else ""
        for line in text.removesuffix("\n").split("\n")
    ]
    path = tmp_path / "bad.vcf"
    path.write_text(HEADER + COLUMNS + "\n".join(lines) + "\n")
    with pytest.raises(error, match=said) as caught:
        VcfVariants(path, genome, LENGTH)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("content", ["", "no VCF\n", ">s\nACGT\n", "##fileformat=VCFv4.2\n"])
def test_what_is_no_vcf_is_refused(genome: Genome, tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.vcf"
    path.write_text(content)
    with pytest.raises(SourceError, match="this is no VCF or BCF with a whole header"):
        VcfVariants(path, genome, LENGTH)


def test_plain_gzip_is_refused_with_what_to_do(genome: Genome, called: Path, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.vcf.gz", "wb") as packed:
        packed.write(called.read_bytes())
    with pytest.raises(SourceError, match=r"this is packed by gzip.* gunzip -c a\.vcf\.gz \| bgzip > new\.vcf\.gz"):
        VcfVariants(tmp_path / "a.vcf.gz", genome, LENGTH)


def test_a_bcf_that_is_cut_short_is_refused(simulated: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.bcf"
    with (
        pysam.VariantFile(str(simulated / "variants.vcf")) as read,
        pysam.VariantFile(str(whole), "wb", header=read.header) as to,
    ):
        for record in read:
            to.write(record)
    short = tmp_path / "short.bcf"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size - 200])
    with pytest.raises(SeqclassError, match=r"short\.bcf"):
        VcfVariants(short, Genome(simulated / "genome.fa"), LENGTH)


def test_names_that_do_not_exist_are_refused(
    genome: Genome, called: Path, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match="there is no sample 'three' among 2"):
        VcfVariants(called, genome, LENGTH, sample="three")
    with pytest.raises(SourceError, match=r"2 samples, .* Name one with --sample \(one, two\)"):
        VcfVariants(called, genome, LENGTH, with_haplotypes=True)
    with pytest.raises(UnknownNameError, match="there is no way with REF mismatches 'drop'"):
        VcfVariants(called, genome, LENGTH, ref_mismatch="drop")
    source = VcfVariants(called, genome, LENGTH)
    with pytest.raises(UnknownNameError, match=r"there is no target 'CTCF' among 3\. There are: t0, t1, t2"):
        score_variants(make_bundle(), source, tmp_path / "a.tsv", targets=["CTCF"])
    with pytest.raises(SeqclassError, match=r"Choose one of \.tsv, \.tsv\.gz, \.h5"):
        score_variants(make_bundle(), source, tmp_path / "a.xlsx")
    with pytest.raises(SeqclassError, match="a VCF is to be written, where none was read"):
        score_variants(make_bundle(), RegionSubstitutions("c1:1-9", genome, LENGTH), tmp_path / "a.vcf")
    assert list(tmp_path.glob("*a.*")) == []


def test_what_stands_there_is_not_replaced_unasked(
    genome: Genome, called: Path, make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle, source, out = make_bundle(), VcfVariants(called, genome, LENGTH), tmp_path / "a.tsv"
    score_variants(bundle, source, out)
    before = out.read_bytes()
    with pytest.raises(OutputExistsError):
        score_variants(bundle, source, out)
    score_variants(bundle, source, out, force=True)
    assert out.read_bytes() == before
    with pytest.raises(SeqclassError, match="this is what is to be read"):
        score_variants(bundle, source, called, inputs=[called], force=True)


def test_nothing_left_to_score_is_said(
    genome: Genome, letters: dict[str, str], make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    vcf = write_vcf(tmp_path / "a.vcf", f"c1 50 {letters['c1'][49]} <DEL>")
    with pytest.raises(SeqclassError, match="nothing is left to score; symbolic alleles"):
        score_variants(make_bundle(), VcfVariants(vcf, genome, LENGTH), tmp_path / "a.tsv")


@pytest.fixture(scope="module")
def yeast() -> Iterator[Path]:
    import os

    folder = os.environ.get("SEQCLASS_REAL_DATA")
    if not folder:
        pytest.skip("SEQCLASS_REAL_DATA is not set")
    return Path(folder) / "yeast"


def test_every_record_of_three_yeast_strains_is_read(yeast: Path) -> None:
    """29,398 records, 25 of them with two alternative alleles; each REF is the genome's."""
    genome = Genome(yeast / "sacCer3.fa")
    sources = [VcfVariants(path, genome, 1000) for path in sorted((yeast / "variants").glob("*.vcf"))]
    assert sum(source.count for source in sources) == 29_398 + 25
    assert all("chr1 -> I" in source.notes[0] for source in sources)
