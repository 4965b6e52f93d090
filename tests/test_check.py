import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from seqclass.alphabets import DNA, PROTEIN, Alphabet, reverse_complement
from seqclass.cli import main
from seqclass.data.check import Check, check_store
from seqclass.data.leakage import overlaps, repeats
from seqclass.data.store import Store, Views
from seqclass.data.writer import VectorForm, write_store
from seqclass.errors import OutputExistsError, SourceError
from seqclass.targets import Target


def store_of(
    path: Path, alphabet: Alphabet, sequences: list[np.ndarray], split: list[int], num_targets: int = 2
) -> Store:
    lengths, count = np.array([len(sequence) for sequence in sequences]), len(sequences)
    with write_store(path, alphabet) as writer:
        writer.add_contigs([f"s{i}" for i in range(count)], np.concatenate(sequences).astype(np.uint8), lengths)
        writer.set_targets([Target(f"c{i}", "class") for i in range(num_targets)], ["class"])
        writer.add_labels(writer.layout.pack(classes=np.arange(count)[:, None] % num_targets))
        views = Views(np.arange(count), np.zeros(count, int), lengths, np.ones(count, int))
        writer.set_samples(views, np.array(split))
        writer.finish({"source": "test", "notes": []})
    return Store(path)


def findings(check: Check) -> dict[str, tuple[str, str]]:
    return {verdict.what: (verdict.grade, verdict.finding) for verdict in check.verdicts}


@pytest.fixture
def proteins() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 20, generator.integers(50, 200)) for _ in range(40)]


def test_planted_duplicates_are_found_with_their_names_and_nothing_else(
    tmp_path: Path, proteins: list[np.ndarray]
) -> None:
    split = [0] * 30 + [1] * 5 + [2] * 5
    near = proteins[3].copy()
    near[10] = (near[10] + 1) % 20
    proteins[35], proteins[31] = proteins[7].copy(), near
    check = check_store(store_of(tmp_path / "s.h5", PROTEIN, proteins, split), tmp_path / "check")
    found = findings(check)
    assert check.leaks
    assert found["test and train"][0] == found["valid and train"][0] == "leak"
    assert "1 of 5 test samples (20.0%)" in found["test and train"][1]
    assert (
        "1 of these samples have one with just the same k-mers), such as s35 and s7 (1.00)"
        in found["test and train"][1]
    )
    assert "such as s31 and s3" in found["valid and train"][1]
    assert found["test and valid"][0] == "ok"
    rows = [line.split("\t") for line in (tmp_path / "check" / "pairs.tsv").read_text().splitlines()[1:]]
    assert {(row[3], row[4]) for row in rows} == {("s35", "s7"), ("s31", "s3")}
    written = json.loads((tmp_path / "check" / "check.json").read_text())
    assert written["pairs"][-3:][0]["samples"] == 1


def test_identical_sequences_too_short_for_a_k_mer_are_found(tmp_path: Path) -> None:
    sequences = [np.array([1, 2, 3, 4]), np.array([4, 3, 2, 1]), np.array([1, 2, 3, 4])]
    check = check_store(store_of(tmp_path / "s.h5", PROTEIN, sequences, [0, 0, 2]), tmp_path / "check")
    grade, finding = findings(check)["duplicates"]
    assert grade == "leak"
    assert "1 of 1 test samples are the same sequence as a train sample, such as s2 and s0" in finding
    assert "identical\ttest\ttrain\ts2\ts0\t1\n" in (tmp_path / "check" / "pairs.tsv").read_text()


def test_names_that_look_like_formulas_are_drawn_as_they_are(tmp_path: Path) -> None:
    with write_store(tmp_path / "s.h5", PROTEIN) as writer:
        writer.add_contigs(["a", "b"], np.arange(20).astype(np.uint8), np.array([10, 10]))
        writer.set_targets([Target("$a_{$"), Target("b^$x$")])
        writer.add_labels(writer.layout.pack(np.eye(2)))
        writer.set_samples(Views(np.arange(2), np.zeros(2, int), np.full(2, 10), np.ones(2, int)), np.array([0, 2]))
        writer.finish({"notes": []})
    check_store(Store(tmp_path / "s.h5"), tmp_path / "check")
    assert (tmp_path / "check" / "classes.png").stat().st_size > 1000


def test_groups_in_two_splits_are_named(tmp_path: Path) -> None:
    with write_store(tmp_path / "s.h5", PROTEIN) as writer:
        writer.add_contigs(["a", "b", "c"], np.arange(20).astype(np.uint8)[:18], np.array([6, 6, 6]))
        writer.set_targets([Target("t")])
        writer.add_labels(writer.layout.pack(np.ones((3, 1))))
        views = Views(np.arange(3), np.zeros(3, int), np.full(3, 6), np.ones(3, int))
        writer.set_samples(views, np.array([0, 2, 2]), (np.array([0, 0, 1]), ["torn", "whole"]))
        writer.finish({"notes": []})
    found = findings(check_store(Store(tmp_path / "s.h5"), tmp_path / "check"))
    assert found["groups"][0] == "note"
    assert "1 of 2 groups are in more than one split: torn." in found["groups"][1]


