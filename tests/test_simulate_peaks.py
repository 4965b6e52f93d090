import csv
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyfaidx import Fasta
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from seqclass.alphabets import DNA, reverse_complement
from seqclass.data.intervals import read_intervals
from seqclass.data.simulate.motifs import CONSENSUS, consensus_ppm, draw, meme_text, read_meme, scan
from seqclass.data.simulate.peaks import PAIR, PAIR_GAP, PAIR_TARGET, simulate_peaks, true_motif_scores
from seqclass.data.sources.peaks import import_peaks
from seqclass.data.tape import read_samples
from seqclass.errors import OutputExistsError, SeqclassError, SourceError

BIN = 200
IUPAC = {"R": "AG", "Y": "CT", "M": "AC"} | {letter: letter for letter in "ACGT"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_peaks(tmp_path_factory.mktemp("simulated") / "data", chromosomes=3, length=200_050, sharpness=1.0)


@pytest.fixture(scope="module")
def plants(folder):
    with open(folder / "plants.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row | {"start": int(row["start"]), "end": int(row["end"])} for row in rows]


@pytest.fixture(scope="module")
def fasta(folder):
    return Fasta(str(folder / "genome.fa"))


@pytest.fixture(scope="module")
def store(folder):
    return import_peaks(
        folder.parent / "peaks.h5",
        genome=folder / "genome.fa",
        peaks=folder / "peaks",
        window=400,
        test_chroms=["chr3"],
    )


def read_site(fasta, plant):
    site = fasta[plant["chrom"]][plant["start"] : plant["end"]]
    return str(site if plant["strand"] == "+" else site.reverse.complement)


def bin_of(plant):
    return plant["chrom"], plant["start"] // BIN


# motifs


def test_a_consensus_becomes_probabilities():
    np.testing.assert_allclose(
        consensus_ppm("ARN", 0.9),
        [[0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3], [0.45, 0.05, 0.45, 0.05], [0.25, 0.25, 0.25, 0.25]],
    )


def test_draws_follow_the_probabilities():
    ppm = consensus_ppm("ARN", 0.9)
    drawn = draw(ppm, 40_000, np.random.default_rng(0))
    frequencies = np.stack([(drawn == base).mean(axis=0) for base in range(4)], axis=1)
    np.testing.assert_allclose(frequencies, ppm, atol=0.01)


@given(st.text("ACGTN", min_size=4, max_size=30), st.integers(0, 1000))
def test_scan_is_the_log_odds_computed_letter_by_letter(sequence, seed):
    ppm = np.random.default_rng(seed).dirichlet(np.ones(4), size=4)
    background = np.array([0.3, 0.2, 0.2, 0.3])
    complement = str.maketrans("ACGT", "TGCA")

    def odds(site):
        pairs = zip(ppm, map("ACGT".find, site), strict=True)
        return sum(np.log2(row[base] / background[base]) for row, base in pairs if base >= 0)

    sites = [sequence[begin : begin + 4] for begin in range(len(sequence) - 3)]
    expected = [max(odds(site), odds(site[::-1].translate(complement))) for site in sites]
    np.testing.assert_allclose(scan(DNA.encode(sequence), ppm, background), expected)


def test_scan_does_not_know_strands_apart():
    tokens = np.random.default_rng(0).integers(0, 4, (3, 50)).astype(np.uint8)
    ppm = consensus_ppm("TTACCCGGT", 0.9)
    forward = scan(tokens, ppm, np.full(4, 0.25))
    np.testing.assert_allclose(scan(reverse_complement(tokens), ppm, np.full(4, 0.25))[:, ::-1], forward)


def test_motifs_survive_their_file(tmp_path):
    ppms = {name: consensus_ppm(consensus, 0.9) for name, consensus in CONSENSUS.items()}
    (tmp_path / "m.meme").write_text(meme_text(ppms, [0.3, 0.2, 0.2, 0.3]))
    read, background = read_meme(tmp_path / "m.meme")
    assert list(read) == list(ppms)
    for name, ppm in ppms.items():
        np.testing.assert_allclose(read[name], ppm, atol=1e-6)
    np.testing.assert_allclose(background, [0.3, 0.2, 0.2, 0.3])


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "no motif"), ("MOTIF a\nletter-probability matrix: w= 1\n0.5 0.5\n", "line 3: '0.5 0.5' is not")],
)
def test_a_wrong_motif_file_is_refused(tmp_path, text, problem):
    (tmp_path / "m.meme").write_text(text)
    with pytest.raises(SourceError) as error:
        read_meme(tmp_path / "m.meme")
    assert problem in str(error.value)


# what is planted


