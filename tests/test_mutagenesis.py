"""Saturation mutagenesis against whole passes, against the definition letter by letter, and against tangermeme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from seqclass.alphabets import get_alphabet, reverse_complement
from seqclass.attribution.mutagenesis import (
    importance,
    is_local,
    mutagenesis,
    mutate,
    mutate_in_full,
    mutate_locally,
)
from seqclass.attribution.mutagenesis_trunk import kept_by_stage
from seqclass.blocks import Flatten, LearnedEmbedding, LinearHead, MaxPool, OneHotEmbedding, ProtCNNStem
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, SequenceError
from seqclass.models import Classifier, SequenceClassifier, as_channels_first, create_model
from seqclass.models.summary import summarise
from seqclass.targets import Target

_WRN: dict[str, Any] = {"length": 60, "channels": 8, "widths": (8, 16), "strides": (2, 3), "expansion": 2, "hidden": 8}


def _wrn(**options: Any) -> Classifier:
    return create_model("wrn", num_targets=3, **_WRN | options)


def _protein() -> Classifier:
    return create_model("protcnn_small", num_targets=3, channels=8, bottleneck=4)


def _without_stem(normalise: bool) -> Classifier:
    head = LinearHead(6, 3, Flatten(60), normalise=normalise)
    return SequenceClassifier(LearnedEmbedding(6), None, None, head, None, length=60)


def _dilated_and_flat() -> Classifier:
    stem = ProtCNNStem(4, 6, 4, 3, (1, 3))
    return SequenceClassifier(OneHotEmbedding(), stem, None, LinearHead(6, 3, Flatten(60)), None, length=60)


LOCAL: dict[str, Callable[[], Classifier]] = {
    "deepsea": lambda: create_model("deepsea", num_targets=3, length=130, widths=(8, 12, 16), kernel_size=5, hidden=8),
    "beluga": lambda: create_model("beluga", num_targets=3, length=160, widths=(8, 12, 16), kernel_size=4, hidden=8),
    "wide ResNet, flattened": lambda: _wrn(squeeze_ratio=None),
    "wide ResNet, pooled": lambda: _wrn(squeeze_ratio=None, pool="centre-max", bin=12),
    "ResNeXt": lambda: _wrn(squeeze_ratio=None, groups=2),
    "ProtCNN": _protein,
    "dilated, flattened": _dilated_and_flat,
    "letters alone": lambda: _without_stem(False),
    "letters alone, weights of one length": lambda: _without_stem(True),
}


def _trained(model: Classifier, length: int) -> Classifier:
    """Batch-norm statistics that are not the initial ones, and weights large enough that effects differ."""
    letters = len(get_alphabet(model.alphabet).letters)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2 if parameter.dim() > 1 else 1)
        for _ in range(3):
            model(torch.randint(0, letters, (16, length)))
    return model.eval()


def _sequences(model: Classifier, length: int, count: int = 2) -> torch.Tensor:
    """With unknown residues at the ends and in the middle."""
    tokens = torch.randint(0, len(get_alphabet(model.alphabet).letters), (count, length))
    tokens[-1, [0, length // 2, length - 1]] = len(get_alphabet(model.alphabet).letters)
    return tokens


@pytest.mark.parametrize("name", LOCAL)
def test_local_recomputation_equals_a_whole_pass_for_each_mutant(name: str) -> None:
    model = LOCAL[name]()
    length = model.length or 47
    model, tokens = _trained(model, length), _sequences(model, length)
    assert is_local(model)
    with torch.inference_mode():
        locally = mutate_locally(model, tokens, 0, length)
        in_full = mutate_in_full(model, tokens, 0, length)
    torch.testing.assert_close(locally.reference, in_full.reference)
    assert (in_full.mutants - in_full.reference[:, None, None]).abs().max() > 1e-3
    torch.testing.assert_close(locally.mutants, in_full.mutants, rtol=1e-5, atol=1e-5)


def test_each_mutant_is_the_model_on_the_changed_sequence() -> None:
    model = _trained(LOCAL["wide ResNet, flattened"](), 60)
    tokens = _sequences(model, 60)
    with torch.inference_mode():
        _, mutants = mutate(model, tokens, 20, 40)
        for place, letter in ((20, 0), (30, 3), (39, 2)):
            changed = tokens.clone()
            changed[:, place] = letter
            torch.testing.assert_close(mutants[:, place - 20, letter], model(changed), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"squeeze_ratio": None}], ids=["squeeze-excitation", "attention"])
def test_models_with_global_stages_get_whole_passes(options: dict[str, Any]) -> None:
    name = "wrn_transformer_xl" if options else "wrn"
    more = {"layers": 1, "heads": 2, "head_size": 4, "inner": 16} if options else {}
    model = _trained(create_model(name, num_targets=3, **_WRN | options | more), 60)
    tokens = _sequences(model, 60)
    assert not is_local(model)
    with torch.inference_mode():
        _, mutants = mutate(model, tokens, 10, 12)
        changed = tokens.clone()
        changed[:, 11] = 1
        torch.testing.assert_close(mutants[:, 1, 1], model(changed), rtol=1e-5, atol=1e-5)


def test_tangermeme_finds_the_same_and_so_does_its_attribution() -> None:
    pytest.importorskip("tangermeme", reason="tangermeme is not installed")
    from tangermeme.saturation_mutagenesis import saturation_mutagenesis

    model = _trained(LOCAL["deepsea"](), 130)
    tokens = torch.randint(0, 4, (2, 130))
    letters, view = torch.eye(4)[tokens].transpose(1, 2), as_channels_first(model)
    before, after = saturation_mutagenesis(view, letters, device="cpu", raw_outputs=True)
    with torch.inference_mode():
        ours = mutate(model, tokens)
    torch.testing.assert_close(ours.reference, before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.mutants, after.permute(0, 2, 1, 3), rtol=1e-5, atol=1e-5)
    theirs = saturation_mutagenesis(view, letters, device="cpu", target=slice(1, 2)).sum(dim=1)
    effects = (ours.mutants - ours.reference[:, None, None]).numpy()
    np.testing.assert_allclose(importance(effects, tokens.numpy())[..., 1], theirs.numpy(), atol=1e-5)


def test_effects_on_dna_are_the_mean_of_both_strands(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    tokens = np.random.default_rng(0).integers(0, 5, (1, 64)).astype(np.uint8)
    effects = mutagenesis(bundle, tokens, [2], start=5, end=9)
    assert effects.shape == (1, 4, 4, 1)

    def logit(sequence: np.ndarray) -> float:
        both = [sequence, reverse_complement(sequence).copy()]
        with torch.no_grad():
            return float(np.mean([bundle.model(torch.from_numpy(strand))[0, 2].item() for strand in both]))

    for place in range(4):
        for letter in range(4):
            changed = tokens.copy()
            changed[0, 5 + place] = letter
            assert effects[0, place, letter, 0] == pytest.approx(logit(changed) - logit(tokens), abs=1e-5)
    mirrored = mutagenesis(bundle, reverse_complement(tokens).copy(), [2], start=55, end=59)
    np.testing.assert_allclose(mirrored[:, ::-1, ::-1], effects, atol=1e-5)


def test_proteins_have_an_effect_for_each_of_twenty_residues() -> None:
    bundle = Bundle(_trained(_protein(), 30), [Target(f"t{i}") for i in range(3)], [1] * 3)
    tokens = np.random.default_rng(0).integers(0, 21, (2, 30)).astype(np.uint8)
    effects = mutagenesis(bundle, tokens)
    assert effects.shape == (2, 30, 20, 3)
    known = tokens < 20
    own = np.take_along_axis(effects[known], tokens[known][:, None, None].astype(int), axis=1)
    assert np.abs(own).max() == 0
    assert np.abs(importance(effects, tokens)[~known]).max() == 0


def test_a_planted_weight_is_what_its_letter_is_worth() -> None:
    """A model that adds up a known weight for each letter and place has effects in closed form."""
    model = SequenceClassifier(OneHotEmbedding(), None, None, LinearHead(4, 1, Flatten(7)), None, length=7).eval()
    weights = model.head.out.weight.detach().view(7, 4)
    tokens = torch.tensor([[0, 1, 2, 3, 2, 1, 0]])
    with torch.inference_mode():
        reference, mutants = mutate(model, tokens)
    expected = weights - weights[torch.arange(7), tokens[0]][:, None]
    torch.testing.assert_close((mutants - reference[:, None, None])[0, :, :, 0], expected)


def test_local_recomputation_needs_a_tenth_of_the_arithmetic_on_deepsea() -> None:
    model = create_model("deepsea", num_targets=9, widths=(32, 48, 96), hidden=92).eval()
    tokens = torch.randint(0, 4, (1, 1000))
    counts = []
    for by in (mutate_locally, mutate_in_full):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            by(model, tokens, 480, 520)
        # One pass is the reference's, in both.
        counts.append(counter.get_total_flops() - summarise(model)[-1].flops)
    assert counts[0] < counts[1] / 10


def test_the_share_kept_is_what_local_windows_leave() -> None:
    rows = {row.name: row for row in kept_by_stage(create_model("deepsea", num_targets=919))}
    last = rows["stem.blocks.2.convolutions.0"]
    assert (last.field, last.stride, last.positions, last.changed) == (163, 16, 53, 11)
    assert rows["all"].flops == summarise(create_model("deepsea", num_targets=919))[-1].flops
    assert rows["all"].kept / rows["all"].flops == pytest.approx(0.884, abs=0.001)
    original = kept_by_stage(create_model("wrn_transformer_xl", num_targets=919))
    assert 0 < original[-1].kept / original[-1].flops < 0.2
    assert [row.name for row in original[:-1] if row.kept] == ["stem.convolve", "stem.blocks.0"]


@pytest.mark.parametrize("name", ["deepsea", "ProtCNN", "wide ResNet, pooled"])
def test_positions_outside_the_window_of_the_table_do_not_change(name: str) -> None:
    model = LOCAL[name]()
    length = model.length or 90
    model, tokens = _trained(model, length), _sequences(model, length, 1) % 4
    row = [row for row in kept_by_stage(model, length) if row.stride][-1]
    with torch.no_grad():
        own = model.features(tokens)[0]
        widest = 0
        for place in range(length):
            changed = tokens.clone()
            changed[0, place] = (changed[0, place] + 1) % 4
            widest = max(widest, int((model.features(changed)[0] != own).any(dim=2).sum()))
    assert 0 < widest <= row.changed


def test_what_cannot_be_mutated_is_named(make_bundle: Callable[..., Bundle]) -> None:
    bundle, tokens = make_bundle(), np.zeros((1, 64), dtype=np.uint8)
    for start, end in ((3, 3), (-1, 5), (60, 65)):
        with pytest.raises(SequenceError, match=f"residues {start} to {end} of a sequence of 64"):
            mutagenesis(bundle, tokens, start=start, end=end)
    with pytest.raises(AssemblyError, match="sequence of 63 residues, where the model takes 64"):
        mutagenesis(bundle, tokens[:, :63])
    vectors = create_model("embedding_mlp", num_targets=2, vector_size=8)
    with pytest.raises(SequenceError, match="the model reads vectors"):
        mutate(vectors.eval(), torch.zeros(1, 5, dtype=torch.long))
    with pytest.raises(AssemblyError, match="training mode"):
        mutate(create_model("kmer_logreg", num_targets=1, alphabet="dna").train(), torch.zeros(1, 9).long())


def test_the_model_is_left_as_it_was_found(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    bundle.model.train()
    bundle.model.stem.eval()
    modes = [module.training for module in bundle.model.modules()]
    mutagenesis(bundle, np.zeros((1, 64), dtype=np.uint8), [0], start=0, end=2)
    assert [module.training for module in bundle.model.modules()] == modes


def test_a_pooling_head_gets_the_mutants_positions_among_the_sequences_own() -> None:
    stem, head = ProtCNNStem(4, 6, 4, 3, (1,)), LinearHead(6, 2, MaxPool())
    model = SequenceClassifier(OneHotEmbedding(), stem, None, head, None)
    tokens = torch.randint(0, 4, (1, 25))
    with torch.inference_mode():
        ours, full = mutate(model.eval(), tokens), mutate_in_full(model, tokens, 0, 25)
    torch.testing.assert_close(ours.mutants, full.mutants, rtol=1e-5, atol=1e-5)
