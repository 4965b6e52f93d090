"""In-silico experiments on a model whose answers are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seqclass.alphabets import DNA, reverse_complement
from seqclass.attribution.in_silico import (
    ablate,
    insert,
    logits,
    marginalise,
    shuffled_backgrounds,
    space,
    tile,
    write_effects,
)
from seqclass.blocks import ConvolutionStages, Flatten, LinearHead, OneHotEmbedding
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, SequenceError
from seqclass.models import SequenceClassifier, create_model
from seqclass.targets import Target

LENGTH = 40


@pytest.fixture
def counter() -> Bundle:
    """Its logits count TACGTA, a palindrome, at weight 2, and ACGACG only where it begins at position 10."""
    stem = ConvolutionStages(4, (2,), 6, (1,), (0.0,))
    head = LinearHead(2, 2, Flatten(LENGTH - 5))
    model = SequenceClassifier(OneHotEmbedding(), stem, None, head, None, length=LENGTH)
    convolution = stem.blocks[0].convolutions[0]
    with torch.no_grad():
        for number, word in enumerate(("TACGTA", "ACGACG")):
            convolution.weight[number] = torch.eye(4)[torch.from_numpy(DNA.encode(word)).long()].T
        convolution.bias.fill_(-5)
        head.out.weight.zero_()
        head.out.bias.zero_()
        head.out.weight.view(2, LENGTH - 5, 2)[0, :, 0] = 2
        head.out.weight.view(2, LENGTH - 5, 2)[1, 10, 1] = 6
    return Bundle(model.eval(), [Target("palindrome"), Target("placed")], [1, 1], LENGTH)


@pytest.fixture
def backgrounds() -> np.ndarray:
    """Without C and G, in which neither word can be."""
    return np.random.default_rng(0).choice(np.array([0, 3], np.uint8), (30, LENGTH))


def test_a_motif_adds_what_the_model_gives_for_it(counter: Bundle, backgrounds: np.ndarray) -> None:
    effects = marginalise(counter, backgrounds, ["TACGTA", "AAAAAA"])
    np.testing.assert_allclose(effects.mean[:, 0], [2, 0], atol=1e-5)
    np.testing.assert_allclose([effects.low[:, 0], effects.high[:, 0]], [[2, 0]] * 2, atol=1e-5)
    assert effects.conditions == ["TACGTA", "AAAAAA"]


def test_unknown_letters_of_a_motif_leave_the_background(counter: Bundle, backgrounds: np.ndarray) -> None:
    changed = insert(counter, backgrounds, "CNNG", 7)
    assert (changed[:, [7, 10]] == [1, 2]).all()
    kept = np.delete(np.arange(LENGTH), [7, 10])
    np.testing.assert_array_equal(changed[:, kept], backgrounds[:, kept])


def test_tiling_finds_the_only_place_where_a_motif_counts(counter: Bundle, backgrounds: np.ndarray) -> None:
    effects = tile(counter, backgrounds, "ACGACG", range(35))
    expected = np.zeros(35)
    expected[10] = 3  # The mean of both strands, of which one has the word.
    np.testing.assert_allclose(effects.mean[:, 1], expected, atol=1e-5)


def test_motifs_that_do_not_meet_add_up_and_halves_make_a_whole(counter: Bundle, backgrounds: np.ndarray) -> None:
    apart = space(counter, backgrounds, "TACGTA", "TACGTA", [1, 5])
    np.testing.assert_allclose(apart.mean[:, 0], 0, atol=1e-5)
    halves = space(counter, backgrounds, "TAC", "GTA", [0, 1])
    np.testing.assert_allclose(halves.mean[:, 0], [2, 0], atol=1e-5)


def test_ablation_takes_away_what_the_motif_gave_and_spares_the_rest(counter: Bundle, backgrounds: np.ndarray) -> None:
    with_motif = insert(counter, backgrounds, "TACGTA", 20)
    effects = ablate(counter, with_motif, [(20, 26), (0, 15)], shuffles=5)
    # A shuffle restores the word in one of 180 cases.
    assert -2 <= effects.mean[0, 0] < -1.8
    assert effects.mean[1, 0] == pytest.approx(0, abs=1e-5)
    assert effects.conditions == ["20-26", "0-15"]


def test_intervals_cover_the_true_mean_as_often_as_they_say() -> None:
    from seqclass.attribution.in_silico import _effects

    generator = np.random.default_rng(0)
    deltas = [generator.exponential(size=(60, 1)).astype(np.float32) for _ in range(300)]
    effects = _effects([str(number) for number in range(300)], deltas, 0)
    covered = ((effects.low < 1) & (effects.high > 1)).mean()
    assert 0.9 < covered < 0.98


def test_logits_are_the_same_for_either_strand(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    tokens = np.random.default_rng(0).integers(0, 5, (4, 64)).astype(np.uint8)
    np.testing.assert_allclose(logits(bundle, tokens), logits(bundle, reverse_complement(tokens)), atol=1e-5)
    with torch.no_grad():
        both = [bundle.model(torch.from_numpy(each.copy())) for each in (tokens, reverse_complement(tokens))]
    np.testing.assert_allclose(logits(bundle, tokens), (both[0] + both[1]) / 2, atol=1e-5)


def test_backgrounds_keep_the_dinucleotides_and_follow_from_the_seed(counter: Bundle) -> None:
    tokens = np.random.default_rng(0).integers(0, 4, (2, LENGTH)).astype(np.uint8)
    shuffled = shuffled_backgrounds(counter, tokens, 5, seed=3)
    assert shuffled.shape == (5, LENGTH)

    def pairs(row: np.ndarray) -> np.ndarray:
        return np.bincount(row[:-1].astype(int) * 4 + row[1:], minlength=16)

    for number, row in enumerate(shuffled):
        np.testing.assert_array_equal(pairs(row), pairs(tokens[number % 2]))
        assert (row != tokens[number % 2]).any()
    np.testing.assert_array_equal(shuffled, shuffled_backgrounds(counter, tokens, 5, seed=3))
    assert (shuffled != shuffled_backgrounds(counter, tokens, 5, seed=4)).any()


def test_a_table_has_a_row_for_each_condition_and_target(
    counter: Bundle, backgrounds: np.ndarray, tmp_path: Path
) -> None:
    write_effects(tmp_path / "a.tsv", marginalise(counter, backgrounds, ["TACGTA"]), counter.targets)
    rows = [line.split("\t") for line in (tmp_path / "a.tsv").read_text().splitlines()]
    assert rows[0] == ["condition", "target", "delta_logit", "low", "high"]
    assert rows[1] == ["TACGTA", "palindrome", "2", "2", "2"]
    assert len(rows) == 3


def test_what_cannot_be_tried_is_named(counter: Bundle, backgrounds: np.ndarray) -> None:
    with pytest.raises(SequenceError, match="motif of 6 residues at position 38 of sequences of 40"):
        tile(counter, backgrounds, "TACGTA", [38])
    with pytest.raises(SequenceError, match="letter 'U' at position 2"):
        marginalise(counter, backgrounds, ["AUG"])
    with pytest.raises(SequenceError, match="1 sequence, over which no interval"):
        marginalise(counter, backgrounds[:1], ["TACGTA"])
    with pytest.raises(SequenceError, match="stretch 5-41"):
        ablate(counter, backgrounds, [(5, 41)])
    with pytest.raises(SequenceError, match="distance of -1"):
        space(counter, backgrounds, "TAC", "GTA", [-1])
    vectors = create_model("embedding_mlp", num_targets=2, vector_size=8)
    with pytest.raises(AssemblyError, match="reads vectors"):
        logits(Bundle(vectors, counter.targets, [1, 1]), backgrounds)
