import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqclass.alphabets import DNA, PROTEIN, Alphabet
from seqclass.cli import main
from seqclass.data.check import check_store
from seqclass.data.similarity import components, kmer_sets
from seqclass.data.sources.records import Policies
from seqclass.data.sources.table import import_table
from seqclass.data.splits import split_store
from seqclass.data.store import Store, Views
from seqclass.data.writer import write_store
from seqclass.errors import SourceError, UnknownNameError
from seqclass.targets import Target


def make(
    path: Path,
    *,
    lengths: np.ndarray,
    views: Views | None = None,
    classes: np.ndarray | None = None,
    binary: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    alphabet: Alphabet = PROTEIN,
    seed: int = 0,
) -> Store:
    count = len(lengths)
    if views is None:
        views = Views(np.arange(count), np.zeros(count, int), lengths, np.ones(count, int))
    with write_store(path, alphabet, force=True) as writer:
        tokens = np.random.default_rng(seed).integers(0, 4, int(lengths.sum())).astype(np.uint8)
        writer.add_contigs([f"s{i}" for i in range(count)], tokens, lengths)
        if classes is not None:
            writer.set_targets([Target(f"c{i}", "class") for i in range(int(classes.max()) + 1)], ["class"])
            writer.add_labels(writer.layout.pack(classes=classes[:, None]))
        else:
            binary = np.ones((len(views), 1)) if binary is None else binary
            writer.set_targets([Target(f"t{i}") for i in range(binary.shape[1])])
            writer.add_labels(writer.layout.pack(binary))
        known = None if groups is None else (groups, [f"g{i}" for i in range(int(groups.max()) + 1)])
        writer.set_samples(views, np.zeros(len(views)), known)
        writer.finish({"source": "test", "notes": ["imported"]})
    return Store(path)


@pytest.mark.parametrize("by", ["random", "stratified"])
def test_shares_are_kept_and_the_seed_decides(tmp_path: Path, by: str) -> None:
    classes = np.repeat([0, 1, 2], [900, 90, 10])
    store = make(tmp_path / "s.h5", lengths=np.full(1000, 9), classes=classes)
    first = split_store(store, by, seed=1).split
    assert np.bincount(first).tolist() == [800, 100, 100]
    assert (split_store(store, by, seed=1).split == first).all()
    assert (split_store(store, by, seed=2).split != first).any()
    if by == "stratified":
        for each in range(3):
            share = np.bincount(first[classes == each], minlength=3) / (classes == each).sum()
            np.testing.assert_allclose(share, [0.8, 0.1, 0.1], atol=0.01)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 9999), count=st.integers(3, 120), by=st.sampled_from(["group", "cluster", "stratified"]))
