"""Attribution methods against closed forms, other implementations, and what each promises."""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_registry import TINY, inputs, make

from seqclass.alphabets import DNA, PROTEIN, reverse_complement
from seqclass.attribution.attribute import IncompleteError, attribute
from seqclass.attribution.explain import explain
from seqclass.attribution.methods import METHODS
from seqclass.attribution.references import dinucleotide_shuffle, shuffle
from seqclass.blocks import ConvolutionStages, Flatten, MLPHead, OneHotEmbedding
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, SequenceError, UnknownNameError
from seqclass.models import Classifier, SequenceClassifier, as_channels_first, create_model
from seqclass.targets import Target

RULES = ("deeplift", "deepshap")
RANDOM = ("smoothgrad", "gradient-shap", "deepshap")


def samples(model: Classifier) -> list[np.ndarray]:
    """Three inputs, of different lengths where the model takes any."""
    batch = [each.numpy() for each in inputs(model, 3)]
    return batch if model.length else [batch[0][:44], batch[1], batch[2][:51]]


def one_hot(sequence: np.ndarray) -> torch.Tensor:
    return torch.eye(20)[torch.from_numpy(sequence).long()].unsqueeze(0)


def applies(model: Classifier, method: str) -> bool:
    names = {type(module).__name__ for module in model.modules()}
    if method == "attention-rollout":
        return bool(names & {"RelativeAttention", "TransformersEncoder"})
    if method.startswith("guided"):
        return "KmerLogisticRegression" not in names
    if method == "mutagenesis":
        return model.input_kind == "tokens"
    return not (method in RULES and names & {"LSTM", "Ensemble"})


def linear(alphabet: str = "protein") -> tuple[Classifier, np.ndarray]:
    """A model whose logits are sums over residues of a weight for each letter, and the weights."""
    model = create_model("kmer_logreg", num_targets=3, alphabet=alphabet, k=1).eval()
    torch.nn.init.normal_(model.out.weight)
    return model, model.out.weight.detach().numpy()


@pytest.mark.parametrize(
    "method", ["input-x-gradient", "integrated-gradients", "gradient-shap", "deeplift", "deepshap"]
)
def test_of_a_linear_model_each_letter_contributes_its_weight(method: str) -> None:
    model, weights = linear()
    tokens = np.random.default_rng(0).integers(0, 20, (4, 30)).astype(np.uint8)
    reference = {} if method == "input-x-gradient" else {"reference": "zeros"}
    found = attribute(model, tokens, 2, method=method, **reference)
    np.testing.assert_allclose(found.scores, weights[2][tokens], rtol=1e-4, atol=1e-5)
    for parts, sequence in zip(found.contributions or [], tokens, strict=True):
        np.testing.assert_allclose(parts, weights[2] * np.eye(20)[sequence], rtol=1e-4, atol=1e-5)


def test_of_a_linear_model_a_uniform_reference_takes_the_mean_weight_off() -> None:
    model, weights = linear()
    tokens = np.random.default_rng(0).integers(0, 20, (2, 30)).astype(np.uint8)
    expected = weights[1][tokens] - weights[1].mean()
    for method in ("integrated-gradients", "deeplift"):
        np.testing.assert_allclose(attribute(model, tokens, 1, method=method).scores, expected, rtol=1e-4, atol=1e-5)
    falls = attribute(model, tokens, 1, method="occlusion", window=1).scores
    np.testing.assert_allclose(falls, expected, rtol=1e-3, atol=1e-4)
    slopes = attribute(model, tokens, 1, method="input-x-gradient", correct_gradient=True).scores
    np.testing.assert_allclose(slopes, expected, rtol=1e-4, atol=1e-5)


def test_of_a_linear_model_gradients_are_the_weights_with_and_without_noise() -> None:
    model, weights = linear()
    tokens = np.random.default_rng(0).integers(0, 20, (2, 30)).astype(np.uint8)
    for method in ("saliency", "smoothgrad"):
        found = attribute(model, tokens, [0, 2], method=method)
        assert found.scores[0].shape == (2, 30)
        np.testing.assert_allclose(found.scores[1][1], np.abs(weights[2]).max(), rtol=1e-5)
        corrected = attribute(model, tokens, 0, method=method, correct_gradient=True)
        assert corrected.contributions is not None
        np.testing.assert_allclose(corrected.contributions[0][5], weights[0] - weights[0].mean(), rtol=1e-4, atol=1e-5)


