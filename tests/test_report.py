import io
import json

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    classification_report,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from seqclass.errors import EvaluationError, OutputExistsError, SeqclassError
from seqclass.evaluation.multilabel import Baseline
from seqclass.evaluation.report import show_report, summary_table, write_report
from seqclass.evaluation.text import sentences
from seqclass.targets import Target


def job(num_targets, groups=("",)):
    """A model that knows something, a baseline that knows nothing."""
    random = np.random.default_rng(0)
    labels = (random.random((300, num_targets)) < 0.2).astype(np.uint8)
    return {
        "labels": labels,
        "scores": (random.standard_normal(labels.shape) + 2 * labels).astype(np.float32),
        "targets": [Target(f"target [{number}]", groups[number % len(groups)]) for number in range(num_targets)],
        "train_positives": np.arange(num_targets) + 1,
        "provenance": {"data": {"sha256": "0123"}, "split": "test", "seed": 0},
        "baselines": {"coin_toss": Baseline(random.random(labels.shape).astype(np.float32), {"seed": 0})},
    }


def printed(table):
    screen = io.StringIO()
    Console(width=80, file=screen).print(table)
    return screen.getvalue()


@pytest.mark.parametrize("num_targets", [1, 4, 30])
def test_the_report_holds_what_scikit_learn_measures(tmp_path, num_targets):
    work = job(num_targets)
    metrics = write_report(tmp_path / "report", **work)
    assert json.loads((tmp_path / "report/metrics.json").read_text()) == metrics
    assert metrics["provenance"] == work["provenance"]
    assert metrics["baselines"]["coin_toss"]["settings"] == {"seed": 0}
    for scores, found in (
        (work["scores"], metrics["model"]),
        (work["baselines"]["coin_toss"].scores, metrics["baselines"]["coin_toss"]),
    ):
        assert found["auroc"]["mean"] == pytest.approx(roc_auc_score(work["labels"], scores), abs=1e-9)
        expected = average_precision_score(work["labels"], scores)
        assert found["average_precision"]["mean"] == pytest.approx(expected, abs=1e-9)
    lines = (tmp_path / "report/per_target.tsv").read_text().splitlines()
    assert len(lines) == 1 + num_targets
    assert lines[0].endswith("average_precision:coin_toss\tauroc:coin_toss")


