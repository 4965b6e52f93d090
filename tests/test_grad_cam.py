from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_registry import TINY, inputs, make

from seqclass.alphabets import reverse_complement
from seqclass.attribution import explain as explain_module
from seqclass.attribution.attribute import attribute
from seqclass.attribution.explain import explain
from seqclass.attribution.grad_cam import CAMS
from seqclass.attribution.layers import Cut, find_layer, layers, to_residues
from seqclass.blocks import ConvolutionStages, Flatten, LinearHead, OneHotEmbedding, ProtCNNStem
from seqclass.blocks.stages import UnpaddedConvolution
from seqclass.bundle import Bundle
from seqclass.errors import UnknownNameError
from seqclass.models import SequenceClassifier, Spacing, create_model


@pytest.fixture
def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 5, (3, 64)).astype(np.uint8)


def one_strand(bundle: Bundle, tokens: np.ndarray, target: int, method: str) -> np.ndarray:
    """The definition, with the model cut in two at its stem instead of hooked."""
    model = bundle.model
    with torch.no_grad():
        activations, _ = model.stem(model.embedding(torch.from_numpy(tokens))[0])
    activations.requires_grad_()
    encoded, _ = model.encoder(activations)
    model.head(torch.cat([activations, encoded], dim=-1))[:, target].sum().backward()
    a, g = activations.detach().double().numpy(), activations.grad.double().numpy()
    mean = g.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        alpha = np.nan_to_num(g**2 / (2 * g**2 + a.sum(axis=1, keepdims=True) * g**3))
    positions = {
        "grad-cam": np.maximum((a * mean).sum(2), 0),
        "grad-cam-relu": np.maximum(a * mean, 0).sum(2),
        "grad-cam++": np.maximum((a * (alpha * np.maximum(g, 0)).sum(axis=1, keepdims=True)).sum(2), 0),
        "hirescam": (a * g).sum(2),
    }[method]
    centres = np.arange(positions.shape[1]) * model.stem.stride
    return np.stack([np.interp(np.arange(tokens.shape[1]), centres, row) for row in positions])


