"""Drift: planted shifts are found and told, and sequences of the same source are left in peace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from class_stores import make_classes
from scipy.stats import entropy, kstwobign

from seqclass.alphabets import PROTEIN
from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.cli import main
from seqclass.data.store import Store
from seqclass.drift import MOST_SAMPLES, measure_drift, place, summarise
from seqclass.drift.measure import MATTERS
from seqclass.drift.permutation import FALSE_ALARMS, compare
from seqclass.drift.sequences import draw_sequences
from seqclass.errors import BundleError, OutputExistsError
from seqclass.models import create_model
from seqclass.predict import probabilities
from seqclass.training_summary import FILE

LETTERS = np.array(list(PROTEIN.letters))
CONSENSUS = [np.random.default_rng([7, family]).permutation(np.tile(LETTERS, 3)) for family in range(4)]


def members(family: int, count: int, seed: int, low: int = 40, high: int = 60) -> list[str]:
    """Proteins of a family: stretches of its consensus, in which one residue in five is any."""
    random = np.random.default_rng([family, seed])
    found = []
    for _ in range(count):
        length = int(random.integers(low, high + 1))
        start = int(random.integers(0, 60 - length + 1))
        letters = CONSENSUS[family][start : start + length].copy()
        any_ = random.random(length) < 0.2
        letters[any_] = random.choice(LETTERS, int(any_.sum()))
        found.append("".join(letters))
    return found


def mixture(count: int, seed: int, families: tuple[int, ...] = (0, 1, 2), **lengths: int) -> list[str]:
    """As many of each family, one after the other in turn."""
    each = [members(family, -(-count // len(families)), seed, **lengths) for family in families]
    return [protein for turn in zip(*each, strict=True) for protein in turn][:count]


def write_fasta(path: Path, sequences: list[str]) -> Path:
    path.write_text("".join(f">s{number}\n{letters}\n" for number, letters in enumerate(sequences)))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Store]:
    """A bundle of three families, trained for a moment, and its store; a fourth family was left out."""
    folder = tmp_path_factory.mktemp("drift")
    train, valid = mixture(900, 0), mixture(900, 1)
    classes = [number % 3 for number in range(900)] * 2
    store = make_classes(folder / "store.h5", train + valid, classes, ["train"] * 900 + ["valid"] * 900)
    torch.manual_seed(0)
    model = create_model("protcnn_small", num_targets=3, channels=16, bottleneck=8, dilations=[1])
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(27):
        chosen = slice(step % 9 * 100, step % 9 * 100 + 100)
        loss = torch.nn.functional.cross_entropy(model(*padded(train[chosen])), torch.tensor(classes[chosen]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    calibration = Calibration([], [], [], {"family": 1.0}, {"family": 0.0})
    bundle = Bundle(model, list(store.targets), [300] * 3, exclusive=["family"], provenance={}, calibration=calibration)
    with torch.inference_mode():
        likely = probabilities(bundle, *padded(valid)).max(dim=1).values
    calibration = replace(calibration, abstain_below={"family": float(torch.quantile(likely, 0.05))})
    return summarise(replace(bundle, calibration=calibration), store), store


def padded(sequences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, sequences))
    tokens = np.full((len(sequences), longest), PROTEIN.unknown_token, dtype=np.uint8)
    for row, letters in enumerate(sequences):
        tokens[row, : len(letters)] = PROTEIN.encode(letters)
    mask = np.arange(longest) < np.array([len(letters) for letters in sequences])[:, None]
    return torch.from_numpy(tokens), torch.from_numpy(mask)


def verdicts(bundle: Bundle, fasta: Path) -> dict[str, str]:
    return {each.name: each.verdict for each in measure_drift(bundle, fasta).aspects}


def test_held_out_sequences_of_the_same_source_have_not_drifted(trained: tuple[Bundle, Store], tmp_path: Path) -> None:
    found = verdicts(trained[0], write_fasta(tmp_path / "new.fa", mixture(1500, 2)))
    assert list(found) == list(MATTERS)
    assert set(found.values()) == {"same"}


def test_another_composition_is_found_and_its_size_is_the_divergence(
    trained: tuple[Bundle, Store], tmp_path: Path
) -> None:
    sequences = [letters.replace("A", "L").replace("C", "L") for letters in mixture(600, 2)]
    drift = measure_drift(trained[0], write_fasta(tmp_path / "new.fa", sequences))
    found = drift.aspects[0]
    assert found.verdict == "shifted"

    def shares(proteins: list[str]) -> np.ndarray:
        return np.mean([[p.count(letter) / len(p) for letter in PROTEIN.letters] for p in proteins], axis=0)

    expected = entropy(shares(sequences) + 1e-4, shares(mixture(900, 0)) + 1e-4, base=2)
    assert found.shift == pytest.approx(expected, rel=1e-3)
    assert found.details[0]["name"] == "L"
    assert {each["name"] for each in found.details[:3]} == {"A", "C", "L"}


def test_other_lengths_are_found_and_nothing_else_of_the_letters(trained: tuple[Bundle, Store], tmp_path: Path) -> None:
    drift = measure_drift(trained[0], write_fasta(tmp_path / "new.fa", mixture(900, 2, low=45, high=60)))
    found = {each.name: each for each in drift.aspects}
    assert found["length"].verdict == "shifted"
    # Lengths of 40 to 44 are 5 of 21, and are not there any more.
    assert found["length"].shift == pytest.approx(5 / 21, abs=0.05)
    assert found["composition"].verdict == "same"


def test_a_family_that_was_left_out_shows_in_the_embedding(trained: tuple[Bundle, Store], tmp_path: Path) -> None:
    sequences = mixture(900, 2, families=(0, 1, 2, 3, 3, 3))
    drift = measure_drift(trained[0], write_fasta(tmp_path / "new.fa", sequences))
    found = {each.name: each for each in drift.aspects}
    assert found["embedding"].verdict == "shifted"
    # All families consist of the same letters.
    assert found["composition"].verdict == "same"
    assert found["length"].verdict == "same"


def test_more_of_one_family_shows_in_the_predictions(trained: tuple[Bundle, Store], tmp_path: Path) -> None:
    bundle, _ = trained
    valid = mixture(900, 1)
    with torch.inference_mode():
        called = probabilities(bundle, *padded(valid)).argmax(dim=1).numpy()
    assert (called == np.arange(900) % 3).mean() > 0.8
    found = measure_drift(bundle, write_fasta(tmp_path / "new.fa", mixture(900, 2, families=(1, 1, 0)))).aspects[3]
    assert found.name == "predictions"
    assert found.verdict == "shifted"
    # Of classes it is half the sum of the differences: of thirds to none, two thirds and a third.
    assert found.shift == pytest.approx(1 / 3, abs=0.08)
    assert found.details[0]["name"] in ("c1", "c2")


def test_few_sequences_are_said_to_be_few_and_a_large_shift_is_found_all_the_same(
    trained: tuple[Bundle, Store], tmp_path: Path
) -> None:
    few = verdicts(trained[0], write_fasta(tmp_path / "few.fa", mixture(12, 2)))
    assert few["length"] == few["embedding"] == few["predictions"] == "cannot say"
    assert "shifted" not in few.values()
    far = verdicts(trained[0], write_fasta(tmp_path / "far.fa", ["L" * 50] * 12))
    assert far["composition"] == far["embedding"] == "shifted"


def test_a_bundle_without_classes_or_without_a_summary_says_so(trained: tuple[Bundle, Store], tmp_path: Path) -> None:
    bundle, _ = trained
    fasta = write_fasta(tmp_path / "new.fa", mixture(30, 2))
    assert (
        measure_drift(replace(bundle, calibration=None), fasta).aspects[4].statement == "the bundle has no calibration"
    )
    with pytest.raises(BundleError, match=r"no training summary.*seqclass calibrate"):
        measure_drift(replace(bundle, summary=None), fasta)
    with pytest.raises(BundleError, match="no map"):
        place(replace(bundle, summary=None), [PROTEIN.encode("ACD")])


def test_chance_alone_is_taken_for_a_difference_as_rarely_as_is_said() -> None:
    random = np.random.default_rng(0)

    def gap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.abs(one - other).max(axis=1)

    alarms = sum(compare(random.normal(size=(80, 3)), random.normal(size=(50, 3)), gap).is_real for _ in range(120))
    # Of 120 comparisons 1.2 are expected, and more than 6 in one of 5,000 cases.
    assert alarms <= 6
    found = [compare(random.normal(size=(80, 3)), random.normal(size=(50, 3)) + 1, gap).is_real for _ in range(20)]
    assert all(found)


def test_what_chance_makes_is_what_kolmogorov_and_smirnov_say() -> None:
    random = np.random.default_rng(1)
    places = np.linspace(0, 1, 200)
    one, other = ((random.random((size, 1)) <= places).astype(float) for size in (400, 300))
    found = compare(one, other, lambda a, b: np.abs(a - b).max(axis=1))
    expected = kstwobign.ppf(1 - FALSE_ALARMS) * np.sqrt(1 / 400 + 1 / 300)
    assert found.by_chance == pytest.approx(expected, rel=0.15)


def test_the_summary_is_small_and_comes_back(trained: tuple[Bundle, Store], tmp_path: Path) -> None:
    bundle, store = trained
    bundle.save(tmp_path / "bundle")
    assert (tmp_path / "bundle" / FILE).stat().st_size < 1_000_000
    loaded = Bundle.load(tmp_path / "bundle").summary
    for name, array in vars(bundle.summary).items():
        np.testing.assert_array_equal(getattr(loaded, name), array)
    assert len(loaded.lengths) == min(MOST_SAMPLES, len(store.samples("train")))
    labels = store.classes(store.samples("train"))[:, 0]
    np.testing.assert_array_equal(loaded.labels, labels)


def test_a_training_sample_is_placed_where_the_summary_has_it(trained: tuple[Bundle, Store]) -> None:
    bundle, _ = trained
    placed = place(bundle, [PROTEIN.encode(letters) for letters in mixture(900, 0)[:40]])
    np.testing.assert_allclose(placed, bundle.summary.points[:40], atol=1e-4)


def test_the_components_are_those_of_the_singular_value_decomposition(trained: tuple[Bundle, Store]) -> None:
    bundle, _ = trained
    with torch.inference_mode():
        hidden, mask = bundle.model.features(*padded(mixture(900, 0)))
    pooled = ((hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)).numpy()
    _, spread, axes = np.linalg.svd(pooled - pooled.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(bundle.summary.explained[:3], (spread**2 / (spread**2).sum())[:3], rtol=1e-2)
    np.testing.assert_allclose(np.abs((bundle.summary.components[:3] * axes[:3]).sum(axis=1)), 1, atol=1e-2)


def test_of_many_sequences_each_has_the_same_chance(
    trained: tuple[Bundle, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqclass.drift.sequences.MOST_SEQUENCES", 200)
    fasta = write_fasta(tmp_path / "many.fa", ["A" * (1 + number) for number in range(1000)])
    sample = draw_sequences(trained[0], fasta)
    assert sample.total == 1000
    assert len(set(sample.lengths.tolist())) == len(sample.tokens) == 200
    # The mean of 200 of 1,000 numbers lies within four standard errors of theirs.
    assert abs(sample.lengths.mean() - 500.5) < 4 * np.sqrt(1000**2 / 12 / 200 * 0.8)


def test_the_command_writes_a_page_and_json_and_says_what_it_found(
    trained: tuple[Bundle, Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained[0].save(tmp_path / "bundle")
    fasta = write_fasta(tmp_path / "new.fa", mixture(300, 2, low=55))
    out = tmp_path / "drift"
    command = ["drift", str(tmp_path / "bundle"), str(fasta), "--out", str(out)]
    main(command)
    told = capsys.readouterr()
    found = json.loads((out / "drift.json").read_text())
    assert "length" in found["shifted"]
    assert found["aspects"]["length"]["statement"] in told.out
    assert "shifted: " in told.err
    page = (out / "index.html").read_text()
    assert found["aspects"]["length"]["statement"].replace(">", "&gt;") in page
    assert page.count("data:image/png;base64,") == 5
    assert not any(word in page for word in ("http://", "https://", "<script"))
    with pytest.raises(SystemExit):
        main(command)
    assert str(OutputExistsError(out)) in capsys.readouterr().err