def test_a_clean_store_passes_with_pictures_and_a_page_of_its_own(tmp_path: Path, proteins: list[np.ndarray]) -> None:
    store = store_of(tmp_path / "s.h5", PROTEIN, proteins, [0] * 30 + [1] * 5 + [2] * 5)
    main(["data", "check", str(store.path), "--out", str(tmp_path / "check")])
    page = (tmp_path / "check" / "check.html").read_text()
    assert "No leakage was found" in page
    assert page.count('src="data:image/png;base64,') == 3
    assert "http" not in page
    for name in ("classes", "lengths", "composition"):
        picture = matplotlib.image.imread(tmp_path / "check" / f"{name}.png")
        assert picture.shape[0] > 200
        assert picture[..., :3].std() > 0.05


def test_leakage_ends_the_command_with_1(tmp_path: Path, proteins: list[np.ndarray]) -> None:
    store = store_of(tmp_path / "s.h5", PROTEIN, [*proteins, proteins[0]], [0] * 40 + [2])
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(store.path), "--out", str(tmp_path / "check")])
    assert ended.value.code == 1


@pytest.mark.parametrize("num_targets", [2, 400])
def test_empty_classes_unknown_letters_and_missing_splits_are_told(tmp_path: Path, num_targets: int) -> None:
    generator = np.random.default_rng(0)
    sequences = [generator.integers(0, 20, 60) for _ in range(400)]
    for sequence in sequences:
        sequence[:3] = PROTEIN.unknown_token
    store = store_of(tmp_path / "s.h5", PROTEIN, sequences, [0] * 399 + [2], num_targets)
    found = findings(check_store(store, tmp_path / "check"))
    assert found["letters"] == ("note", "5.00% of the residues that samples read are X (unknown).")
    if num_targets == 2:
        assert found["classes of test"] == ("note", "1 of 2 have no example: c0.")
        assert "200 are 'c0' and 199 'c1', which is 1 to 1" in found["balance"][1]
    else:
        assert found["classes of test"][1].startswith("399 of 400 have no example: c0, c1,")
        assert found["classes of train"] == ("note", "1 of 400 have no example: c399.")
        assert found["classes of test"][1].endswith(", ...")
        assert found["balance"] == ("ok", "Training samples of each target that has any: 1.")


def test_a_store_of_one_split_says_that_there_is_nothing_to_compare(tmp_path: Path, proteins: list[np.ndarray]) -> None:
    found = findings(check_store(store_of(tmp_path / "s.h5", PROTEIN, proteins, [0] * 40), tmp_path / "check"))
    assert found["splits"] == ("note", "All samples are in one split, so there is nothing to compare.")


def genome(path: Path, views: Views, split: np.ndarray, plant: bool = True) -> Store:
    generator = np.random.default_rng(4)
    chromosomes = [generator.integers(0, 4, 5000).astype(np.uint8) for _ in range(3)]
    if plant:
        chromosomes[1][2000:2150] = chromosomes[0][700:850]
        chromosomes[2][3000:3150] = reverse_complement(chromosomes[0][700:850])
    with write_store(path, DNA) as writer:
        for number, tokens in enumerate(chromosomes):
            writer.add_contigs([f"chr{number}"], tokens)
        writer.set_targets([Target("t")])
        writer.add_labels(writer.layout.pack(np.arange(len(views))[:, None] % 2))
        writer.set_samples(views, split)
        writer.finish({"source": "test", "notes": []})
    return Store(path)