@pytest.mark.parametrize("method", CAMS)
@pytest.mark.parametrize("pool", ["flatten", "centre-max"])
def test_maps_equal_the_definition_averaged_over_strands(
    make_bundle: Callable[..., Bundle], tokens: np.ndarray, method: str, pool: str
) -> None:
    bundle = make_bundle(pool=pool)
    other = one_strand(bundle, reverse_complement(tokens).copy(), 1, method)[:, ::-1]
    expected = (one_strand(bundle, tokens, 1, method) + other) / 2
    scores = attribute(bundle, tokens, 1, method=method).scores
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_hirescam_adds_up_to_what_the_layer_contributes(make_bundle: Callable[..., Bundle], tokens: np.ndarray) -> None:
    """Its sum is the derivative of the logit along the layer's activations, here taken by differences."""
    bundle = make_bundle(strides=(1, 1))
    model = bundle.model
    assert model.stem.stride == 1

    def logit(scale: float) -> torch.Tensor:
        hook = model.stem.register_forward_hook(lambda _, __, out: (out[0] * scale, out[1]))
        with torch.no_grad():
            both = [model(torch.from_numpy(strand.copy()))[:, 2] for strand in (tokens, reverse_complement(tokens))]
        hook.remove()
        return (both[0] + both[1]) / 2

    maps = np.stack(attribute(bundle, tokens, 2, method="hirescam").scores)
    model.double()
    derivative = (logit(1 + 1e-6) - logit(1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(maps.sum(axis=1), derivative.numpy(), rtol=1e-3, atol=1e-5)


def test_hirescam_is_exact_under_a_head_that_flattens_into_one_linear_layer() -> None:
    stem = ProtCNNStem(20, 8, 4, 3, (1, 2))
    model = SequenceClassifier(
        OneHotEmbedding("protein"), stem, None, LinearHead(8, 2, Flatten(30)), None, "protein", 30
    ).eval()
    tokens = np.random.default_rng(0).integers(0, 21, (4, 30)).astype(np.uint8)
    logits = model(torch.from_numpy(tokens)).detach() - model.head.out.bias.detach()
    maps = attribute(model, tokens, None, method="hirescam").scores
    np.testing.assert_allclose([each.sum(axis=1) for each in maps], logits, rtol=1e-4, atol=1e-5)
    averaged = np.stack([each.sum(axis=1) for each in attribute(model, tokens, None, method="grad-cam").scores])
    assert np.abs(averaged - logits.numpy()).max() > 0.01


def test_the_other_strand_has_the_mirrored_map(make_bundle: Callable[..., Bundle], tokens: np.ndarray) -> None:
    bundle = make_bundle()
    forward, reverse = (
        np.stack(attribute(bundle, strand, 0, method="hirescam").scores)
        for strand in (tokens, reverse_complement(tokens))
    )
    np.testing.assert_allclose(reverse[:, ::-1], forward, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", CAMS)
@pytest.mark.parametrize("key", ["wrn", "wrn_transformer_xl-causal", "protcnn", "danq", "esm2"])
def test_all_targets_at_once_equal_one_after_the_other(key: str, method: str) -> None:
    name, options = TINY[key]
    model = create_model(name, num_targets=70, **options).eval()
    torch.nn.init.normal_(model.head.out.weight)
    batch = [each.numpy() for each in inputs(model, 2)]
    if model.length is None:
        batch[0] = batch[0][:41]
    together = attribute(model, batch, None, method=method).scores
    for column in (0, 33, 69):
        alone = attribute(model, batch, column, method=method).scores
        for ours, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(ours[column], one, rtol=1e-5, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("key", TINY)
def test_what_lies_behind_a_layer_turns_its_activations_into_the_logits(key: str) -> None:
    model = make(key)
    batch = inputs(model, 2)
    mask = None if model.length else torch.arange(batch.shape[1]) < torch.tensor([[batch.shape[1]], [40]])
    for layer in {each for found in layers(model).values() for each in found}:
        cut = Cut(model, layer, batch, mask)
        torch.testing.assert_close(cut.logits, model(batch, mask))
        torch.testing.assert_close(cut(cut.activations), model(batch, mask))
        assert cut.mask is None or cut.mask.shape == cut.activations.shape[:2]
        assert not any("forward" in vars(module) or module._forward_hooks for module in model.modules())


def test_the_layers_below_are_not_computed_again() -> None:
    model = make("wrn_transformer_xl")
    (layer,) = find_layer(model, "encoder.1")
    cut = Cut(model, layer, inputs(model, 1), None)
    model.stem.convolve.register_forward_pre_hook(lambda *_: pytest.fail("the stem ran again"))
    model.encoder.layers[0].attention.register_forward_pre_hook(lambda *_: pytest.fail("the layer below ran again"))
    cut(cut.activations * 2)


@pytest.mark.parametrize("key", TINY)
def test_the_last_stage_of_a_stem_lies_where_the_stem_says(key: str) -> None:
    model = make(key)
    table = layers(model)
    assert model.sequence_layers().items() <= {name: found[0].spacing for name, found in table.items()}.items()
    stages = [name for name in table if name.startswith("stem.")]
    if stages:
        assert table[stages[-1]][0].spacing == table["stem"][0].spacing


@pytest.mark.parametrize(("length", "spacing"), [(9, (1, 0)), (9, (2, 0)), (10, (4, 1.5)), (1, (8, 0)), (60, (8, 9))])
def test_positions_are_brought_back_to_residues_by_interpolation(length: int, spacing: tuple[int, float]) -> None:
    positions = torch.randn(2, -(-length // spacing[0]))
    centres = spacing[1] + np.arange(positions.shape[1]) * spacing[0]
    expected = [np.interp(np.arange(length), centres, row) for row in positions.numpy()]
    np.testing.assert_allclose(to_residues(positions, length, Spacing(*spacing)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["stem.0", "stem.1", "stem"])
def test_one_changed_letter_shows_within_a_stride_of_its_place(make_bundle: Callable[..., Bundle], name: str) -> None:
    model = make_bundle(pool="centre-max").model
    # The gates of the squeeze-excitation are global; held open, a change stays inside the receptive field.
    for block in model.stem.blocks:
        torch.nn.init.constant_(block.squeeze_excitation.excite.weight, 0)
    _is_found_within_a_stride(model, name, range(60, 100), 160)


@pytest.mark.parametrize("name", ["stem.0", "stem.1", "stem.2"])
@pytest.mark.parametrize("convolutions", [1, 2])
def test_a_planted_letter_is_found_through_unpadded_stages_and_pools(name: str, convolutions: int) -> None:
    stem = ConvolutionStages(4, (3, 3, 3), 8, (4, 3, 2), (0.0, 0.0, 0.0), convolutions)
    model = SequenceClassifier(
        OneHotEmbedding(), stem, None, LinearHead(3, 1, Flatten(stem.out_length(700))), None, length=700
    )
    for module in model.modules():
        if isinstance(module, UnpaddedConvolution):
            torch.nn.init.constant_(module.weight, 1.0)
    torch.nn.init.zeros_(stem.blocks[0].convolutions[0].weight[:, :2])
    _is_found_within_a_stride(model.eval(), name, range(330, 370), 700)


def _is_found_within_a_stride(model: SequenceClassifier, name: str, places: range, length: int) -> None:
    (layer,) = find_layer(model, name)
    plain = torch.full((1, length), 0, dtype=torch.uint8)
    before = Cut(model, layer, plain, None).activations.detach()
    for place in places:
        changed = plain.clone()
        changed[0, place] = 2
        difference = (Cut(model, layer, changed, None).activations.detach() - before).abs().sum(dim=2)
        residues = to_residues(difference, length, layer.spacing)[0]
        centre = float((residues * torch.arange(length)).sum() / residues.sum())
        assert abs(centre - place) <= layer.spacing.stride


def test_the_model_is_made_ready_once_for_all_sequences(
    make_bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle()
    bundle.model.train()
    seen = []
    monkeypatch.setattr(explain_module, "plot_saliency", lambda *_, **__: seen.append(bundle.model.training))
    (tmp_path / "x.fa").write_text("".join(f">s{i}\n{'ACGT' * 16}\n" for i in range(3)))
    explain(bundle, tmp_path / "x.fa", tmp_path / "out", target="t1")
    assert seen == [False] * 3
    assert bundle.model.training


def test_unknown_layers_and_methods_are_errors(make_bundle: Callable[..., Bundle], tokens: np.ndarray) -> None:
    with pytest.raises(UnknownNameError, match="no layer 'head' among 6"):
        attribute(make_bundle(), tokens, 0, layer="head")
    with pytest.raises(UnknownNameError, match="Did you mean hirescam"):
        attribute(make_bundle(), tokens, 0, method="hirecam")
