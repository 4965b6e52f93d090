"""An ensemble against its closed form, and as a bundle like any other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
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


@pytest.mark.parametrize("vote", ["mean", "majority"])
def test_what_is_learned_of_exclusive_classes_is_what_is_predicted(vote: str) -> None:
    ensemble = create_model(
        "protenn",
        num_targets=4,
        channels=8,
        bottleneck=4,
        dilations=(1,),
        members=3,
        vote=vote,
        exclusive=[[0, 1, 3]],
    ).eval()
    for parameter in ensemble.parameters():
        torch.nn.init.normal_(parameter)
    targets = [Target("a", "family"), Target("b", "family"), Target("flag"), Target("c", "family")]
    bundle = Bundle(ensemble, targets, [1] * 4, exclusive=["family"])
    tokens = torch.randint(0, 20, (50, 30))
    logits, predicted = ensemble(tokens), probabilities(bundle, tokens)
    torch.testing.assert_close(torch.softmax(logits[:, [0, 1, 3]], dim=1), predicted[:, [0, 1, 3]])
    torch.testing.assert_close(torch.sigmoid(logits[:, 2]), predicted[:, 2])


def test_the_gradient_of_exclusive_classes_is_that_of_the_mean_share() -> None:
    sizes = {"channels": 8, "bottleneck": 4, "dilations": (1,)}
    ensemble = create_model("protenn", num_targets=3, members=3, exclusive=[[0, 2]], **sizes).eval()
    tokens, classes = torch.randint(0, 20, (6, 30)), torch.randint(0, 2, (6,))
    loss = torch.nn.functional.cross_entropy(ensemble(tokens)[:, [0, 2]], classes)
    shares = torch.stack([torch.softmax(member(tokens)[:, [0, 2]], dim=1) for member in ensemble.members]).mean(dim=0)
    by_hand = -shares[torch.arange(6), classes].log().mean()
    weights = [parameter for name, parameter in ensemble.named_parameters() if name.endswith("weight")]
    for one, two in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(by_hand, weights), strict=True):
        assert two.any()
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)


def test_an_ensemble_trained_on_classes_knows_them(tmp_path: Path) -> None:
    main(["data", "simulate", "fasta", "--out", str(tmp_path / "data"), "--proteins", "120"])
    store = tmp_path / "store.h5"
    where = ["--label-regex", r"class=(\S+)", "--split-regex", r"split=(\S+)", "--out", str(store)]
    main(["data", "import", "fasta", str(tmp_path / "data" / "proteins.fasta"), "--alphabet", "protein", *where])
    model = ["--model=protenn", "--model.channels=8", "--model.bottleneck=4", "--model.dilations=[1]"]
    quick = ["--trainer.max_epochs=1", "--trainer.precision=32-true", "--baselines=false"]
    main(["fit", *model, f"--data.store={store}", f"--out={tmp_path / 'run'}", *quick])
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    tokens = torch.randint(0, 20, (9, 50))
    torch.testing.assert_close(torch.softmax(bundle.model(tokens), dim=1), probabilities(bundle, tokens))


def test_penalties_of_members_add_up() -> None:
    sizes = {"length": 200, "widths": (6, 6, 6), "hidden": 5}
    pair = [create_model("deepsea", num_targets=2, l1=0.1, l2=l2, **sizes) for l2 in (0.2, 0.3)]
    ensemble = Ensemble(pair).eval()
    tokens = torch.randint(0, 4, (3, 200))
    logits, penalty = ensemble.penalised(tokens)
    assert torch.equal(logits, ensemble(tokens))
    torch.testing.assert_close(penalty, sum(member.penalised(tokens)[1] for member in pair))
    assert Ensemble(members(2)).penalised(tokens)[1] == 0


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


def test_an_ensemble_of_ensembles_is_a_bundle_too(three: list[Bundle], tmp_path: Path) -> None:
    nested = join_bundles([join_bundles(three[:2]), three[2]])
    nested.save(tmp_path / "nested")
    named = [("one", "ACGT" * 16), ("two", "GGCA" * 16)]
    again = Bundle.load(tmp_path / "nested")
    each = np.stack([[one.probabilities for one in predict(bundle, named)] for bundle in three])
    expected = (each[:2].mean(axis=0) + each[2]) / 2
    scores = np.stack([one.probabilities for one in predict(again, named)])
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)
    assert np.array_equal(scores, [one.probabilities for one in predict(nested, named)])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"targets": [Target("t0"), Target("other"), Target("t2")]}, r"its targets \(t0, other, t2\)"),
        ({"exclusive": ["kind"]}, r"its exclusive groups \(kind\)"),
        ({"window": 80}, r"its window \(80\)"),
        ({"bin": 8}, r"its bin \(8\)"),
    ],
)
def test_bundles_of_different_questions_are_not_joined(
    make_bundle: Callable[..., Bundle], change: dict[str, object], told: str
) -> None:
    one, two = make_bundle(), replace(make_bundle(), **change)
    with pytest.raises(BundleError, match=f"{told} differ from those of the first"):
        join_bundles([one, two])


def test_no_bundles_are_not_joined() -> None:
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
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Bundle.load(tmp_path / "joint")  # it was said once
    (tmp_path / "in.fa").write_text(">a\n" + "ACGT" * 16 + "\n")
    main(["predict", str(tmp_path / "joint"), str(tmp_path / "in.fa"), "--out", str(tmp_path / "out.tsv")])
    header, row = (tmp_path / "out.tsv").read_text().splitlines()
    assert header.split("\t")[3:9] == ["t0", "t1", "t2", "t0:spread", "t1:spread", "t2:spread"]
    assert len(row.split("\t")) == len(header.split("\t"))
    with pytest.raises(SystemExit):
        main(["models", "join", *paths, "--out", str(tmp_path / "joint")])
    assert "--force" in capsys.readouterr().err