def bins(width: int = 200) -> Views:
    contig = np.repeat(np.arange(3), 25)
    return Views(contig, np.tile(np.arange(25) * 200 + (200 - width) // 2, 3), np.full(75, width), np.ones(75, int))


def test_repeats_across_chromosomes_are_found_on_either_strand(tmp_path: Path) -> None:
    views = bins()
    store = genome(tmp_path / "s.h5", views, views.contig.copy())
    by_splits = {found.splits: found for found in repeats(store, 100)}
    assert set(by_splits) == {("valid", "train"), ("test", "train"), ("test", "valid")}
    for splits, here, there in (
        (("valid", "train"), ("chr1", 2000), ("chr0", 700)),
        (("test", "train"), ("chr2", 3000), ("chr0", 700)),
        (("test", "valid"), ("chr2", 3000), ("chr1", 2000)),
    ):
        found = by_splits[splits]
        # 150 bp hold 51 stretches of 100; a random neighbour may go on alike for a base or two.
        assert 51 <= found.positions <= 55
        assert {(name, abs(at - here[1]) <= 55) for name, at, _, _ in found.examples} == {(here[0], True)}
        assert {(name, abs(at - there[1]) <= 55) for _, _, name, at in found.examples} == {(there[0], True)}
    # 2000-2150 is in one bin; 3000-3150 too.
    assert [found.samples for found in by_splits.values()] == [1, 1, 1]
    assert not [
        found for found in repeats(genome(tmp_path / "c.h5", views, views.contig, False), 100) if found.positions
    ]
    assert findings(check_store(store, tmp_path / "check"))["repeats"][0] == "note"


def test_repeats_do_not_depend_on_how_many_positions_are_hashed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = bins()
    store = genome(tmp_path / "s.h5", views, views.contig.copy())
    found = repeats(store, 100)
    monkeypatch.setattr("seqclass.data.leakage._HASHED_AT_ONCE", 7)
    assert repeats(store, 100) == found


def test_windows_of_two_splits_that_overlap_are_a_leak(tmp_path: Path) -> None:
    views = bins(300)
    split = np.where(np.arange(75) % 25 < 20, 0, 2)
    store = genome(tmp_path / "s.h5", views, split, plant=False)
    (found,) = overlaps(store)
    # The first test window of each chromosome shares 100 bp with the last training window.
    assert (found.count, found.samples, found.of) == (3, 3, 15)
    assert found.listed == [
        (20, 19, pytest.approx(1 / 3)),
        (45, 44, pytest.approx(1 / 3)),
        (70, 69, pytest.approx(1 / 3)),
    ]
    assert findings(check_store(store, tmp_path / "check"))["overlap"][0] == "leak"


def test_a_long_sample_that_begins_far_before_is_the_one_that_overlaps(tmp_path: Path) -> None:
    start = np.array([0, *range(0, 1000, 10), 3000])
    length = np.array([5000, *[10] * 100, 100])
    views = Views(np.zeros(102, int), start, length, np.ones(102, int))
    (found,) = overlaps(genome(tmp_path / "s.h5", views, np.array([0] * 101 + [2])))
    assert found.listed == [(101, 0, 1.0)]


def test_pieces_of_one_protein_in_two_splits_are_a_leak(tmp_path: Path) -> None:
    with write_store(tmp_path / "s.h5", PROTEIN) as writer:
        writer.add_contigs(["a"], np.arange(80).astype(np.uint8) % 20)
        writer.set_targets([Target("t")])
        writer.add_labels(writer.layout.pack(np.ones((2, 1))))
        views = Views(np.zeros(2, int), np.array([0, 50]), np.array([20, 20]), np.ones(2, int))
        writer.set_samples(views, np.array([0, 2]))
        writer.finish({"notes": []})
    assert findings(check_store(Store(tmp_path / "s.h5"), tmp_path / "check"))["overlap"][0] == "leak"


def test_vectors_are_checked_for_what_can_be(tmp_path: Path) -> None:
    with write_store(tmp_path / "v.h5", PROTEIN, vectors=VectorForm(2, "float16")) as writer:
        writer.add_contigs(["a", "b"], np.zeros((3, 2), np.float16), np.array([1, 2]))
        writer.set_targets([Target("t")])
        writer.add_labels(writer.layout.pack(np.array([[1], [0]])))
        writer.set_samples(Views(np.arange(2), np.zeros(2, int), np.array([1, 2]), np.ones(2, int)), np.array([0, 2]))
        writer.finish({"notes": []})
    found = findings(check_store(Store(tmp_path / "v.h5"), tmp_path / "check"))
    assert "Vectors were not compared" in found["duplicates"][1]
    assert not (tmp_path / "check" / "composition.png").exists()


def test_homologues_beyond_k_mers_are_found_where_pyhmmer_is_there(tmp_path: Path) -> None:
    pytest.importorskip("pyhmmer", exc_type=ImportError)
    generator = np.random.default_rng(2)
    family = generator.integers(0, 20, 150)
    # Two members at about 35 % identity share hardly a 5-mer.
    members = [np.where(generator.random(150) < 0.4, generator.integers(0, 20, 150), family) for _ in range(2)]
    others = [generator.integers(0, 20, 150) for _ in range(30)]
    store = store_of(tmp_path / "s.h5", PROTEIN, [members[0], *others, members[1]], [0] * 31 + [2])
    found = findings(check_store(store, tmp_path / "check"))
    assert found["test and train"][0] == "ok"
    assert found["homology"][0] == "note"
    assert "1 of 1 of the other test samples" in found["homology"][1]
    assert "s31 and s0" in found["homology"][1]


def test_without_pyhmmer_the_check_says_so(
    tmp_path: Path, proteins: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqclass.data.check.best_hits", lambda *_, **__: None)
    store = store_of(tmp_path / "s.h5", PROTEIN, proteins, [0] * 35 + [2] * 5)
    assert "pip install pyhmmer" in findings(check_store(store, tmp_path / "check"))["homology"][1]


def test_a_check_replaces_only_a_check(tmp_path: Path, proteins: list[np.ndarray]) -> None:
    store = store_of(tmp_path / "s.h5", PROTEIN, proteins, [0] * 35 + [2] * 5)
    check_store(store, tmp_path / "check")
    with pytest.raises(OutputExistsError):
        check_store(store, tmp_path / "check")
    check_store(store, tmp_path / "check", force=True)
    with pytest.raises(SourceError, match="a level of 0"):
        check_store(store, tmp_path / "other", level=0)