def test_every_bin_holds_one_site_of_each_motif_and_none_overlap(plants):
    by_bin = {}
    for plant in plants:
        if plant["target"] != PAIR_TARGET:
            by_bin.setdefault(bin_of(plant), []).append(plant)
    assert len(by_bin) == 3 * 1000
    for sites in by_bin.values():
        assert sorted(site["motif"] for site in sites) == sorted(CONSENSUS)
        assert all(site["start"] // BIN == (site["end"] - 1) // BIN for site in sites)
        assert all(left["end"] <= right["start"] for left, right in pairwise(sorted(sites, key=lambda s: s["start"])))


def test_true_sites_read_as_their_consensus_and_decoys_do_not(plants, fasta):
    for plant in plants:
        site = read_site(fasta, plant)
        fits = all(letter in IUPAC[code] for letter, code in zip(site, CONSENSUS[plant["motif"]], strict=True))
        assert fits == (plant["target"] != "")


def test_sites_are_drawn_letter_by_letter(tmp_path):
    simulate_peaks(tmp_path / "d", chromosomes=1, length=400_000, sharpness=0.9)
    fasta = Fasta(str(tmp_path / "d" / "genome.fa"))
    with open(tmp_path / "d" / "plants.tsv") as file:
        sites = [
            read_site(fasta, row | {"start": int(row["start"]), "end": int(row["end"])})
            for row in csv.DictReader(file, delimiter="\t")
            if row["target"] == "Reb1"
        ]
    letters = np.array([list(site) for site in sites])
    np.testing.assert_allclose((letters == list(CONSENSUS["Reb1"])).mean(axis=0), 0.9, atol=0.06)


def test_the_pair_is_present_exactly_where_both_stand_at_its_spacing_on_one_strand(plants):
    true = {}
    listed = set()
    for plant in plants:
        if plant["target"] == PAIR_TARGET:
            listed.add(bin_of(plant))
        elif plant["target"] in PAIR:
            true.setdefault(bin_of(plant), {})[plant["motif"]] = plant
    expected, apart = set(), set()
    for place, sites in true.items():
        if len(sites) < 2:
            continue
        first, second = (sites[name] for name in PAIR)
        left, right = (first, second) if first["strand"] == "+" else (second, first)
        at_spacing = first["strand"] == second["strand"] and right["start"] - left["end"] == PAIR_GAP
        (expected if at_spacing else apart).add(place)
    assert listed == expected
    assert len(expected) == pytest.approx(0.08 * 3000, rel=0.2)
    assert len(apart) == pytest.approx(0.04 * 3000, rel=0.3)


def test_peaks_have_their_summits_on_the_sites(folder, plants):
    for target in [*CONSENSUS, PAIR_TARGET]:
        peaks = read_intervals(folder / "peaks" / f"{target}.narrowPeak")
        found = sorted((peaks.chroms[c], s // BIN) for c, s in zip(peaks.chrom, peaks.summit, strict=True))
        assert found == sorted({bin_of(plant) for plant in plants if plant["target"] == target})
        assert (peaks.end - peaks.start).max() == 100
        if target != PAIR_TARGET:
            centres = {(p["chrom"], (p["start"] + p["end"]) // 2) for p in plants if p["target"] == target}
            assert {(peaks.chroms[c], s) for c, s in zip(peaks.chrom, peaks.summit, strict=True)} == centres


def test_composition_does_not_tell_positives_from_negatives(store):
    samples = np.arange(len(store))
    tokens = read_samples(store, samples)[0][:, 100:300]
    composition = np.stack([(tokens == base).sum(axis=1) for base in range(3)], axis=1)
    labels = store.labels(samples)
    for target in range(store.num_targets):
        scores = LogisticRegression().fit(composition, labels[:, target]).decision_function(composition)
        assert roc_auc_score(labels[:, target], scores) < 0.56


def test_the_ceiling_is_near_one_for_sharp_motifs(folder, store):
    samples = store.samples("test")
    labels, scores = store.labels(samples), true_motif_scores(folder, store, samples)
    assert [target.name for target in store.targets] == sorted([*CONSENSUS, PAIR_TARGET])
    for target in range(store.num_targets):
        assert average_precision_score(labels[:, target], scores[:, target]) > 0.95


def test_either_half_alone_does_not_tell_the_pair(folder, store):
    samples = store.samples("test")
    names = [target.name for target in store.targets]
    labels, scores = store.labels(samples)[:, names.index(PAIR_TARGET)], true_motif_scores(folder, store, samples)
    halves = [scores[:, names.index(name)] for name in PAIR]
    for score in [*halves, sum(halves)]:
        assert average_precision_score(labels, score) < 0.8


def test_the_ceiling_takes_samples_in_any_order(folder, store, monkeypatch):
    samples = np.random.default_rng(0).permutation(len(store))[:100]
    expected = true_motif_scores(folder, store, np.sort(samples))
    monkeypatch.setattr("seqclass.data.simulate.peaks._SAMPLES_AT_ONCE", 7)
    np.testing.assert_array_equal(true_motif_scores(folder, store, samples), expected[np.argsort(np.argsort(samples))])


# the folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_seed_gives_one_folder(tmp_path):
    options = {"chromosomes": 1, "length": 20_000}
    first = contents(simulate_peaks(tmp_path / "a", **options))
    assert first == contents(simulate_peaks(tmp_path / "b", **options))
    other = contents(simulate_peaks(tmp_path / "c", seed=1, **options))
    assert first.keys() == other.keys()
    assert first != other


def test_a_folder_that_exists_stands_unless_forced(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("x")
    with pytest.raises(OutputExistsError):
        simulate_peaks(tmp_path / "a", chromosomes=1, length=2000)
    assert (tmp_path / "a" / "mine").exists()
    with pytest.raises(SeqclassError, match=r"other things than plants\.tsv"):
        simulate_peaks(tmp_path / "a", chromosomes=1, length=2000, force=True)
    (tmp_path / "a" / "plants.tsv").touch()
    simulate_peaks(tmp_path / "a", chromosomes=1, length=2000, force=True)
    assert not (tmp_path / "a" / "mine").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "options", [{"bin": 50}, {"chromosomes": 0}, {"length": 100}, {"positives": 0.9}, {"sharpness": 2}]
)
def test_sizes_that_cannot_be_are_refused(tmp_path, options):
    with pytest.raises(SourceError):
        simulate_peaks(tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())


def test_scores_of_a_store_from_elsewhere_are_refused(folder, tmp_path):
    (tmp_path / "a.bed").write_text("chr1\t0\t1\n")
    other = import_peaks(tmp_path / "o.h5", genome=folder / "genome.fa", peaks=tmp_path / "a.bed")
    with pytest.raises(SourceError, match="no motif of a"):
        true_motif_scores(folder, other, np.arange(3))