def test_a_hidden_window_counts_for_all_its_residues() -> None:
    """Of a linear model the mean over the windows that hide a residue has a closed form."""
    model, weights = linear()
    tokens = np.random.default_rng(0).integers(0, 20, 12).astype(np.uint8)
    short = tokens[:3]
    alone = weights[0][tokens] - weights[0].mean()
    falls = np.convolve(alone, np.ones(5), mode="valid")
    expected = [falls[max(0, place - 4) : place + 1].mean() for place in range(12)]
    found = attribute(model, [tokens, short], 0, method="occlusion", window=5).scores
    np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[1], [alone[:3].sum()] * 3, rtol=1e-3, atol=1e-4)


def test_of_dna_both_strands_count_alike() -> None:
    model = make("protcnn-dna")
    x = torch.eye(4)[torch.randint(0, 4, (1, 60))].requires_grad_()
    both = (model(x) + model(x.flip(1, 2)))[:, 1] / 2
    (expected,) = torch.autograd.grad(both.sum(), x)
    found = attribute(model, [x[0].argmax(dim=1).numpy()], 1, method="saliency")
    assert found.contributions is not None
    torch.testing.assert_close(torch.from_numpy(found.contributions[0]), expected[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in RANDOM])
def test_the_other_strand_has_the_mirrored_scores(method: str) -> None:
    model = make("wrn_transformer_xl-causal")
    tokens = np.random.default_rng(0).integers(0, 5, 61).astype(np.uint8)
    here, there = (
        attribute(model, [strand], 0, method=method).scores[0] for strand in (tokens, reverse_complement(tokens))
    )
    np.testing.assert_allclose(there[::-1], here, rtol=1e-3, atol=1e-4 * np.abs(here).max())


@pytest.mark.parametrize("key", ["protcnn-dna", "wrn_transformer_xl-causal", "protenn"])
def test_mutagenesis_is_every_substitution_made_by_hand(key: str) -> None:
    model = make(key)
    alphabet = DNA if model.alphabet == "dna" else PROTEIN
    width = len(alphabet.letters)
    tokens = np.random.default_rng(0).integers(0, width + 1, 61).astype(np.uint8)

    def logit(sequence: np.ndarray) -> float:
        strands = [sequence, reverse_complement(sequence)] if alphabet is DNA else [sequence]
        with torch.no_grad():
            return float(np.mean([float(model(torch.from_numpy(strand[None].copy()))[0, 1]) for strand in strands]))

    found = attribute(model, [tokens[:40], tokens], 1, method="mutagenesis")
    assert found.contributions is not None
    for place in (0, 17, 60):
        changed = np.repeat(tokens[None], width, axis=0)
        changed[np.arange(width), place] = np.arange(width)
        effects = np.array([logit(each) for each in changed]) - logit(tokens)
        np.testing.assert_allclose(found.contributions[1][place], effects, rtol=1e-3, atol=2e-5)
        worth = 0 if tokens[place] == width else -effects.mean()
        assert found.scores[1][place] == pytest.approx(worth, rel=1e-3, abs=2e-5)