def test_the_same_inputs_give_the_same_files_to_the_last_byte(tmp_path):
    for name in ("one", "two"):
        write_report(tmp_path / name, **job(30, ("TF", "DNase")))
    for name in ("metrics.json", "per_target.tsv", "curves.png", "report.txt", "index.html", "predictions.h5"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_curves_differ_when_the_scores_do(tmp_path):
    work = job(3)
    write_report(tmp_path / "one", **work)
    write_report(tmp_path / "two", **work | {"scores": -work["scores"]})
    one, two = (imread(tmp_path / name / "curves.png") for name in ("one", "two"))
    assert one.shape[1] > 1000
    assert (one.shape != two.shape) or (one != two).any()


def test_few_targets_are_shown_one_by_one_and_many_as_means(tmp_path):
    few = write_report(tmp_path / "few", **job(2))
    text = printed(summary_table(few))
    assert "target [0]" in text
    assert f"{few['per_target'][1]['average_precision']['coin_toss']:.3f}" in text
    assert f"{few['model']['auroc']['mean']:.3f}" in text
    many = write_report(tmp_path / "many", **job(30, ("TF", "DNase")))
    assert "per_target" not in many
    text = printed(summary_table(many))
    assert "target [0]" not in text
    assert f"{many['model']['groups']['DNase']['average_precision']['median']:.3f}" in text
    assert f"{many['baselines']['coin_toss']['auroc']['weighted_mean']:.3f}" in text


def test_targets_left_out_are_named_in_the_file_and_on_the_screen(tmp_path):
    work = job(3)
    work["labels"][:, 1] = 0
    metrics = write_report(tmp_path / "report", **work)
    assert metrics["left_out"] == ["target [1]"]
    assert metrics["model"]["targets"] == 2
    assert metrics["per_target"][1]["auroc"] == {"model": None, "coin_toss": None}
    assert "target [1]" in printed(summary_table(metrics)).split("left out")[1]


@pytest.mark.parametrize("num_targets", [3, 30])
def test_a_name_that_looks_like_a_formula_is_drawn_as_it_is(tmp_path, num_targets):
    work = job(num_targets)
    work["targets"] = [Target(rf"$\frac$ {number}", r"$\group_$") for number in range(num_targets)]
    work["baselines"] = {r"$\sqrt$": work["baselines"]["coin_toss"]}
    write_report(tmp_path / "report", **work)
    assert imread(tmp_path / "report/curves.png").std() > 0


def test_only_a_report_is_replaced_by_a_report(tmp_path):
    work = job(2)
    write_report(tmp_path / "report", **work)
    write_report(tmp_path / "report", **work, force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    with pytest.raises(SeqclassError, match="holds other things than"):
        write_report(tmp_path / "other", **work, force=True)
    assert (tmp_path / "other/thesis.txt").read_text() == "mine"


def test_a_report_without_any_positive_is_still_a_report(tmp_path):
    work = job(3)
    work["labels"][:] = 0
    metrics = write_report(tmp_path / "report", **work)
    assert metrics["model"]["auroc"]["mean"] is None
    assert (tmp_path / "report/curves.png").stat().st_size > 1000


def test_nothing_is_left_behind_when_scores_are_bad_and_nothing_is_replaced_unasked(tmp_path):
    work = job(3)
    write_report(tmp_path / "report", **work)
    before = (tmp_path / "report/metrics.json").read_bytes()
    with pytest.raises(OutputExistsError):
        write_report(tmp_path / "report", **work)
    work["scores"][0, 0] = np.nan
    with pytest.raises(EvaluationError, match="NaN"):
        write_report(tmp_path / "report", **work, force=True)
    with pytest.raises(EvaluationError, match="NaN"):
        write_report(tmp_path / "new", **work)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert (tmp_path / "report/metrics.json").read_bytes() == before


def test_the_model_is_compared_with_every_baseline_and_the_better_is_named(tmp_path):
    work = job(4)
    work["baselines"]["oracle"] = Baseline(work["labels"].astype(np.float32), {})
    metrics = write_report(tmp_path / "report", **work)
    coin, oracle = metrics["comparisons"]
    assert coin["verdict"].startswith("model is better than coin toss: mean average precision +")
    assert oracle["verdict"].startswith("model is worse than oracle: mean average precision -")
    page, text = ((tmp_path / "report" / name).read_text() for name in ("index.html", "report.txt"))
    assert all(each["verdict"] in page and each["verdict"] in text for each in metrics["comparisons"])
    for means in (metrics["model"], *metrics["baselines"].values()):
        for metric in ("average_precision", "auroc"):
            low, high = means[metric]["interval"]
            assert low <= means[metric]["mean"] <= high


def test_groups_of_targets_have_intervals_which_for_a_group_of_one_is_the_targets_own(tmp_path):
    work = job(4)
    work["targets"] = [Target(f"t{number}", "alone" if number == 2 else "rest") for number in range(4)]
    metrics = write_report(tmp_path / "report", **work)
    header, *lines = [line.split("\t") for line in (tmp_path / "report/per_target.tsv").read_text().splitlines()]
    row = dict(zip(header, lines[2], strict=True))
    for metric in ("average_precision", "auroc"):
        low, high = metrics["model"]["groups"]["alone"][metric]["interval"]
        assert [low, high] == pytest.approx([float(row[f"{metric}_low"]), float(row[f"{metric}_high"])], abs=1e-5)
        low, high = metrics["model"]["groups"]["rest"][metric]["interval"]
        assert low < metrics["model"]["groups"]["rest"][metric]["mean"] < high


def test_each_target_has_its_interval_and_its_calls_in_the_table(tmp_path):
    work = job(3)
    work["scores"] = 1 / (1 + np.exp(-work["scores"]))
    write_report(tmp_path / "report", **work)
    header, *lines = [line.split("\t") for line in (tmp_path / "report/per_target.tsv").read_text().splitlines()]
    for column, line in enumerate(lines):
        row = dict(zip(header, line, strict=True))
        assert float(row["average_precision_low"]) < float(row["average_precision"])
        assert float(row["average_precision"]) < float(row["average_precision_high"])
        labels, scores = work["labels"][:, column], work["scores"][:, column]
        assert float(row["f1"]) == pytest.approx(f1_score(labels, scores >= 0.5), abs=1e-5)
        assert float(row["brier_score"]) == pytest.approx(brier_score_loss(labels, scores), abs=1e-5)
        best = max(f1_score(labels, scores >= threshold) for threshold in scores)
        assert float(row["max_f1"]) == pytest.approx(best, abs=1e-5)


def test_scores_that_are_no_probabilities_are_neither_called_nor_held_to_their_word(tmp_path):
    metrics = write_report(tmp_path / "report", **job(3))
    assert "calls" not in metrics
    assert "probabilities" not in metrics
    assert not (tmp_path / "report/reliability.png").exists()


def test_classes_have_figures_with_intervals_and_ten_of_them_are_called_q10(tmp_path):
    random = np.random.default_rng(5)
    truth = random.integers(0, 10, 400)
    labels = np.eye(10, dtype=np.int8)[truth]
    labels[:7] = -1
    logits = random.normal(size=(400, 10)) + 2 * np.eye(10)[truth]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    metrics = write_report(
        tmp_path / "report",
        labels=labels,
        scores=scores.astype(np.float32),
        targets=[Target(f"class {number}", "location") for number in range(10)],
        train_positives=np.ones(10, dtype=int),
        provenance={},
        baselines={"majority": Baseline(np.broadcast_to(np.arange(10.0), (400, 10)), {})},
        exclusive=["location"],
    )
    model = metrics["accuracy"]["location"]["model"]
    pair = truth[7:], scores[7:].argmax(axis=1)
    assert model["samples"] == 393
    assert model["mcc"] == pytest.approx(matthews_corrcoef(*pair))
    assert model["macro_f1"] == pytest.approx(f1_score(*pair, average="macro"))
    assert model["top_3_accuracy"] == pytest.approx(top_k_accuracy_score(truth[7:], scores[7:], k=3))
    low, high = model["intervals"]["accuracy"]
    assert low < model["accuracy"] == accuracy_score(*pair) < high
    assert metrics["comparisons"][0]["mcnemar"]["p_value"] < 1e-6
    lines = (tmp_path / "report/report.txt").read_text().splitlines()
    assert lines[0].startswith(f"accuracy of location (Q10) {model['accuracy']:.3f} (")
    theirs = classification_report(*pair, target_names=[f"class {number}" for number in range(10)], digits=3)
    ours = [line.split()[:6] for line in lines if line.strip().startswith("class ")]
    assert ours == [line.split() for line in theirs.splitlines() if line.strip().startswith("class ")]
    assert "macro avg" in "\n".join(lines)


@pytest.fixture
def two_questions(tmp_path):
    """A report on three families and on four shapes, some without a label; the true and called classes of each."""
    random = np.random.default_rng(3)
    truth = np.stack([random.integers(0, 3, 120), random.integers(0, 4, 120)], axis=1)
    labels = np.concatenate([np.eye(3, dtype=np.int8)[truth[:, 0]], np.eye(4, dtype=np.int8)[truth[:, 1]]], axis=1)
    labels[:9, 3:] = -1
    scores = (labels + 2 * random.random(labels.shape)).astype(np.float32)
    scores[:, 2] += 2 * labels[:, 2]
    write_report(
        tmp_path / "report",
        labels=labels,
        scores=scores,
        targets=[Target(f"{group}{n}", group) for group, size in (("family", 3), ("shape", 4)) for n in range(size)],
        train_positives=np.ones(7, dtype=int),
        provenance={},
        baselines={},
        exclusive=["family", "shape"],
    )
    called = np.stack([scores[:, :3].argmax(axis=1), scores[:, 3:].argmax(axis=1)], axis=1)
    return tmp_path / "report", {"family": (truth[:, 0], called[:, 0]), "shape": (truth[9:, 1], called[9:, 1])}


def test_the_confusion_matrix_of_each_question_is_that_of_scikit_learn(two_questions):
    report, pairs = two_questions
    header, *lines = [line.split("\t") for line in (report / "confusion.tsv").read_text().splitlines()]
    assert header == ["group", "true", "called", "samples"]
    for group, pair in pairs.items():
        matrix = confusion_matrix(*pair)
        found = np.zeros_like(matrix)
        for _, true, called, samples in (line for line in lines if line[0] == group):
            found[int(true[-1]), int(called[-1])] = int(samples)
        np.testing.assert_array_equal(found, matrix)
    assert imread(report / "confusion.png").std() > 0
    assert "Which class is taken for which" in (report / "index.html").read_text()


def test_each_class_has_its_recall_with_an_interval_that_goes_by_its_own_samples(two_questions):
    report, pairs = two_questions
    header, *lines = [line.split("\t") for line in (report / "per_target.tsv").read_text().splitlines()]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    recalls = np.concatenate([recall_score(*pair, average=None) for pair in pairs.values()])
    np.testing.assert_allclose([float(row["recall"]) for row in rows], recalls, atol=1e-5)
    flawless = rows[2]
    assert float(flawless["recall"]) == float(flawless["recall_high"]) == 1
    # Clopper and Pearson's, of as many samples as the class has.
    assert float(flawless["recall_low"]) == pytest.approx(0.025 ** (1 / int(flawless["positives"])), abs=1e-5)
    low, high, recall = (float(rows[4][name]) for name in ("recall_low", "recall_high", "recall"))
    # As of a share of independent samples: 1.96 standard errors, nearly.
    error = np.sqrt(recall * (1 - recall) / int(rows[4]["positives"]))
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert low < recall < high


def test_what_is_shown_on_the_screen_ends_with_the_short_text(tmp_path, capsys):
    metrics = write_report(tmp_path / "report", **job(3))
    show_report(metrics)
    said = capsys.readouterr().out
    assert said.rstrip().endswith("\n".join(sentences(metrics)))
    assert "mean average precision" in said
    assert metrics["comparisons"][0]["verdict"] in said


def test_a_probability_that_comes_true_has_no_calibration_error_to_speak_of(tmp_path):
    work = job(3)
    random = np.random.default_rng(6)
    honest = random.random((4000, 3)).astype(np.float32)
    labels = (random.random(honest.shape) < honest).astype(np.uint8)
    work |= {"labels": labels, "baselines": {}}
    found = [
        write_report(tmp_path / name, **work | {"scores": scores})["probabilities"]["targets"]
        for name, scores in (("honest", honest), ("shy", honest / 2))
    ]
    assert found[0]["calibration_error"] < 0.03
    assert found[1]["calibration_error"] == pytest.approx(0.25, abs=0.02)
    assert found[0]["brier_skill"] == pytest.approx(1 - 2 / 3, abs=0.03)
    assert found[1]["brier_skill"] < found[0]["brier_skill"]