def test_what_belongs_together_stays_together(tmp_path: Path, seed: int, count: int, by: str) -> None:
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, max(3, count // 3), count)
    groups[:3] = [0, 1, 2]
    _, groups = np.unique(groups, return_inverse=True)
    # Two views of each protein, far apart on it.
    contig = np.repeat(np.arange(count), 2)
    views = Views(contig, np.tile([0, 30], count), np.full(2 * count, 10), np.ones(2 * count, int))
    binary = generator.integers(0, 2, (2 * count, 5))
    store = make(tmp_path / "s.h5", lengths=np.full(count, 40), views=views, binary=binary, groups=groups[contig])
    table = tmp_path / "clusters.tsv"
    table.write_text("".join(f"s{np.argmax(groups == group)}\ts{i}\n" for i, group in enumerate(groups)))
    again = split_store(store, by, clusters=table if by == "cluster" else None, seed=seed, fractions=(0.5, 0.25, 0.25))
    assert set(again.split.tolist()) == {0, 1, 2}
    for protein in range(count):
        assert len(set(again.split[contig == protein])) == 1
    if by != "stratified":
        for group in range(groups.max() + 1):
            assert len(set(again.split[groups[contig] == group])) == 1
    assert f"Split by {by}" in again.provenance["split_notes"][0]


def test_nothing_but_the_split_changes_and_its_story_is_told_once(tmp_path: Path) -> None:
    store = make(tmp_path / "s.h5", lengths=np.full(60, 9), classes=np.arange(60) % 3)
    split_store(store, "random")
    after = split_store(store, "stratified", fractions=(0.5, 0.5, 0))
    assert after.provenance["split"] == {"by": "stratified", "fractions": [0.5, 0.5, 0.0], "seed": 0}
    assert after.provenance["notes"] == ["imported", *after.provenance["split_notes"]]
    assert (after.classes(np.arange(60)) == store.classes(np.arange(60))).all()
    with h5py.File(store.path) as file:
        assert (file["tokens"][:] == np.random.default_rng(0).integers(0, 4, 540)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_windows_that_overlap_and_both_strands_of_a_locus_are_not_divided(tmp_path: Path) -> None:
    start = np.arange(0, 4000, 50)
    # Islands of eight windows that overlap each other, each read from both strands.
    start = np.repeat(start + start // 400 * 1000, 2)
    strand = np.tile([1, -1], len(start) // 2)
    views = Views(np.zeros(len(start), int), start, np.full(len(start), 100), strand)
    store = make(tmp_path / "s.h5", lengths=np.array([16_000]), views=views, alphabet=DNA)
    split = split_store(store, "random", fractions=(0.6, 0.2, 0.2)).split
    assert set(split.tolist()) == {0, 1, 2}
    for one in range(len(start)):
        near = np.abs(start - start[one]) < 100
        assert len(set(split[near].tolist())) == 1
    assert not check_store(Store(store.path), tmp_path / "check").leaks


def test_chromosomes_stay_whole(tmp_path: Path) -> None:
    contig = np.repeat(np.arange(10), 50)
    views = Views(contig, np.tile(np.arange(50) * 100, 10), np.full(500, 100), np.ones(500, int))
    store = make(tmp_path / "s.h5", lengths=np.full(10, 5000), views=views, alphabet=DNA)
    split = split_store(store, "chromosome").split
    assert np.bincount(split).tolist() == [400, 50, 50]
    assert all(len(set(split[contig == each])) == 1 for each in range(10))


def test_clusters_of_cd_hit_are_read(tmp_path: Path) -> None:
    store = make(tmp_path / "s.h5", lengths=np.full(6, 9))
    lines = [">Cluster 0", "0\t9aa, >s0... *", "1\t9aa, >s5... at 97.00%", ">Cluster 1", "0\t9aa, >s1... *"]
    lines += ["1\t9aa, >s2... at 90%", ">Cluster 2", "0\t9aa, >s3... *", "1\t9aa, >s4... at 91%"]
    (tmp_path / "c.clstr").write_text("\n".join(lines) + "\n")
    split = split_store(store, "cluster", clusters=tmp_path / "c.clstr", fractions=(0.34, 0.33, 0.33)).split
    assert split[0] == split[5]
    assert split[1] == split[2]
    assert split[3] == split[4]
    assert len(set(split.tolist())) == 3


def test_a_byte_order_mark_tears_no_cluster(tmp_path: Path) -> None:
    store = make(tmp_path / "s.h5", lengths=np.full(6, 9))
    lines = [f"s{i // 2 * 2}\ts{i}\r\n" for i in range(6)]
    (tmp_path / "c.tsv").write_text("".join(lines), encoding="utf-8-sig")
    split = split_store(store, "cluster", clusters=tmp_path / "c.tsv", fractions=(0.34, 0.33, 0.33)).split
    assert split[::2].tolist() == split[1::2].tolist()
    assert len(set(split.tolist())) == 3


def test_a_class_of_one_group_is_named(tmp_path: Path) -> None:
    groups = np.arange(100) // 5
    classes = np.where(groups == 7, 1, 0)
    store = make(tmp_path / "s.h5", lengths=np.full(100, 9), classes=classes, groups=groups)
    notes = split_store(store, "group").provenance["split_notes"]
    assert any("All samples of 1 classes must stay together" in note and "c1" in note for note in notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "random", "fractions": (0.5, 0.2, 0.2)}, r"the fractions are 0.5, 0.2, 0.2"),
        ({"by": "random", "fractions": (0, 0.5, 0.5)}, "Give three that add up to 1"),
        ({"by": "random", "seed": -1}, "the seed -1 is negative"),
        ({"by": "group"}, "it is not known which samples belong together"),
        ({"by": "cluster", "level": 2.0}, "a level of 2"),
        ({"by": "cluster", "clusters": "lacking.tsv"}, "8 of 9 samples are in no cluster, such as 's1'"),
        ({"by": "cluster", "clusters": "odd.tsv"}, "line 1: this line has 3 columns"),
        ({"by": "cluster", "clusters": "twice.tsv"}, "line 2: 's0' is in two clusters"),
        ({"by": "cluster", "clusters": "one.tsv"}, "3 splits to fill, and 1 unit of samples"),
        ({"by": "cluster", "clusters": "none.tsv"}, "there is no such file"),
    ],
)
def test_a_split_that_cannot_be_is_refused_and_the_store_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store = make(tmp_path / "s.h5", lengths=np.full(9, 9))
    Path("lacking.tsv").write_text("s0\ts0\n")
    Path("odd.tsv").write_text("s0\ts0\ts0\n")
    Path("twice.tsv").write_text("s0\ts0\ns1\ts0\n")
    Path("one.tsv").write_text("".join(f"s0\ts{i}\n" for i in range(9)))
    before = store.path.read_bytes()
    with pytest.raises(Exception, match=message) as caught:
        split_store(store, **options)
    assert type(caught.value).__module__ == "seqclass.errors"
    assert store.path.read_bytes() == before


def test_an_unknown_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="there is no way to split 'luck'"):
        split_store(make(tmp_path / "s.h5", lengths=np.full(9, 9)), "luck")