@pytest.mark.parametrize("key", ["protcnn", "wrn_transformer_xl-protein", "light_attention"])
def test_gradients_equal_finite_differences(key: str) -> None:
    model = make(key)
    sequence = samples(model)[0]
    if sequence.ndim == 1:
        sequence = sequence.clip(0, 19)
    found = attribute(model, [sequence], 1, method="saliency").contributions
    assert found is not None
    x = one_hot(sequence) if sequence.ndim == 1 else torch.from_numpy(sequence[None])
    direction = torch.randn(x.shape, dtype=torch.float64)
    wide = copy.deepcopy(model).double()
    with torch.no_grad():
        ahead, behind = (wide(x.double() + step * direction)[0, 1] for step in (1e-6, -1e-6))
    slope = float(ahead - behind) / 2e-6
    assert (torch.from_numpy(found[0]) * direction[0]).sum() == pytest.approx(slope, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("key", ["protcnn", "wrn_transformer_xl-protein"])
def test_integrated_gradients_equal_those_of_captum(key: str) -> None:
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    model = make(key)
    sequence = np.random.default_rng(0).integers(0, 20, 50).astype(np.uint8)
    x = one_hot(sequence).transpose(1, 2)
    explainer = captum.IntegratedGradients(as_channels_first(model))
    expected = explainer.attribute(x, torch.full_like(x, 1 / 20), target=1, n_steps=64, method="gausslegendre")
    found = attribute(model, [sequence], 1, method="integrated-gradients", steps=64)
    assert found.contributions is not None
    np.testing.assert_allclose(found.contributions[0], expected[0].T, rtol=1e-3, atol=1e-5)


def plain_network() -> SequenceClassifier:
    """Convolutions, ReLUs and dense layers with nothing between: what captum's DeepLift is right for."""
    stem = ConvolutionStages(20, (6, 8), 5, (1, 1), (0.1, 0.1))
    head = MLPHead(8, 2, Flatten(stem.out_length(40)), (12,), 0.1)
    return SequenceClassifier(OneHotEmbedding("protein"), stem, None, head, None, "protein", 40).eval()


def test_deeplift_equals_that_of_captum_where_captum_is_right() -> None:
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    model = plain_network()
    sequence = np.random.default_rng(0).integers(0, 20, 40).astype(np.uint8)
    x = one_hot(sequence).transpose(1, 2)
    expected = captum.DeepLift(as_channels_first(model)).attribute(x, torch.full_like(x, 1 / 20), target=1)
    found = attribute(model, [sequence], 1, method="deeplift")
    assert found.contributions is not None
    np.testing.assert_allclose(found.contributions[0], expected[0].detach().T, rtol=1e-4, atol=1e-6)


def test_guided_backpropagation_equals_that_of_captum_where_captum_is_right() -> None:
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    model = plain_network()
    sequence = np.random.default_rng(0).integers(0, 20, 40).astype(np.uint8)
    x = one_hot(sequence).transpose(1, 2).requires_grad_()
    expected = captum.GuidedBackprop(as_channels_first(model)).attribute(x, target=1)
    found = attribute(model, [sequence], 1, method="guided-backpropagation")
    assert found.contributions is not None
    assert not found.faithful
    np.testing.assert_allclose(found.contributions[0], expected[0].detach().T, rtol=1e-4, atol=1e-7)
    assert np.abs(found.contributions[0]).max() > 0


@pytest.mark.parametrize("key", TINY)
def test_deeplift_adds_up_to_rounding_or_is_refused(key: str) -> None:
    model = make(key)
    for name, parameter in model.named_parameters():
        if name.endswith("out.weight"):
            torch.nn.init.normal_(parameter)
    if not applies(model, "deeplift"):
        pytest.skip("there are no rules for an LSTM, and none for ensembles")
    for method in RULES:
        found = attribute(model, samples(model), None, method=method, num_references=2)
        assert found.delta is not None
        assert found.delta.shape == (3, 3)
        assert np.abs(found.delta).max() < 2e-4


@pytest.mark.parametrize("method", [name for name, each in METHODS.items() if each.complete])
def test_contributions_add_up_to_the_difference_from_the_reference(method: str) -> None:
    model = make("protcnn")
    torch.nn.init.normal_(model.head.out.weight)
    sequences = [each.clip(0, 19) for each in samples(model)]
    found = attribute(model, sequences, 1, method=method, reference="zeros")
    for sequence, scores, parts, delta in zip(
        sequences, found.scores, found.contributions or [], found.delta, strict=True
    ):
        with torch.no_grad():
            x = one_hot(sequence)
            expected = float((model(x) - model(torch.zeros_like(x)))[0, 1])
        assert parts.sum() == pytest.approx(float(scores.sum()), rel=1e-4, abs=1e-5)
        assert scores.sum() - expected == pytest.approx(float(delta), abs=1e-4)
        assert scores.sum() == pytest.approx(expected, rel=0.05, abs=5e-3)


def test_a_result_beyond_tolerance_is_refused_and_told_what_else_there_is() -> None:
    model = make("wrn_bilstm-any-length")
    torch.nn.init.normal_(model.head.out.weight, std=30)
    torch.nn.init.normal_(model.encoder.lstm.weight_ih_l0, std=3)
    with pytest.raises(IncompleteError, match=r"sequence \d.*do not add up.*such as an LSTM.*integrated-gradients"):
        attribute(model, samples(model), 0, method="deeplift")
    with pytest.raises(IncompleteError, match="Take more steps"):
        attribute(model, samples(model), 0, method="integrated-gradients", steps=1)


@pytest.mark.parametrize("key", ["protbert", "esm2", "prott5", "wrn_transformer_xl-causal"])
def test_rollout_follows_the_attention_that_the_model_computes(key: str) -> None:
    model = make(key)
    sequence = samples(model)[0]
    tokens = torch.from_numpy(sequence[None])
    found = attribute(model, [sequence], 0, method="attention-rollout").scores[0]
    if key.startswith("wrn"):
        assert (found >= 0).all()
        assert found.max() > found.min()
        return
    encoder = copy.deepcopy(model.encoder)
    encoder.model.set_attn_implementation("eager")
    attentions: list[torch.Tensor] = []
    for module in encoder.modules():
        if type(module).__name__ in ("BertSelfAttention", "EsmSelfAttention", "T5Attention"):
            module.register_forward_hook(
                lambda _, __, out: attentions.append(
                    next(
                        part
                        for part in out[1:]
                        if part is not None
                        and part.dim() == 4
                        and part.shape[-1] == part.shape[-2]
                        and bool((part.sum(-1) - 1).abs().max() < 1e-4)
                    )
                )
            )
    with torch.no_grad():
        encoder(*model.embedding(tokens))
    assert len(attentions) == 2
    rolled = torch.eye(attentions[0].shape[-1])
    for each in attentions:
        rolled = (each[0].mean(dim=0) + torch.eye(len(rolled))) / 2 @ rolled
    first = encoder.before
    residues = rolled[:, first : first + len(sequence)]
    expected = residues[0] if encoder.whole else residues[first : first + len(sequence)].mean(dim=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_mean_activation_is_the_mean_over_channels() -> None:
    model = make("protcnn")
    sequence = samples(model)[0]
    with torch.no_grad():
        expected = model.stem(*model.embedding(torch.from_numpy(sequence[None])))[0].mean(dim=2)[0]
    found = attribute(model, [sequence], 0, method="mean-activation").scores[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("key", ["protcnn", "wrn_bilstm-any-length", "prott5", "embedding_mlp"])
def test_scores_depend_neither_on_padding_nor_on_batch_mates(key: str) -> None:
    model = make(key)
    batch = samples(model)
    for method in METHODS:
        if not applies(model, method):
            continue
        options = {"num_references": 2, "steps": 200 if method == "gradient-shap" else 48}
        together = attribute(model, batch, 1, method=method, **options)
        for row, sequence in enumerate(batch):
            alone = attribute(model, [sequence], 1, method=method, **options)
            largest = np.abs(alone.scores[0]).max()
            assert together.scores[row].shape == (len(sequence),)
            np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-3, atol=1e-4 * largest + 1e-7)


@pytest.mark.parametrize(
    "key", ["deepsea", "danq", "wrn_transformer_xl", "protbert", "protenn", "kmer_logreg", "light_attention"]
)
def test_every_method_gives_finite_scores_or_says_which_can(key: str) -> None:
    model = make(key)
    batch = samples(model)
    for method, about in METHODS.items():
        if not applies(model, method) and not any(isinstance(part, torch.nn.LSTM) for part in model.modules()):
            with pytest.raises(AssemblyError, match="hoose"):
                attribute(model, batch, 1, method=method)
        elif applies(model, method):
            found = attribute(
                model, batch, 1, method=method, num_references=2, steps=200 if method == "gradient-shap" else 64
            )
            assert found.method == method
            assert found.faithful == about.faithful
            assert (found.delta is not None) == about.complete
            assert all(np.isfinite(each).all() for each in found.scores)
            shapes = [each.shape for each in found.contributions or []]
            wide = model.vector_size or len(DNA.letters if model.alphabet == "dna" else PROTEIN.letters)
            assert shapes in ([], [(len(each), wide) for each in batch])


def test_an_ensemble_layer_is_the_sum_of_its_members() -> None:
    model = make("protenn")
    batch = samples(model)
    whole = attribute(model, batch, 0, method="hirescam", layer="stem").scores
    parts = [
        attribute(model, batch, 0, method="hirescam", layer=f"members.{number}.stem").scores for number in range(3)
    ]
    for ours, *members in zip(whole, *parts, strict=True):
        np.testing.assert_allclose(ours, sum(members), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was_found(make_bundle: Callable[..., Bundle], method: str) -> None:
    bundle = make_bundle()
    model = bundle.model
    model.train()
    model.stem.eval()
    model.head.out.weight.requires_grad_(False)
    model.head.out.bias.grad = torch.ones_like(model.head.out.bias)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def state() -> list[object]:
        modules = [
            (module.training, len(module._forward_hooks), "forward" in vars(module)) for module in model.modules()
        ]
        return [modules, [(each.requires_grad, each.grad is None, each.device) for each in model.parameters()]]

    expected = state()
    tokens = np.random.default_rng(0).integers(0, 5, (2, 64)).astype(np.uint8)
    attribute(bundle, tokens, 0, method=method, num_references=1, steps=200)
    assert state() == expected
    hook = model.head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        attribute(bundle, tokens, 0, method=method, num_references=1, steps=200)
    hook.remove()
    assert state() == expected
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert bool((model.head.out.bias.grad == 1).all())


def test_it_can_be_asked_without_gradients_and_gives_the_same() -> None:
    model = make("protcnn")
    batch = samples(model)
    expected = attribute(model, batch, 0, method="integrated-gradients").scores
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = attribute(model, batch, 0, method="integrated-gradients").scores
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


# References


@given(st.text("ACGTN", min_size=1, max_size=60), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_a_shuffled_dna_reference_has_the_same_dinucleotides_and_ends(letters: str, seed: int) -> None:
    shuffled = DNA.decode(dinucleotide_shuffle(DNA.encode(letters), np.random.default_rng(seed)))
    assert Counter(itertools.pairwise(shuffled)) == Counter(itertools.pairwise(letters))
    assert (shuffled[0], shuffled[-1]) == (letters[0], letters[-1])


def test_all_orders_with_the_same_dinucleotides_are_equally_likely() -> None:
    letters = "ACAGATAA"
    orders = {
        "".join(order)
        for order in itertools.permutations(letters)
        if Counter(itertools.pairwise(order)) == Counter(itertools.pairwise(letters))
    }
    generator = np.random.default_rng(0)
    drawn = Counter(DNA.decode(dinucleotide_shuffle(DNA.encode(letters), generator)) for _ in range(2000))
    assert set(drawn) == orders
    assert len(orders) > 5
    expected = 2000 / len(orders)
    chi_square = sum((count - expected) ** 2 / expected for count in drawn.values())
    assert chi_square < len(orders) + 5 * np.sqrt(2 * len(orders))


def test_a_shuffled_protein_reference_has_the_same_residues() -> None:
    tokens = np.random.default_rng(0).integers(0, 21, 80).astype(np.uint8)
    shuffled = shuffle(tokens, PROTEIN, np.random.default_rng(1))
    assert (np.sort(shuffled) == np.sort(tokens)).all()
    assert (shuffled != tokens).any()


def test_what_is_random_follows_from_the_seed() -> None:
    model = make("wrn_transformer_xl-causal")
    batch = samples(model)
    for method in RANDOM:
        first, again, other = (
            attribute(model, batch, 0, method=method, num_references=2, seed=seed).scores[0] for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 1e-6


# Bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "gradcamm"}, UnknownNameError, "no method 'gradcamm'.*Did you mean grad-cam"),
        ({"layer": "stem.7"}, UnknownNameError, "no layer 'stem.7' among 6"),
        ({"method": "saliency", "layer": "stem"}, AssemblyError, "looks at none. Leave it out, or choose grad-cam"),
        ({"method": "saliency", "reference": "zeros"}, AssemblyError, "compares with none.*integrated-gradients"),
        ({"method": "deeplift", "reference": "null"}, UnknownNameError, "There are: shuffled, uniform, zeros"),
        ({"method": "hirescam", "correct_gradient": True}, AssemblyError, "choose saliency"),
        ({"method": "smoothgrad", "steps": 0}, AssemblyError, "0 steps"),
        ({"target": 3}, UnknownNameError, "no target 3 among 3"),
        ({"target": "t7"}, UnknownNameError, "no target 't7' among 3"),
        ({"target": []}, UnknownNameError, "no target is given"),
        ({"sequences": []}, SequenceError, "there are no sequences"),
        (
            {"sequences": ["ACGT" * 16, "ACGT"]},
            SequenceError,
            "sequence 1: 4 residues, where the model takes exactly 64",
        ),
        ({"sequences": ["J" * 64]}, SequenceError, "sequence 0: letter 'J' at position 1 is not DNA"),
        ({"sequences": [np.full(64, 9)]}, SequenceError, "dna tokens"),
        ({"sequences": np.zeros((2, 64, 4), np.float32)}, SequenceError, "dna tokens"),
    ],
)
def test_bad_input_is_told(
    make_bundle: Callable[..., Bundle], options: dict[str, object], error: type[Exception], message: str
) -> None:
    arguments = {"sequences": ["ACGT" * 16], "target": 0} | options
    with pytest.raises(error, match=message):
        attribute(make_bundle(), arguments.pop("sequences"), arguments.pop("target"), **arguments)


def test_vectors_have_no_letters_to_share_or_correct() -> None:
    model = make("embedding_mlp")
    with pytest.raises(AssemblyError, match="Choose zeros or shuffled"):
        attribute(model, samples(model), 0, method="deeplift", reference="uniform")
    with pytest.raises(AssemblyError, match="letters"):
        attribute(model, samples(model), 0, method="saliency", correct_gradient=True)
    with pytest.raises(SequenceError, match="vectors of 12 numbers"):
        attribute(model, ["MKV"], 0)


# In files


def test_an_explanation_holds_letters_deltas_and_options(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle()
    sequences = {"a": "ACGT" * 16, "b/1": "GGCA" * 16}
    (tmp_path / "x.fa").write_text("".join(f">{name}\n{letters}\n" for name, letters in sequences.items()))
    files = explain(
        bundle, tmp_path / "x.fa", tmp_path / "out", target="t1", method="deepshap", num_references=3, max_plots=0
    )
    assert [file.name for file in files] == ["saliency.tsv", "saliency.npz", "explanation.json"]
    expected = attribute(bundle, list(sequences.values()), "t1", method="deepshap", num_references=3)
    details = json.loads(files[2].read_text())
    assert details["options"] == {"num_references": 3}
    assert [each["id"] for each in details["stretches"]] == list(sequences)
    with np.load(files[1]) as arrays:
        for row, stretch in enumerate(details["stretches"]):
            np.testing.assert_allclose(arrays[stretch["key"]], expected.contributions[row], rtol=1e-4, atol=1e-6)
            assert stretch["delta"] == pytest.approx(float(expected.delta[row]), abs=1e-5)
    rows = [line.split("\t") for line in files[0].read_text().splitlines()[1:]]
    assert [float(row[3]) for row in rows[:64]] == pytest.approx(expected.scores[0].tolist(), rel=1e-3, abs=1e-5)


def test_a_result_that_is_refused_leaves_no_files_and_names_the_record(tmp_path: Path) -> None:
    model = make("wrn_bilstm-any-length")
    torch.nn.init.normal_(model.head.out.weight, std=30)
    torch.nn.init.normal_(model.encoder.lstm.weight_ih_l0, std=3)
    bundle = Bundle(model, [Target(f"t{number}") for number in range(3)], [1] * 3)
    (tmp_path / "x.fa").write_text(">mine\n" + "ACGTTGCA" * 8 + "\n")
    with pytest.raises(AssemblyError, match=r"x.fa, record 'mine': the contributions of deeplift do not add up"):
        explain(bundle, tmp_path / "x.fa", tmp_path / "out", target="t1", method="deeplift")
    assert not (tmp_path / "out").exists()
