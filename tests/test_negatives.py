import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from seqclass.alphabets import DNA
from seqclass.data.sources.negatives import (
    GC_REACH,
    GC_STEP,
    Negatives,
    draw,
    draw_same_gc,
    ks_distance,
    window_gc,
)
from seqclass.data.sources.peaks import import_peaks
from seqclass.data.store import SPLITS
from seqclass.data.tape import read_samples
from seqclass.errors import SourceError

# what the GC share of a window is


@given(st.text(alphabet="ACGTN", min_size=1, max_size=120), st.integers(1, 9), st.integers(0, 5))
@settings(deadline=None)
def test_gc_shares_are_what_counting_letters_gives(text, bin, flank):
    shares = window_gc(DNA.encode(text), bin + 2 * flank, bin)
    assert len(shares) == -(-len(text) // bin)
    for number, share in enumerate(shares):
        letters = text[max(0, number * bin - flank) : (number + 1) * bin + flank]
        known = len(letters) - letters.count("N")
        if known < 0.9 * (bin + 2 * flank):
            assert np.isnan(share)
        else:
            assert share == pytest.approx((letters.count("G") + letters.count("C")) / known)


def test_gc_shares_do_not_depend_on_the_block_size(monkeypatch):
    tokens = np.random.default_rng(0).integers(0, 5, 997).astype(np.uint8)
    whole = window_gc(tokens, 30, 10)
    monkeypatch.setattr("seqclass.data.sources.negatives._BINS_AT_ONCE", 7)
    assert np.array_equal(window_gc(tokens, 30, 10), whole, equal_nan=True)


@pytest.mark.filterwarnings("ignore")  # the p-value, not looked at, of very small samples
@given(st.lists(st.floats(0, 1, width=32), min_size=1), st.lists(st.floats(0, 1, width=32), min_size=1))
@settings(deadline=None)
def test_the_distance_of_distributions_is_scipys(first, second):
    first, second = np.array(first, dtype=np.float32), np.array(second, dtype=np.float32)
    assert ks_distance(first, second) == pytest.approx(ks_2samp(first, second, method="asymp").statistic)


# which bins are drawn


@st.composite
def genomes(draw_from):
    size = draw_from(st.integers(1, 150))
    generator = np.random.default_rng(draw_from(st.integers(0, 2**32 - 1)))
    gc = generator.beta(5, 5, size).astype(np.float32)
    gc[generator.random(size) < draw_from(st.sampled_from([0, 0.2]))] = np.nan
    labelled = generator.random(size) < draw_from(st.sampled_from([0.05, 0.3, 0.6]))
    return gc, labelled, generator.integers(0, 3, size).astype(np.uint8)


def few_matches(gc, labelled, split, ratio):
    """For each split, how many negatives a maximum matching of wanted and available could give at most."""
    counts = []
    for number in range(len(SPLITS)):
        inside = (split == number) & ~np.isnan(gc)
        counts.append(min(round(ratio * (inside & labelled).sum()), (inside & ~labelled).sum()))
    return counts


@given(genomes(), st.sampled_from([0.5, 1, 3]), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_drawn_bins_are_unlabelled_near_in_gc_of_the_same_split_and_never_too_many(genome, ratio, seed):
    gc, labelled, split = genome
    try:
        chosen, _ = draw_same_gc(gc, labelled, split, ratio, seed)
    except SourceError:
        for number in range(len(SPLITS)):
            positives, others = (gc[(split == number) & part] for part in (labelled, ~labelled))
            near = np.abs(positives[:, None] - others) < GC_STEP * (GC_REACH - 0.01)
            assert ratio < 1 or not near.any()
        return
    assert chosen[labelled].all()
    drawn = chosen & ~labelled
    assert not np.isnan(gc[drawn]).any()
    for number, most in enumerate(few_matches(gc, labelled, split, ratio)):
        here = split == number
        assert (drawn & here).sum() <= most
        positives = gc[labelled & here]
        for share in gc[drawn & here]:
            assert np.nanmin(np.abs(positives - share)) < GC_STEP * (GC_REACH + 1)


@given(genomes(), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_where_each_positive_has_its_twins_among_the_others_all_are_found_at_no_distance(genome, ratio):
    gc, _, split = genome
    gc, split = gc[~np.isnan(gc)], split[~np.isnan(gc)]
    labelled = np.repeat([True] + [False] * ratio, len(gc))
    shares, splits = np.tile(gc, 1 + ratio), np.tile(split, 1 + ratio)
    if not len(gc):
        return
    chosen, notes = draw_same_gc(shares, labelled, splits, ratio, 0)
    assert chosen.all()
    assert "Kolmogorov-Smirnov distance from the positives: negatives 0.000" in notes[1]
    assert not any("missing" in note for note in notes)


def planted(size=40_000, seed=1):
    """Positives of 55 % GC among bins of 40 %."""
    generator = np.random.default_rng(seed)
    labelled = generator.random(size) < 0.02
    gc = np.where(labelled, generator.normal(0.55, 0.03, size), generator.normal(0.40, 0.08, size))
    split = generator.choice(3, size, p=[0.8, 0.1, 0.1]).astype(np.uint8)
    return gc.clip(0, 1).astype(np.float32), labelled, split


def test_a_planted_difference_of_gc_is_gone_after_matching_and_not_after_a_plain_draw():
    gc, labelled, split = planted()
    chosen, notes = draw_same_gc(gc, labelled, split, 1, seed=0)
    matched, plain = chosen & ~labelled, draw(labelled, split, 1, seed=0) & ~labelled
    assert matched.sum() == plain.sum() == labelled.sum()
    assert ks_2samp(gc[labelled], gc[plain]).pvalue < 1e-100
    assert ks_2samp(gc[labelled], gc[matched]).pvalue > 0.99
    for number in range(len(SPLITS)):
        here = split == number
        assert (matched & here).sum() == (labelled & here).sum()
        assert ks_2samp(gc[labelled & here], gc[matched & here]).pvalue > 0.9
    statistic = ks_2samp(gc[labelled], gc[matched]).statistic
    assert f"negatives {gc[matched].mean():.3f}" in notes[1]
    assert f"distance from the positives: negatives {statistic:.3f}" in notes[1]


def test_a_shortage_is_told_and_does_not_bring_in_other_gc():
    gc, labelled, split = planted()
    chosen, notes = draw_same_gc(gc, labelled, split, 20, seed=0)
    drawn = chosen & ~labelled
    missing = sum(round(20 * (labelled & (split == number)).sum()) for number in range(3)) - drawn.sum()
    assert f"{missing:,} negatives are missing: too few bins without a label are within 0.02 of" in "\n".join(notes)
    assert missing > 0
    assert gc[drawn].min() >= gc[labelled].min() - 0.025


def test_the_choice_follows_from_the_seed():
    gc, labelled, split = planted(4000)
    first, again, other = (draw_same_gc(gc, labelled, split, 1, seed)[0] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_the_nearest_are_taken_first_and_both_sides_alike():
    positive = 0.5025
    others = np.array([0.5025, 0.4975, 0.5075, 0.4925, 0.5125, 0.47, 0.6], dtype=np.float32)
    gc = np.append(others, np.float32(positive))
    labelled = np.arange(len(gc)) == len(others)
    split = np.zeros(len(gc), dtype=np.uint8)
    for ratio, expected in ((1, [0]), (3, [0, 1, 2]), (5, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])):
        chosen, _ = draw_same_gc(gc, labelled, split, ratio, seed=3)
        assert np.flatnonzero(chosen & ~labelled).tolist() == expected


def test_no_bin_of_the_positives_gc_is_an_error():
    gc = np.array([0.9, 0.1, 0.2], dtype=np.float32)
    with pytest.raises(SourceError, match=r"no bin without a label is within 0\.02 of a positive's GC share"):
        draw_same_gc(gc, np.array([True, False, False]), np.zeros(3, dtype=np.uint8), 1, 0)


@pytest.mark.parametrize(
    "text", ["gc", "gc:", "gc:0", "gc:-1", "gc:x", "1", "ratio:1", "gc:1e4", "gc:1 ", "gc:9999999999"]
)
def test_a_wrong_word_for_negatives_is_refused(text):
    with pytest.raises(SourceError, match="--negatives is") as error:
        Negatives.parse("all", text)
    assert error.value.remedy == "Give gc:R, with R negatives for each positive"


@pytest.mark.parametrize("keep", ["labelled", "ratio:2", "some"])
def test_two_ways_to_choose_negatives_at_once_are_refused(keep):
    with pytest.raises(SourceError, match=f"--keep {keep} and --negatives gc:1 both choose among the bins"):
        Negatives.parse(keep, "gc:1")


# on a genome


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A genome of stretches of 30 % and of 60 % GC, with peaks of one factor in the latter, and of another anywhere."""
    folder = tmp_path_factory.mktemp("raw")
    generator = np.random.default_rng(2)
    (folder / "peaks").mkdir()
    peaks = {"Rich": [], "Other": []}
    with open(folder / "genome.fa", "w") as genome:
        for chrom in ("chr1", "chr2", "chr3"):
            parts = []
            for stretch in range(100):
                share = 0.6 if stretch % 3 == 0 else 0.3
                p = [(1 - share) / 2, share / 2, share / 2, (1 - share) / 2]
                parts.append("".join(generator.choice(list("ACGT"), 600, p=p)))
                if stretch % 6 == 0:
                    peaks["Rich"].append(f"{chrom}\t{600 * stretch + 300}\t{600 * stretch + 301}\n")
                if stretch % 7 == 0:
                    peaks["Other"].append(f"{chrom}\t{600 * stretch + 100}\t{600 * stretch + 101}\n")
            parts[50] = "N" * 600
            genome.write(f">{chrom}\n{''.join(parts)}\n")
    for name, lines in peaks.items():
        (folder / "peaks" / f"{name}.bed").write_text("".join(lines))
    return folder


def test_a_genomes_negatives_have_the_gc_of_its_positives_in_each_split(raw, tmp_path):
    def bring(**options):
        return import_peaks(
            tmp_path / "out.h5",
            genome=raw / "genome.fa",
            peaks=raw / "peaks" / "Rich.bed",
            window=200,
            bin=100,
            valid_chroms=["chr2"],
            test_chroms=["chr3"],
            force=True,
            **options,
        )

    store = bring(negatives="gc:1")
    for split in SPLITS:
        positive, negative = gc_by_label(store, store.samples(split))
        assert len(positive) == len(negative) == 17 - (50 % 6 == 0)
        assert abs(positive.mean() - negative.mean()) < 0.01
    notes = "\n".join(store.provenance["notes"])
    assert "negatives of the positives' GC share, found of those wanted: 17 of 17 train" in notes
    assert "--negatives gc:1 left out" in notes
    assert "windows with more than 0.1 N, neither drawn nor matched: " in notes
    assert store.provenance["negatives"] == "gc:1"
    plain = bring(keep="ratio:1")
    positive, negative = gc_by_label(plain, np.arange(len(plain)))
    assert abs(positive.mean() - negative.mean()) > 0.1
    assert bring(negatives="gc:1", seed=0).checksum() == store.checksum() != bring(negatives="gc:1", seed=1).checksum()


def gc_by_label(store, samples):
    """GC shares of the positives' and of the negatives' windows, counted in the store."""
    tokens = np.concatenate([read_samples(store, [sample])[0] for sample in samples])
    shares = ((tokens == 1) | (tokens == 2)).sum(axis=1) / np.maximum((tokens < 4).sum(axis=1), 1)
    labels = store.labels(samples)[:, 0] > 0
    return shares[labels], shares[~labels]


def test_gc_matching_wants_one_target(raw, tmp_path):
    with pytest.raises(
        SourceError, match="--negatives gc:1 is for the peaks of one target, and there are 2: Other, Rich"
    ):
        import_peaks(tmp_path / "out.h5", genome=raw / "genome.fa", peaks=raw / "peaks", negatives="gc:1")
    assert not list(tmp_path.iterdir())


def test_a_yeast_factors_negatives_have_its_gc(tmp_path):
    if "SEQCLASS_REAL_DATA" not in os.environ:
        pytest.skip("SEQCLASS_REAL_DATA, the folder of real data, is not set")
    yeast = Path(os.environ["SEQCLASS_REAL_DATA"]) / "yeast"
    store = import_peaks(
        tmp_path / "yeast.h5",
        genome=yeast / "sacCer3.fa",
        peaks=sorted((yeast / "peaks").glob("Reb1*.bed"))[:1],
        negatives="gc:2",
        test_chroms=["IV"],
    )
    positive, negative = gc_by_label(store, np.arange(len(store)))
    assert len(negative) == 2 * len(positive)
    assert ks_2samp(positive, negative).pvalue > 0.99
