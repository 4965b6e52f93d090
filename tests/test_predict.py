"""Prediction: compared with a model run by hand, one sequence and one strand at a time."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqclass.alphabets import DNA
from seqclass.bundle import Bundle
from seqclass.data.store import Store
from seqclass.data.tape import read_samples
from seqclass.errors import OutputExistsError, SeqclassError, SequenceError, StoreError, UnknownNameError
from seqclass.predict import (
    LENGTH_POLICIES,
    check_fits,
    cut,
    memory,
    portions,
    predict,
    records,
    score_samples,
    write_predictions,
)
from seqclass.targets import Target

Named = list[tuple[str, str]]
_OTHER = str.maketrans("ACGTN", "TGCAN")


def by_hand(bundle: Bundle, letters: str) -> NDArray[np.float32]:
    """The mean of both strands' probabilities, in letters turned into tokens one by one."""
    strands = [letters.upper(), letters.upper().translate(_OTHER)[::-1]]
    with torch.no_grad():
        logits = [bundle.model(torch.tensor([["ACGTN".index(letter) for letter in strand]])) for strand in strands]
    mean: NDArray[np.float32] = (sum(1 / (1 + torch.exp(-each)) for each in logits) / 2).numpy()[0]
    return mean


def random_sequences(lengths: list[int], letters: str = "ACGT", seed: int = 0) -> Named:
    generator = np.random.default_rng(seed)
    return [(f"s{i}", "".join(generator.choice(list(letters), length))) for i, length in enumerate(lengths)]


def write_fasta(path: Path, named: Named) -> Path:
    path.write_text("".join(f">{name} description\n{letters}\n" for name, letters in named))
    return path


@pytest.fixture
def make_bundle(make_bundle: Callable[..., Bundle]) -> Callable[..., Bundle]:
    """As elsewhere, with probabilities that are far apart, so that a wrong one cannot pass for the right one."""

    def make(**options: object) -> Bundle:
        bundle = make_bundle(**options)
        out = bundle.model.head.out
        with torch.no_grad():
            logits = bundle.model(torch.randint(0, 4, (64, 64)))
            out.weight.div_(logits.std(dim=0)[:, None])
            out.bias.copy_((out.bias - logits.mean(dim=0)) / logits.std(dim=0))
        return bundle

    return make


@pytest.fixture
def any_length(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle(pool="centre-max")


@pytest.fixture
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "_STRETCHES", 7)
    monkeypatch.setattr(memory, "batch_residues", lambda _: 500)


@pytest.mark.usefixtures("in_small_pieces")
def test_predictions_equal_the_model_run_by_hand_in_the_order_given(any_length: Bundle) -> None:
    lengths = np.random.default_rng(1).integers(1, 300, 40).tolist()
    named = random_sequences([*lengths, 1, 600, 2, 64], "ACGTN")
    found = list(predict(any_length, named))
    assert [(one.id, one.start, one.end) for one in found] == [(name, 0, len(letters)) for name, letters in named]
    expected = np.stack([by_hand(any_length, letters) for _, letters in named])
    np.testing.assert_allclose(np.stack([one.probabilities for one in found]), expected, atol=1e-5)
    assert expected.std(axis=0).min() > 0.01, "the sequences must be told apart, or this shows nothing"


def test_batch_mates_do_not_change_a_prediction(any_length: Bundle) -> None:
    (name, letters), *mates = random_sequences([50, 3, 400, 51, 1, 120])
    (alone,) = predict(any_length, [(name, letters)])
    among = list(predict(any_length, [*mates[:2], (name, letters), *mates[2:]]))[2]
    np.testing.assert_allclose(among.probabilities, alone.probabilities, atol=1e-5)


def test_a_sequence_and_its_other_strand_score_the_same(any_length: Bundle) -> None:
    named = random_sequences([64, 90], "ACGTN")
    other = [(name, letters.translate(_OTHER)[::-1]) for name, letters in named]
    for one, turned in zip(predict(any_length, named), predict(any_length, other), strict=True):
        np.testing.assert_allclose(one.probabilities, turned.probabilities, atol=1e-6)