@pytest.mark.slow
def test_beta_lactamases_leak_by_chance_and_by_family_but_not_by_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not os.environ.get("SEQCLASS_REAL_DATA"):
        pytest.skip("SEQCLASS_REAL_DATA, the folder of real data, is not set")
    table = Path(os.environ["SEQCLASS_REAL_DATA"]) / "amr" / "beta_lactamases.tsv"
    columns = {"labels": ("ambler_class",), "group": "family", "policies": Policies(dedupe=True)}
    store = import_table(table, tmp_path / "amr.h5", alphabet=PROTEIN, **columns)
    of = components(kmer_sets(store, np.arange(len(store))), 0.1)
    classes = store.classes(np.arange(len(store)))[:, 0]
    found = {target.name: len(np.unique(of[classes == i])) for i, target in enumerate(store.targets)}
    assert found == {"A": 78, "B": 88, "C": 23, "D": 47}
    leaks = {}
    for by in ("random", "group", "cluster"):
        main(["data", "split", str(store.path), "--by", by])
        out = tmp_path / by
        leaks[by] = check_store(Store(store.path), out).leaks
        rows = (out / "pairs.tsv").read_text().splitlines()[1:]
        assert bool(rows) == leaks[by]
    assert leaks == {"random": True, "group": True, "cluster": False}
    assert "236 clusters, none of them in two splits" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["random", "stratified", "group"])
def test_a_published_test_split_can_stay(tmp_path: Path, by: str) -> None:
    groups = np.arange(400) // 4
    store = make(tmp_path / "s.h5", lengths=np.full(400, 9), classes=np.arange(400) % 3, groups=groups)
    held = split_store(store, "random", fractions=(0.7, 0, 0.3), seed=3)
    store = split_store(held, by, fractions=(0.8, 0.2, 0), keep_test=True)
    assert np.array_equal(store.split == 2, held.split == 2)
    shares = np.bincount(store.split) / len(store)
    assert shares == pytest.approx([0.7 * 0.8, 0.7 * 0.2, 0.3], abs=0.01)
    if by == "group":
        rest = store.split != 2
        assert all(len(set(store.split[rest & (groups == group)])) <= 1 for group in range(100))
    assert store.provenance["split_notes"][0].startswith("The 120 samples of the test split stayed in it")


def test_a_test_split_that_stays_takes_no_more(tmp_path: Path) -> None:
    store = make(tmp_path / "s.h5", lengths=np.full(40, 9), classes=np.arange(40) % 2)
    with pytest.raises(SourceError, match=r"the test split stays, and 0\.1 of the others are to be in it"):
        split_store(store, "random", keep_test=True)
