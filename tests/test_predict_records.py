"""What a prediction says, how letters and equal sequences are treated, and what happens when memory runs out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import seqclass
from seqclass.alphabets import DNA
from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.ensemble import join_bundles
from seqclass.errors import BundleError, DeviceMemoryError, SequenceError
from seqclass.models import create_model
from seqclass.predict import ABSTAINED, Label, Prediction, memory, portions, predict, write_predictions
from seqclass.predict.portions import RecentRows
from seqclass.predict.stretches import Stretch
from seqclass.targets import Target


@pytest.fixture
def protein() -> Bundle:
    torch.manual_seed(0)
    model = create_model("protcnn", num_targets=3, channels=16, bottleneck=8, dilations=(1,))
    return Bundle(model.eval(), [Target(name, "class") for name in "ABC"], [1] * 3, exclusive=["class"])


def letters(length: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


# What a record says


def test_a_loaded_bundle_predicts_in_one_line(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = replace(make_bundle(), provenance={"experiment": "demo"})
    bundle.save(tmp_path / "bundle")
    one, two = letters(64, 1), letters(64, 2)
    (tmp_path / "in.fa").write_text(f">one\n{one}\n>two\n{two}\n")
    expected = [one.probabilities for one in predict(bundle, [("one", one), ("two", two)])]
    loaded = seqclass.load(tmp_path / "bundle")
    for sequences, ids in (
        (tmp_path / "in.fa", ["one", "two"]),
        (str(tmp_path / "in.fa"), ["one", "two"]),
        ([("one", one), ("two", two)], ["one", "two"]),
        ({"one": one, "two": two}, ["one", "two"]),
        ([one, two], ["sequence_1", "sequence_2"]),
    ):
        found = list(loaded.predict(sequences))
        assert [each.id for each in found] == ids
        np.testing.assert_array_equal([each.probabilities for each in found], expected)
        assert {each.model for each in found} == {f"demo@{bundle.version}"}


def test_the_top_labels_are_the_most_probable_first_and_ties_in_the_targets_order() -> None:
    shares = np.array([0.1, 0.5, 0.25, 0.5, 0.0], dtype=np.float32)
    one = Prediction("a", 0, 9, shares, list("vwxyz"), None, None, False, False, "m@1")
    assert one.top(3) == [Label("w", 0.5), Label("y", 0.5), Label("x", 0.25)]
    assert one.top(1) == [Label("w", 0.5)]
    assert [label.name for label in one.top(99)] == list("wyxvz")
    assert one.scores == {name: float(share) for name, share in zip("vwxyz", shares, strict=True)}


@given(st.lists(st.sampled_from([0.0, 0.125, 0.5, 1.0]), min_size=1, max_size=30), st.integers(1, 40))
def test_top_k_equals_a_full_sort(shares: list[float], k: int) -> None:
    names = [f"t{i}" for i in range(len(shares))]
    one = Prediction("a", 0, 1, np.array(shares, dtype=np.float32), names, None, None, False, False, "m@1")
    expected = sorted(zip(names, shares, strict=True), key=lambda each: -each[1])[:k]
    assert [tuple(label) for label in one.top(k)] == expected


def test_truncated_and_windowed_say_what_was_not_seen(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    named = [("short", letters(40, 1)), ("exact", letters(64, 2)), ("long", letters(100, 3))]
    centre = {one.id: one for one in predict(bundle, named, length_policy="centre")}
    assert {name: one.truncated for name, one in centre.items()} == {"short": False, "exact": False, "long": True}
    assert not any(one.windowed for one in centre.values())
    tiled = list(predict(bundle, named, length_policy="tile"))
    assert {one.id for one in tiled if one.windowed} == {"long"}
    assert not any(one.truncated for one in tiled)


def test_abstaining_is_told_of_a_group_below_its_threshold(protein: Bundle) -> None:
    for least, abstained in ((0.0, False), (1.1, True)):
        bundle = replace(protein, calibration=Calibration([], [], [], {"class": 1.0}, {"class": least}))
        (one,) = bundle.predict(["MKVL"])
        assert one.abstained == abstained
        assert one.calls == [ABSTAINED if abstained else one.top(1)[0].name]
    (raw,) = bundle.predict(["MKVL"], calibrated=False)
    assert (raw.calls, raw.abstained) == (None, False)


def test_json_holds_the_same_with_six_digits(make_bundle: Callable[..., Bundle]) -> None:
    joint = join_bundles([make_bundle(), make_bundle()])
    (one,) = joint.predict([letters(64, 1)])
    told = json.loads(json.dumps(one.as_dict()))
    assert told["scores"] == {name: float(f"{share:.6g}") for name, share in one.scores.items()}
    assert list(told["spread"]) == one.targets
    assert [each["label"] for each in told["top"]] == [label.name for label in one.top()]
    assert (told["abstained"], told["truncated"], told["windowed"], told["model"]) == (False, False, False, one.model)
    assert "scores" not in one.as_dict(2)
    assert len(one.as_dict(2)["top"]) == 2


def test_a_model_that_answers_nan_is_an_error_and_no_file(protein: Bundle, tmp_path: Path) -> None:
    with torch.no_grad():
        next(protein.model.head.parameters()).fill_(float("nan"))
    (tmp_path / "in.fa").write_text(">a\nMKV\n")
    with pytest.raises(BundleError, match="not a number"):
        write_predictions(protein, tmp_path / "in.fa", tmp_path / "out.tsv")
    assert not (tmp_path / "out.tsv").exists()


# Letters


def test_rare_residues_are_read_as_unknown_and_counted(protein: Bundle) -> None:
    told: list[str] = []
    rare, plain = predict(protein, [("rare", "MBJOUZbjV*"), ("plain", "MXXXXXXXV")], tell=told.append)
    np.testing.assert_array_equal(rare.probabilities, plain.probabilities)
    assert rare.end == 9
    assert any("7 residues (B, J, O, U, Z) in 1 record mapped to X" in note for note in told)


def test_without_a_listener_a_warning_tells(protein: Bundle) -> None:
    with pytest.warns(UserWarning, match=r"1 residue \(U\) in 1 record mapped to X"):
        list(protein.predict(["MKU"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(protein.predict(["MKV"]))


def test_letters_are_read_as_they_were_for_training(protein: Bundle) -> None:
    """With `--ambiguous map` at the import, U was read as C, and is so here."""

    def trained(ambiguous: str) -> Bundle:
        letters = {"ambiguous": ambiguous, "gaps": "map", "lower_case": "map", "a rule of tomorrow": "map"}
        return replace(protein, provenance={"data": {"policies": {"letters": letters}}})

    def score(bundle: Bundle, sequence: str) -> list[float]:
        (one,) = predict(bundle, [sequence], tell=lambda _: None)
        return one.probabilities.tolist()

    assert score(trained("map"), "MK-UV") == score(protein, "MKCV")
    assert score(trained("mask"), "MKUV") == score(protein, "MKXV")
    assert score(trained("strict"), "MKUV") == score(protein, "MKXV")
    with pytest.raises(SequenceError, match="gap"):
        score(protein, "MK-UV")
    both = [trained("map").provenance, trained("map").provenance]
    assert score(replace(protein, provenance={"members": both}), "MKUV") == score(protein, "MKCV")
    both[1] = trained("mask").provenance
    assert score(replace(protein, provenance={"members": both}), "MKUV") == score(protein, "MKXV")


# Equal sequences


def test_equal_sequences_are_scored_once_across_portions(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "_STRETCHES", 5)
    bundle = make_bundle()
    distinct = [letters(64, seed) for seed in range(7)]
    chosen = np.random.default_rng(0).integers(0, 7, 60).tolist()
    rows: list[int] = []
    bundle.model.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    found = list(bundle.predict([distinct[i] for i in chosen]))
    assert sum(rows) == 2 * 7, "seven, of both strands"
    monkeypatch.undo()
    alone = [next(bundle.predict([sequence])).probabilities for sequence in distinct]
    for one, i in zip(found, chosen, strict=True):
        np.testing.assert_allclose(one.probabilities, alone[i], atol=1e-6)


@given(st.lists(st.integers(0, 12), max_size=80), st.integers(1, 6), st.integers(0, 9))
def test_what_is_remembered_is_bounded_and_right(chosen: list[int], size: int, remembered: int) -> None:
    """The scores of a stretch are looked up where it was last scored, however little is remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "_STRETCHES", size)
        patch.setattr(portions, "_REMEMBERED", remembered)
        stretches = (Stretch(str(i), 0, np.full(3, i, dtype=np.uint8), 3) for i in chosen)
        recent, found, last = RecentRows(1), [], 0
        for portion in portions.portions(stretches, 1):
            assert portion.first == last
            last += len(portion.tokens)
            new = np.array([[tokens[0]] for tokens in portion.tokens], dtype=np.float32).reshape(-1, 1)
            found += recent.of(portion, new)[:, 0].tolist()
        assert found == chosen
        assert last >= len(set(chosen))
        if remembered >= 13:
            assert last == len(set(chosen))


