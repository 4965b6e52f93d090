"""An ensemble against its closed form, and as a bundle like any other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.data.store import Store
from seqclass.ensemble import join_bundles
from seqclass.errors import AssemblyError, BundleError, UnknownNameError
from seqclass.evaluation.evaluate import evaluate
from seqclass.models import Ensemble, create_model
from seqclass.predict import predict, probabilities, score_samples
from seqclass.targets import Target

CHANCES = st.floats(0.01, 0.99)


def members(count: int, **options: object) -> list[torch.nn.Module]:
    return [create_model("kmer_logreg", num_targets=3, k=2, **options) for _ in range(count)]


@given(st.lists(st.tuples(CHANCES, CHANCES, CHANCES), min_size=1, max_size=7))
def test_a_majority_decides_and_the_mean_decides_between_equals(said: list[tuple[float, ...]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ensemble = Ensemble(members(len(said)), "majority")
    joint = ensemble.combine(torch.tensor(said, dtype=torch.float64).unsqueeze(1))[0]
    for column in range(3):
        each = [row[column] for row in said]
        votes, mean = sum(value > 0.5 for value in each), sum(each) / len(each)
        assert joint[column].item() == pytest.approx((votes + mean) / (len(each) + 1))
        if 2 * votes != len(each):
            assert (joint[column] > 0.5) == (2 * votes > len(each))
        elif abs(mean - 0.5) > 1e-9:
            assert (joint[column] > 0.5) == (mean > 0.5)


def test_votes_for_one_class_of_an_exclusive_group() -> None:
    ensemble = Ensemble(members(5), "majority", [[0, 1, 2]])
    said = torch.tensor(
        [[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.05, 0.9, 0.05], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]]
    ).unsqueeze(1)
    joint = ensemble.combine(said)[0]
    # Two votes each for the first two classes; the second has the higher mean.
    torch.testing.assert_close(joint, (torch.tensor([2.0, 2.0, 1.0]) + said[:, 0].mean(dim=0)) / 6)
    assert joint.argmax() == 1
    assert joint.sum().item() == pytest.approx(1)


def test_the_mean_is_the_mean_of_probabilities() -> None:
    ensemble = create_model("protenn", num_targets=3, channels=8, bottleneck=4, dilations=(1,), members=3).eval()
    assert isinstance(ensemble, Ensemble)
    tokens = torch.randint(0, 20, (4, 30))
    each = torch.stack([torch.sigmoid(member(tokens)) for member in ensemble.members])
    torch.testing.assert_close(torch.sigmoid(ensemble(tokens)), each.mean(dim=0), rtol=1e-4, atol=1e-6)
    grouped = Ensemble(list(ensemble.members), "mean", [[0, 2]]).eval()
    shares = torch.stack([torch.softmax(member(tokens)[:, [0, 2]], dim=1) for member in ensemble.members]).mean(dim=0)
    torch.testing.assert_close(torch.softmax(grouped(tokens)[:, [0, 2]], dim=1), shares, rtol=1e-4, atol=1e-6)


def test_an_even_number_of_voters_warns() -> None:
    with pytest.warns(UserWarning, match="2 members can be split evenly in a vote"):
        Ensemble(members(2), "majority")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ensemble(members(3), "majority")
        Ensemble(members(2), "mean")


def test_members_that_do_not_agree_are_refused() -> None:
    with pytest.raises(AssemblyError, match="without members"):
        Ensemble([])
    with pytest.raises(AssemblyError, match="differ in alphabet: dna and protein"):
        Ensemble(members(1) + members(1, alphabet="protein"))
    with pytest.raises(AssemblyError, match="differ in num_targets: 2 and 3"):
        Ensemble([*members(1), create_model("kmer_logreg", num_targets=2)])
    with pytest.raises(AssemblyError, match="exclusive groups of columns"):
        Ensemble(members(1), "mean", [[0, 1], [1, 2]])
    with pytest.raises(UnknownNameError, match="no vote 'median'"):
        Ensemble(members(1), "median")


@pytest.fixture
def three(make_bundle: Callable[..., Bundle]) -> list[Bundle]:
    return [make_bundle(hidden=size, bin=32) for size in (12, 16, 20)]


@pytest.mark.parametrize("vote", ["mean", "majority"])
def test_a_joint_bundle_is_saved_scored_and_evaluated_like_any(
    three: list[Bundle], make_store: Callable[..., Store], tmp_path: Path, vote: str
) -> None:
    join_bundles(three, vote).save(tmp_path / "joint")
    joint, store = Bundle.load(tmp_path / "joint"), make_store()
    samples = np.arange(60)
    each = np.stack([score_samples(bundle, store, samples) for bundle in three])
    expected = each.mean(axis=0)
    if vote == "majority":
        expected = ((each > 0.5).sum(axis=0) + expected) / 4
    np.testing.assert_allclose(score_samples(joint, store, samples), expected, rtol=1e-4, atol=1e-5)
    metrics = evaluate(joint, store, tmp_path / "report", baselines=False, min_positives=1)
    assert metrics["model"]


def test_predictions_of_an_ensemble_say_how_far_its_members_disagree(three: list[Bundle], tmp_path: Path) -> None:
    named = [("one", "ACGT" * 16), ("two", "GGCA" * 16)]
    joint = join_bundles(three)
    each = np.stack([[one.probabilities for one in predict(bundle, named)] for bundle in three])
    for row, prediction in enumerate(predict(joint, named)):
        assert prediction.spread is not None
        np.testing.assert_allclose(prediction.probabilities, each[:, row].mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(prediction.spread, each[:, row].std(axis=0), rtol=1e-3, atol=1e-7)
    assert next(iter(predict(three[0], named))).spread is None
    tokens = torch.randint(0, 4, (2, 64))
    assert torch.equal(probabilities(joint, tokens), probabilities(joint, tokens))


def test_bundles_of_different_targets_are_not_joined(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    one, two = make_bundle(), make_bundle()
    two.targets = [Target("t0"), Target("other"), Target("t2")]
    with pytest.raises(BundleError, match=r"its targets \(t0, other, t2\) differ from those of the first"):
        join_bundles([one, two])
    with pytest.raises(BundleError, match="no bundles to join"):
        join_bundles([])


def test_the_command_joins_and_predicts(
    three: list[Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for number, bundle in enumerate(three):
        bundle.save(tmp_path / str(number))
        paths.append(str(tmp_path / str(number)))
    main(["models", "join", *paths[:2], "--vote", "majority", "--out", str(tmp_path / "joint")])
    told = capsys.readouterr().err
    assert "warning: 2 members can be split evenly" in told
    assert "2 models, 3 targets" in told
    (tmp_path / "in.fa").write_text(">a\n" + "ACGT" * 16 + "\n")
    main(["predict", str(tmp_path / "joint"), str(tmp_path / "in.fa"), "--out", str(tmp_path / "out.tsv")])
    header, row = (tmp_path / "out.tsv").read_text().splitlines()
    assert header.split("\t")[3:] == ["t0", "t1", "t2", "t0:spread", "t1:spread", "t2:spread"]
    assert len(row.split("\t")) == 9
    with pytest.raises(SystemExit):
        main(["models", "join", *paths, "--out", str(tmp_path / "joint")])
    assert "--force" in capsys.readouterr().err
