"""`seqclass evaluate` and `seqclass compare`, from a bundle and a store to the words on the screen."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from class_stores import make_classes, random_proteins
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef

from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.cli import main
from seqclass.data.store import Store
from seqclass.evaluation.predictions import load_predictions
from seqclass.models import create_model


@pytest.fixture
def runs(tmp_path, monkeypatch, make_store, make_bundle):
    """Two evaluated runs on the test split of one store, of models that know nothing."""
    monkeypatch.chdir(tmp_path)
    store = make_store(num_samples=400)
    for name in ("one", "two"):
        make_bundle().save(f"{name}/bundle")
        main(["evaluate", f"{name}/bundle", str(store.path), "--out", f"{name}/report", "--no-baselines"])
    return store


class Page(HTMLParser):
    """Collects what a page would fetch, and the tags it leaves open."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.sources, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_no_other_file_and_its_tags_match(runs):
    text = Path("one/report/index.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "url(" not in text
    assert "@import" not in text
    metrics = json.loads(Path("one/report/metrics.json").read_text())
    assert f"{metrics['model']['average_precision']['mean']:.3f} (" in text


def test_the_blocks_of_the_bootstrap_are_those_of_the_genome(runs):
    metrics = json.loads(Path("one/report/metrics.json").read_text())
    assert metrics["bootstrap"] == {"replicates": 1000, "blocks": 3, "block": "contigs", "level": 0.95}


def test_predictions_name_the_locus_of_each_sample_and_give_the_reported_figures(runs):
    held = load_predictions("one")
    samples = runs.distinct(runs.samples("test"))
    np.testing.assert_array_equal(held.labels, runs.known_labels(samples))
    views = runs.views[samples]
    name = runs.names(samples)[3]
    assert held.ids[3] == f"{name}:{views.start[3]}-{views.start[3] + 64}"
    found = json.loads(Path("one/report/metrics.json").read_text())["model"]["average_precision"]["mean"]
    assert found == pytest.approx(average_precision_score(held.labels, held.scores), abs=1e-9)


def test_full_text_lists_every_target_and_short_text_does_not(runs, capsys):
    capsys.readouterr()
    main(["evaluate", "one/bundle", str(runs.path), "--out", "short", "--no-baselines"])
    short = capsys.readouterr().out
    main(["evaluate", "one/bundle", str(runs.path), "--out", "full", "--no-baselines", "--full"])
    full = capsys.readouterr().out
    assert "mean average precision" in short
    assert "f1-score" not in short
    held = load_predictions("full")
    for target in range(3):
        call = held.scores[:, target] >= 0.5
        line = next(
            line.split() for line in full.split("f1-score")[1].splitlines() if line.strip().startswith(f"t{target}")
        )
        assert line[3] == f"{f1_score(held.labels[:, target], call, zero_division=0):.3f}"
        assert int(line[4]) == held.labels[:, target].sum()
    assert Path("full/report.txt").read_text().strip() in full


def test_a_calibrated_bundle_is_called_at_the_thresholds_that_validation_chose(runs, make_bundle):
    thresholds = [0.2, 0.9, 0.5]
    calibration = Calibration([1.0] * 3, [0.0] * 3, thresholds, {}, {})
    replace(make_bundle(), calibration=calibration).save("calibrated")
    main(["evaluate", "calibrated", str(runs.path), "--out", "report", "--no-baselines"])
    metrics = json.loads(Path("report/metrics.json").read_text())
    assert metrics["calls"]["thresholds"] == "thresholds chosen beforehand"
    held = load_predictions("report")
    calls = held.scores >= np.array(thresholds, dtype=np.float32)
    expected = np.mean([matthews_corrcoef(*pair) for pair in zip(held.labels.T, calls.T, strict=True)])
    assert metrics["calls"]["macro"]["mcc"] == pytest.approx(expected)


@pytest.fixture
def families(tmp_path, monkeypatch):
    """Two test proteins like one of train, one like none, and a bundle that calls everything by the first family."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    known, other, stranger = random_proteins(random, [80, 300, 80])
    held = [known, other, stranger]
    split = ["train"] * 2 + ["valid"] * 2 + ["test"] * 3
    store = make_classes(tmp_path / "p.h5", [known, other, known, other, *held], [0, 1, 0, 1, 0, 1, 1], split)
    model = create_model("kmer_logreg", num_targets=2, alphabet="protein").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    Bundle(model, list(store.targets), [1, 1], exclusive=["family"]).save("bundle")
    return store


def test_classes_are_told_apart_by_likeness_to_train_and_by_length(families, capsys):
    pytest.importorskip("pyhmmer", reason="needs the pyhmmer package")
    main(["evaluate", "bundle", "p.h5", "--out", "report", "--homology", "phmmer", "--full"])
    said = capsys.readouterr().out
    metrics = json.loads(Path("report/metrics.json").read_text())
    strata = metrics["strata"]["family"]
    assert list(strata) == ["model", *metrics["baselines"]]
    found = {name: [row["accuracy"] for row in strata[name]["strata"]["identity"]] for name in ("model", "phmmer")}
    # "none", then "above 50 %": the model says the first family of all, phmmer of what it cannot find.
    assert found == {"model": [0, 0.5], "phmmer": [0, 1]}
    assert [row["samples"] for row in strata["model"]["strata"]["length"]] == [2, 1]
    assert any("phmmer" in each["verdict"] for each in metrics["comparisons"])
    page = Path("report/index.html").read_text()
    for line in ("identity to train: none", "identity to train: above 50 %", "length: 64-127"):
        assert line in said
        assert line in page


def test_families_left_out_of_train_are_told_from_known_ones_in_the_report(families, capsys):
    random = np.random.default_rng(1)
    store = make_classes(
        Path("u.h5"), random_proteins(random, [60] * 9), [0, 1, 0, 1, 0, 1, 2, 2, 2], ["train"] * 4 + ["test"] * 5
    )
    bundle = Bundle.load("bundle")
    model = create_model("kmer_logreg", num_targets=3, alphabet="protein").eval()
    left_out = replace(bundle, model=model, targets=list(store.targets), train_positives=[2, 2, 0])
    for below, called in ((0.999, 0), (0.001, 1)):
        calibration = Calibration([], [], [], {"family": 1.0}, {"family": below})
        replace(left_out, calibration=calibration).save("left_out", force=True)
        main(["evaluate", "left_out", "u.h5", "--out", "report", "--no-baselines", "--force"])
        found = json.loads(Path("report/metrics.json").read_text())["abstention"]["family"]
        assert (found["known"], found["unknown"]) == (2, 3)
        assert (found["kept"], found["abstained"]) == (called, 1 - called)
        said = capsys.readouterr().out
        assert f"family, called from a probability of {below} on: {100 * called:.1f} % of 2 samples of known" in said
        assert f"{100 * called:.1f} % of 3 of classes that train never had" in said
        assert "Abstaining from unknown classes" in Path("report/index.html").read_text()


def test_without_alignment_there_are_no_strata_of_identity(families):
    main(["evaluate", "bundle", "p.h5", "--out", "report", "--no-baselines"])
    strata = json.loads(Path("report/metrics.json").read_text())["strata"]["family"]["model"]["strata"]
    assert list(strata) == ["length", "family_size"]


@pytest.mark.parametrize(("name", "reason"), [("phmer", "phmmer"), ("phmmer", "this store holds DNA")])
def test_alignment_that_cannot_be_is_one_line_and_writes_nothing(runs, capsys, name, reason):
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "one/bundle", str(runs.path), "--out", "new", "--homology", name])
    assert reason in capsys.readouterr().err
    assert not Path("new").exists()


def test_compare_prints_figures_and_which_is_better_in_words(runs, capsys):
    capsys.readouterr()
    main(["compare", "one", "two"])
    said = capsys.readouterr().out
    assert re.search(r"one \s*0\.\d{4} \(0\.\d{4} to 0\.\d{4}\)", said)
    assert re.search(
        r"(no difference shown between one and two|one is (better|worse) than two): mean average prec", said
    )
    assert "1,000 bootstrap replicates of 3 blocks (contigs)" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["one"], "1 runs, where two or more"),
        (["one", "nowhere"], "nowhere: there is no predictions.h5"),
        (["one", "elsewhere"], "samples that are not"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_code_2(runs, capsys, words, reason):
    main(["evaluate", "one/bundle", str(runs.path), "--split", "valid", "--out", "elsewhere", "--no-baselines"])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(["compare", *words])
    ended = capsys.readouterr()
    assert reason in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not ended.out


def test_evaluating_twice_gives_the_same_predictions(runs):
    main(["evaluate", "one/bundle", str(Store(runs.path).path), "--out", "again", "--no-baselines"])
    np.testing.assert_array_equal(load_predictions("again").scores, load_predictions("one").scores)