def test_protein_has_one_strand(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(alphabet="protein")
    ((_, letters),) = named = random_sequences([64], "ACDEFGHIKLMNPQRSTVWYX")
    (found,) = predict(bundle, named)
    with torch.no_grad():
        logits = bundle.model(torch.tensor([["ACDEFGHIKLMNPQRSTVWYX".index(letter) for letter in letters]]))
    np.testing.assert_allclose(found.probabilities, torch.sigmoid(logits)[0].numpy(), atol=1e-6)


def test_a_file_plain_or_gzip_scores_as_its_sequences_do(any_length: Bundle, tmp_path: Path) -> None:
    named = random_sequences([30, 64, 128], "ACGTN")
    plain = write_fasta(tmp_path / "plain.fa", named)
    packed = tmp_path / "packed.fa.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    expected = np.stack([one.probabilities for one in predict(any_length, named)])
    for path in (plain, str(packed)):
        np.testing.assert_array_equal(np.stack([one.probabilities for one in predict(any_length, path)]), expected)


def test_lower_case_scores_as_upper_case(any_length: Bundle) -> None:
    named = random_sequences([64], "ACGTN")
    (upper,), (lower,) = (list(predict(any_length, [(n, s)])) for n, s in (named[0], ("x", named[0][1].lower())))
    np.testing.assert_array_equal(upper.probabilities, lower.probabilities)


@pytest.mark.parametrize("length", [1, 63, 65])
def test_another_length_is_refused_with_the_policies_named(
    make_bundle: Callable[..., Bundle], tmp_path: Path, length: int
) -> None:
    path = write_fasta(tmp_path / "x.fa", random_sequences([64, length]))
    with pytest.raises(SequenceError, match=rf"x\.fa, line 3, record 's1': {length} residues.*exactly 64") as caught:
        list(predict(make_bundle(), path))
    assert caught.value.remedy is not None
    assert {"centre", "tile"} <= set(caught.value.remedy.replace(" (", " ").split())


@pytest.mark.parametrize("policy", ["centre", "tile"])
@pytest.mark.parametrize(("length", "before", "after"), [(1, 32, 31), (33, 16, 15), (62, 1, 1), (63, 1, 0)])
def test_a_short_sequence_is_scored_with_n_around_it(
    make_bundle: Callable[..., Bundle], policy: str, length: int, before: int, after: int
) -> None:
    bundle = make_bundle()
    ((name, letters),) = random_sequences([length])
    (found,) = predict(bundle, [(name, letters)], length_policy=policy)
    assert (found.start, found.end) == (-before, length + after)
    np.testing.assert_allclose(found.probabilities, by_hand(bundle, "N" * before + letters + "N" * after), atol=1e-5)


@pytest.mark.parametrize("length", [64, 65, 66, 201])
def test_centre_scores_the_middle_of_a_long_sequence(make_bundle: Callable[..., Bundle], length: int) -> None:
    bundle = make_bundle()
    ((name, letters),) = random_sequences([length])
    (found,) = predict(bundle, [(name, letters)], length_policy="centre")
    left, right = found.start, length - found.end
    assert abs(left - right) <= 1
    np.testing.assert_allclose(found.probabilities, by_hand(bundle, letters[left : left + 64]), atol=1e-5)


@pytest.mark.parametrize(
    ("length", "starts"),
    [(64, [0]), (65, [0, 1]), (95, [0, 31]), (96, [0, 32]), (97, [0, 32, 33]), (200, [0, 32, 64, 96, 128, 136])],
)
def test_tiles_lie_a_bin_apart_and_the_last_ends_with_the_sequence(
    make_bundle: Callable[..., Bundle], length: int, starts: list[int]
) -> None:
    bundle = make_bundle()
    ((name, letters),) = random_sequences([length], "ACGTN")
    found = list(predict(bundle, [(name, letters)], length_policy="tile"))
    assert [one.start for one in found] == starts
    for one in found:
        assert one.end == one.start + 64
        np.testing.assert_allclose(one.probabilities, by_hand(bundle, letters[one.start : one.end]), atol=1e-5)


@given(
    length=st.integers(1, 400),
    window=st.integers(1, 90),
    bin=st.none() | st.integers(1, 90),
    policy=st.sampled_from(LENGTH_POLICIES),
)
def test_stretches_hold_what_the_sequence_holds_there_and_n_elsewhere(
    length: int, window: int, bin: int | None, policy: str
) -> None:
    tokens = np.random.default_rng(length).integers(0, 4, length).astype(np.uint8)
    padded = np.pad(tokens, window, constant_values=DNA.unknown_token)
    bundle = _Shape(window, min(bin, window) if bin else None)
    if policy == "error" and length != window:
        with pytest.raises(SequenceError, match=f"{length} residues"):
            list(cut(bundle, tokens, policy))
        return
    seen = np.zeros(length, dtype=bool)
    for start, stretch in cut(bundle, tokens, policy):
        np.testing.assert_array_equal(stretch, padded[start + window : start + 2 * window])
        seen[max(0, start) : start + window] = True
    if policy == "tile" or length <= window:
        assert seen.all()


class _Shape:
    """What `cut` asks of a bundle."""

    alphabet = DNA

    def __init__(self, length: int, bin: int | None) -> None:
        self.length = self.window = length
        self.bin = bin


def test_a_model_of_any_length_is_tiled_only_on_request(any_length: Bundle) -> None:
    named = random_sequences([100])
    for policy in ("error", "centre"):
        ((_, start, end, *_),) = predict(any_length, named, length_policy=policy)
        assert (start, end) == (0, 100)
    assert [one.start for one in predict(any_length, named, length_policy="tile")] == [0, 32, 36]


@pytest.mark.parametrize("policy", ["tiles", "center", ""])
def test_a_length_policy_that_does_not_exist_is_refused(make_bundle: Callable[..., Bundle], policy: str) -> None:
    with pytest.raises(UnknownNameError, match="length policy"):
        list(predict(make_bundle(), random_sequences([64, 100]), length_policy=policy))


def test_attention_takes_no_more_than_memory_allows_and_tiles_are_offered(
    any_length: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_ATTENTION_POSITIONS", 50)
    fits, too_long = random_sequences([200, 201])
    assert len(list(predict(any_length, [fits]))) == 1
    with pytest.raises(SequenceError, match=r"record 's1': 201 residues, .* 200 at once\. Pass .* tile .* 64 residues"):
        list(predict(any_length, [too_long]))
    assert len(list(predict(any_length, [too_long], length_policy="tile"))) == 6
    for policy in LENGTH_POLICIES:
        with pytest.raises(SequenceError, match="Cut it into shorter ones"):
            list(predict(replace(any_length, window=None), [too_long], length_policy=policy))
    # What it was trained on it takes.
    assert len(list(predict(replace(any_length, window=201), [too_long]))) == 1


def test_no_limit_is_set_without_attention(make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(pool="centre-max")
    bundle.model.encoder.layers = torch.nn.ModuleList()
    monkeypatch.setattr(memory, "_ATTENTION_POSITIONS", 50)
    assert len(list(predict(bundle, random_sequences([5000])))) == 1


def test_a_batch_needs_no_more_memory_for_attention_than_its_longest_allowed(
    any_length: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_ATTENTION_POSITIONS", 50)
    seen: list[tuple[int, ...]] = []
    any_length.model.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    list(predict(any_length, random_sequences([200, 190, 100, 100, 99, 98, 97, 10, 10])))
    assert sum(rows for rows, _ in seen) == 2 * 9
    assert all(rows * length**2 <= 200**2 for rows, length in seen)
    assert max(rows for rows, _ in seen) > 1


def test_a_foreign_letter_is_named_with_file_line_and_record(any_length: Bundle, tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "x.fa", [("good", "ACGT"), ("bad", "ACGEA")])
    with pytest.raises(SequenceError, match=r"x\.fa, line 3, record 'bad': letter 'E' at position 4 is not DNA"):
        list(predict(any_length, path))


@pytest.mark.parametrize("letters", ["", "AC-GT", "AC GT", "ACGÄ", "ACG😀"])
def test_a_bad_sequence_of_a_pair_is_named(any_length: Bundle, letters: str) -> None:
    with pytest.raises(SequenceError, match=r"^record 'bad': "):
        list(predict(any_length, [("good", "ACGT"), ("bad", letters)]))


def test_nothing_to_predict_gives_nothing(any_length: Bundle) -> None:
    assert list(predict(any_length, [])) == []


def test_reading_is_never_far_ahead_of_the_scores(any_length: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "_RESIDUES", 300)
    consumed = []
    named = ((name, consumed.append(name) or letters) for name, letters in random_sequences([100] * 20))
    next(predict(any_length, named))
    assert len(consumed) == 3


@pytest.mark.usefixtures("in_small_pieces")
def test_progress_is_told_batch_by_batch(any_length: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[float] = []
    monkeypatch.setattr(portions, "_STRETCHES", 100)
    monkeypatch.setattr(records, "progress", lambda *_, **__: nullcontext(done.append))
    next(predict(any_length, random_sequences([100] * 20)))
    assert done == [5] * 4


@pytest.mark.usefixtures("in_small_pieces")
def test_a_bad_record_leaves_no_table_and_the_old_one_stands(any_length: Bundle, tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "x.fa", [*random_sequences([20] * 30), ("bad", "ACGE")])
    out = tmp_path / "scores.tsv"
    with pytest.raises(SequenceError):
        write_predictions(any_length, path, out)
    assert {each.name for each in tmp_path.iterdir()} == {"x.fa"}
    out.write_text("old")
    with pytest.raises(OutputExistsError):
        write_predictions(any_length, path, out)
    with pytest.raises(SequenceError):
        write_predictions(any_length, path, out, force=True)
    assert out.read_text() == "old"
    assert {each.name for each in tmp_path.iterdir()} == {"x.fa", "scores.tsv"}


def test_no_input_is_replaced_by_the_table(any_length: Bundle, tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "x.fa", random_sequences([30]))
    any_length.save(tmp_path / "bundle")
    bundle = Bundle.load(tmp_path / "bundle")
    for out in (path, tmp_path / "bundle", tmp_path):
        with pytest.raises(SeqclassError, match="to be read, so it is not replaced"):
            write_predictions(bundle, path, out, force=True)
    assert path.read_text().startswith(">s0")
    assert {each.name for each in tmp_path.iterdir()} == {"x.fa", "bundle"}


def test_the_table_holds_the_predictions(any_length: Bundle, tmp_path: Path) -> None:
    named = random_sequences([30, 64, 128])
    out = tmp_path / "folder" / "scores.tsv"
    rows = write_predictions(any_length, write_fasta(tmp_path / "x.fa", named), out)
    header, *lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert header == ["id", "start", "end", "t0", "t1", "t2", "truncated", "windowed", "model"]
    assert rows == len(lines) == 3
    for line, one in zip(lines, predict(any_length, named), strict=True):
        assert line[:3] == [one.id, str(one.start), str(one.end)]
        np.testing.assert_allclose([float(value) for value in line[3:6]], one.probabilities, rtol=1e-5)
        assert line[6:] == ["no", "no", one.model]


def training_flags(bundle: Bundle) -> list[bool]:
    return [module.training for module in bundle.model.modules()]


@pytest.mark.usefixtures("in_small_pieces")
@pytest.mark.parametrize("end", ["finished", "failed", "abandoned"])
def test_the_model_is_left_as_it_was_found(any_length: Bundle, end: str) -> None:
    any_length.model.train()
    any_length.model.head.eval()
    flags = training_flags(any_length)
    weights = {key: value.clone() for key, value in any_length.model.state_dict().items()}
    named = random_sequences([30] * 20)
    predictions: Iterator[object] = predict(any_length, [*named, ("bad", "E")] if end == "failed" else named)
    if end == "failed":
        with pytest.raises(SequenceError):
            list(predictions)
    elif end == "finished":
        list(predictions)
    else:
        next(predictions)
        assert not any(training_flags(any_length))
        del predictions
    assert training_flags(any_length) == flags
    for key, value in any_length.model.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=0, atol=0)


@pytest.mark.parametrize("options", [{}, {"pool": "centre-max"}])
def test_samples_of_a_store_score_as_the_same_letters_in_a_file(
    make_store: Callable[..., Store],
    make_bundle: Callable[..., Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
) -> None:
    store, bundle = make_store(), make_bundle(**options)
    samples = np.random.default_rng(0).permutation(len(store))[:90]
    path = write_fasta(
        tmp_path / "x.fa", [(str(i), DNA.decode(read_samples(store, [i])[0][0])) for i in samples.tolist()]
    )
    expected = np.stack([one.probabilities for one in predict(bundle, path)])
    monkeypatch.setattr(memory, "batch_residues", lambda _: 64 * 20)
    bundle.model.train()
    np.testing.assert_allclose(score_samples(bundle, store, samples), expected, atol=1e-5)
    assert all(training_flags(bundle))


def test_no_samples_to_score_is_an_error(make_store: Callable[..., Store], make_bundle: Callable[..., Bundle]) -> None:
    with pytest.raises(StoreError, match="no samples"):
        score_samples(make_bundle(), make_store(), np.empty(0, dtype=np.int64))


def test_a_store_that_does_not_fit_is_refused_with_a_remedy(
    make_store: Callable[..., Store], make_bundle: Callable[..., Bundle]
) -> None:
    bundle = make_bundle()
    check_fits(bundle, make_store())
    shuffled = replace(bundle, targets=[Target("t1"), Target("t0"), Target("t2")])
    for one, store, found in (
        (bundle, make_store(num_targets=2), r"store's 2 targets are not the model's 3 \(differing: t2\)"),
        (shuffled, make_store(), "differing: the order"),
        (bundle, make_store(window=50), "windows are of 50 residues, and the model takes 64.*--window 64"),
        (make_bundle(alphabet="protein"), make_store(), "holds dna, and the model reads protein"),
    ):
        with pytest.raises(StoreError, match=found) as caught:
            score_samples(one, store, store.samples("test"))
        assert caught.value.file == store.path
        assert caught.value.remedy
    check_fits(make_bundle(pool="centre-max"), make_store(window=50))
