import h5py
import numpy as np
import pytest
from scipy.stats import binomtest

from seqclass.errors import EvaluationError
from seqclass.evaluation.blocks import Blocks
from seqclass.evaluation.compare import compare_runs
from seqclass.evaluation.multilabel import measure
from seqclass.evaluation.paired import Figure, compare_figures, mcnemar
from seqclass.evaluation.predictions import load_predictions
from seqclass.evaluation.report import write_report
from seqclass.targets import Target

SAMPLES = 600


def write(folder, noise, *, flip=0, names=("a", "b", "c"), ids=None):
    """A report of three yes-or-no targets and four classes, of scores with so much noise."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(SAMPLES, 3))
    truth = random.integers(0, 4, SAMPLES)
    labels = np.concatenate([random.random((SAMPLES, 3)) < 1 / (1 + np.exp(-2 * logits)), np.eye(4)[truth]], axis=1)
    labels = labels.astype(np.int8)
    labels[:flip, 0] = 1 - labels[:flip, 0]
    clean = np.concatenate([logits, 2 * np.eye(4)[truth]], axis=1)
    scores = clean + noise * np.random.default_rng(1).normal(size=clean.shape)
    write_report(
        folder,
        labels=labels,
        scores=scores.astype(np.float32),
        targets=[*(Target(name) for name in names), *(Target(f"class {number}", "kind") for number in range(4))],
        train_positives=labels.sum(axis=0),
        provenance={},
        baselines={},
        exclusive=["kind"],
        ids=ids,
        blocks=Blocks(np.arange(SAMPLES) // 4, "fours"),
    )
    return labels, scores.astype(np.float32)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (3, 9), (9, 3), (150, 101), (5, 5)])
def test_mcnemar_is_the_exact_binomial_test(only_first, only_second):
    first = np.array([True] * only_first + [False] * only_second + [True] * 7 + [False] * 2)
    second = np.array([False] * only_first + [True] * only_second + [True] * 7 + [False] * 2)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    discordant = only_first + only_second
    expected = binomtest(only_first, discordant).pvalue if discordant else 1.0
    assert found.p_value == pytest.approx(expected)


def test_the_winner_is_named_whichever_it_is_and_a_draw_is_called_one():
    random = np.random.default_rng(0)
    shared = random.normal(0, 0.05, 500)
    good, bad = (Figure(value, value + shared + random.normal(0, 0.01, 500)) for value in (0.8, 0.7))
    assert compare_figures("F1", ("x", "y"), good, bad, 50)["verdict"].startswith("x is better than y: F1 +0.1000")
    assert compare_figures("F1", ("x", "y"), bad, good, 50)["verdict"].startswith("x is worse than y: F1 -0.1000")
    assert "no difference shown" in compare_figures("F1", ("x", "y"), good, good, 50)["verdict"]


def test_pairing_sees_a_difference_that_separate_intervals_hide():
    shared = np.random.default_rng(1).normal(0, 0.05, 500)
    found = compare_figures("F1", ("x", "y"), Figure(0.72, 0.72 + shared), Figure(0.70, 0.70 + shared), 50)
    assert found["interval"] == pytest.approx([0.02, 0.02])


def test_runs_are_compared_by_what_their_reports_hold(tmp_path):
    labels, scores = write(tmp_path / "good/report", 0.5)
    write(tmp_path / "bad/report", 2.0)
    found = compare_runs([tmp_path / "bad", tmp_path / "good/report"])
    bad, good = found["runs"].values()
    targets = load_predictions(tmp_path / "good").targets
    expected = measure(labels, scores, targets, np.ones(7, dtype=int)).average_precision.mean()
    assert good["mean average precision"]["value"] == pytest.approx(expected)
    assert good["kind: accuracy"]["value"] > bad["kind: accuracy"]["value"]
    low, high = good["mean average precision"]["interval"]
    assert low < expected < high
    ranking, classes = found["comparisons"]
    assert "bad is worse than" in ranking["verdict"]
    assert ranking["interval"][1] < 0
    assert classes["mcnemar"]["p_value"] < 1e-6
    assert classes["mcnemar"]["only_second_right"] > classes["mcnemar"]["only_first_right"]
    assert found["bootstrap"]["blocks"] == 150


def test_three_runs_are_compared_two_by_two(tmp_path):
    for name, noise in (("a", 0.5), ("b", 1.0), ("c", 2.0)):
        write(tmp_path / name, noise)
    found = compare_runs([tmp_path / name for name in "abc"])
    assert len(found["runs"]) == 3
    assert len(found["comparisons"]) == 2 * 3


def test_predictions_come_back_as_they_were_and_lie_target_by_target_on_disk(tmp_path):
    names = [f"chr1:{number}-{number + 1}" for number in range(SAMPLES)]
    labels, scores = write(tmp_path / "report", 1.0, ids=names)
    back = load_predictions(tmp_path)
    np.testing.assert_array_equal(back.labels, labels)
    np.testing.assert_array_equal(back.scores, scores)
    assert back.ids == names
    assert back.exclusive == ["kind"]
    np.testing.assert_array_equal(back.blocks.index, np.arange(SAMPLES) // 4)
    with h5py.File(tmp_path / "report/predictions.h5") as file:
        assert file["scores"].shape == (7, SAMPLES)
        assert file["scores"].dtype == np.float32


def test_runs_that_cannot_be_compared_are_refused_with_the_reason(tmp_path):
    write(tmp_path / "a", 0.5)
    write(tmp_path / "targets", 0.5, names=("a", "b", "x"))
    write(tmp_path / "samples", 0.5, ids=[f"s{number}" for number in range(SAMPLES)])
    write(tmp_path / "labels", 0.5, flip=1)
    for name, reason in (
        ("targets", "7 targets that are not"),
        ("samples", "600 samples that are not"),
        ("labels", "labels that are not"),
    ):
        with pytest.raises(EvaluationError, match=reason):
            compare_runs([tmp_path / "a", tmp_path / name])
    with pytest.raises(EvaluationError, match="two or more"):
        compare_runs([tmp_path / "a"])
    with pytest.raises(EvaluationError, match="named twice"):
        compare_runs([tmp_path / "a", tmp_path / "a/../a"])
    with pytest.raises(EvaluationError, match=r"there is no predictions\.h5"):
        compare_runs([tmp_path / "a", tmp_path])


def test_damaged_and_newer_predictions_are_refused(tmp_path):
    write(tmp_path / "a", 0.5)
    path = tmp_path / "a/predictions.h5"
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 99
    with pytest.raises(EvaluationError, match="newer"):
        load_predictions(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"text"):
        path.write_bytes(damaged)
        with pytest.raises(EvaluationError, match="damaged"):
            load_predictions(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(EvaluationError, match="another kind"):
        load_predictions(path)