def test_equal_letters_of_other_lengths_are_not_confused(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(pool="centre-max")
    short, long = (next(bundle.predict(["A" * n])).probabilities for n in (30, 60))
    found = [one.probabilities for one in bundle.predict(["A" * 30, "A" * 60, "A" * 30])]
    np.testing.assert_allclose(found, [short, long, short], atol=1e-6)
    assert DNA.encode("A")[0] == 0
    assert not np.allclose(short, long, atol=1e-6)


# Memory


def out_of_memory_beyond(bundle: Bundle, residues: int, seen: list[int]) -> None:
    """Makes the model fail as a GPU does that has memory for so many residues, of either strand."""

    def check(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].shape[0] * inputs[0].shape[1])
        if seen[-1] > residues:
            raise torch.OutOfMemoryError("CUDA out of memory")

    bundle.model.register_forward_pre_hook(check)


def test_a_batch_too_large_for_memory_is_halved_and_the_answers_are_the_same(
    make_bundle: Callable[..., Bundle],
) -> None:
    bundle = make_bundle()
    named = [letters(64, seed) for seed in range(50)]
    expected = [one.probabilities for one in bundle.predict(named)]
    seen: list[int] = []
    out_of_memory_beyond(bundle, 64 * 16, seen)
    np.testing.assert_allclose([one.probabilities for one in bundle.predict(named)], expected, atol=1e-6)
    failed = [count for count in seen if count > 64 * 16]
    assert 0 < len(failed) <= 4, "what did not fit is not tried again"


def test_a_single_sequence_too_large_for_memory_is_one_error(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    out_of_memory_beyond(bundle, 63, [])
    with pytest.raises(DeviceMemoryError, match="too small for one sequence of 64 residues"):
        list(bundle.predict([letters(64, seed) for seed in range(9)]))


def test_memory_that_ran_out_is_free_before_the_next_try(protein: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception that tells of it holds all that was computed; it must be gone."""
    held: list[int] = []

    class Large:
        def __del__(self) -> None:
            held.pop()

    def judge(_: Bundle, inputs: torch.Tensor, __: object) -> tuple[torch.Tensor, None]:
        assert not held
        if len(inputs) > 1:
            held.append(1)
            large = Large()
            raise torch.OutOfMemoryError(f"CUDA out of memory, {large is None}")
        return torch.zeros(len(inputs), 3), None

    monkeypatch.setattr(memory, "judge", judge)
    assert len(list(protein.predict(["MKV", "MKL", "MKA", "MKC"]))) == 4
