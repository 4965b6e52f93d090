from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from seqclass.alphabets import reverse_complement
from seqclass.attribution import explain as explain_module
from seqclass.attribution.explain import explain
from seqclass.attribution.grad_cam import METHODS, grad_cam, to_residues
from seqclass.attribution.localisation import share_inside
from seqclass.attribution.plots import Mark, plot_saliency
from seqclass.bundle import Bundle
from seqclass.errors import OutputExistsError, UnknownNameError


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
    a, g = activations.detach().numpy(), activations.grad.numpy()
    positions = np.maximum((a * g.mean(axis=1, keepdims=True)).sum(2), 0) if method == "grad-cam" else (a * g).sum(2)
    centres = np.arange(positions.shape[1]) * model.stem.stride
    return np.stack([np.interp(np.arange(tokens.shape[1]), centres, row) for row in positions])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pool", ["flatten", "centre-max"])
def test_maps_equal_the_definition_averaged_over_strands(
    make_bundle: Callable[..., Bundle], tokens: np.ndarray, method: str, pool: str
) -> None:
    bundle = make_bundle(pool=pool)
    other = one_strand(bundle, reverse_complement(tokens).copy(), 1, method)[:, ::-1]
    expected = (one_strand(bundle, tokens, 1, method) + other) / 2
    np.testing.assert_allclose(grad_cam(bundle, tokens, 1, method=method), expected, rtol=1e-4, atol=1e-6)


def test_hirescam_adds_up_to_what_the_layer_contributes(make_bundle: Callable[..., Bundle], tokens: np.ndarray) -> None:
    """Its sum is the derivative of the logit along the layer's activations, here taken by differences."""
    bundle = make_bundle(strides=(1, 1))
    model = bundle.model.double()
    assert bundle.model.stem.stride == 1

    def logit(scale: float) -> torch.Tensor:
        hook = model.stem.register_forward_hook(lambda _, __, out: (out[0] * scale, out[1]))
        with torch.no_grad():
            both = [model(torch.from_numpy(strand.copy()))[:, 2] for strand in (tokens, reverse_complement(tokens))]
        hook.remove()
        return (both[0] + both[1]) / 2

    derivative = (logit(1 + 1e-6) - logit(1 - 1e-6)) / 2e-6
    maps = grad_cam(bundle, tokens, 2, method="hirescam")
    np.testing.assert_allclose(maps.sum(axis=1), derivative.numpy(), rtol=1e-3, atol=1e-5)


def test_the_other_strand_has_the_mirrored_map(make_bundle: Callable[..., Bundle], tokens: np.ndarray) -> None:
    bundle = make_bundle()
    forward = grad_cam(bundle, tokens, 0, method="hirescam")
    reverse = grad_cam(bundle, reverse_complement(tokens).copy(), 0, method="hirescam")
    np.testing.assert_allclose(reverse[:, ::-1], forward, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("length", "stride"), [(9, 1), (9, 2), (10, 4), (1, 8), (7, 8)])
def test_positions_are_brought_back_to_residues_by_interpolation(length: int, stride: int) -> None:
    positions = torch.randn(2, -(-length // stride))
    centres = np.arange(positions.shape[1]) * stride
    expected = [np.interp(np.arange(length), centres, row) for row in positions.numpy()]
    np.testing.assert_allclose(to_residues(positions, length, stride), expected, rtol=1e-5, atol=1e-6)


def test_one_changed_letter_shows_within_a_stride_of_its_place(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(pool="centre-max")
    stem, embedding = bundle.model.stem, bundle.model.embedding
    # The gates of the squeeze-excitation are global; held open, a change stays inside the receptive field.
    for block in stem.blocks:
        torch.nn.init.constant_(block.squeeze_excitation.excite.weight, 0)
    plain = torch.full((1, 160), 4, dtype=torch.uint8)
    for place in range(60, 100):
        changed = plain.clone()
        changed[0, place] = 2
        with torch.no_grad():
            difference = (stem(embedding(changed)[0])[0] - stem(embedding(plain)[0])[0]).abs().sum(dim=2)
        residues = to_residues(difference, 160, stem.stride)[0]
        centre = float((residues * torch.arange(160)).sum() / residues.sum())
        assert abs(centre - place) <= stem.stride


def test_the_model_is_left_as_it_was_found(make_bundle: Callable[..., Bundle], tokens: np.ndarray) -> None:
    bundle = make_bundle()
    bundle.model.train()
    bundle.model.stem.eval()
    modes = [module.training for module in bundle.model.modules()]
    grad_cam(bundle, tokens, 0)
    with pytest.raises(IndexError):
        grad_cam(bundle, tokens, 99)
    assert [module.training for module in bundle.model.modules()] == modes
    assert not bundle.model.stem._forward_hooks
    assert all(parameter.grad is None for parameter in bundle.model.parameters())


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
    with pytest.raises(UnknownNameError, match="no layer 'head' among 3"):
        grad_cam(make_bundle(), tokens, 0, layer="head")
    with pytest.raises(UnknownNameError, match="Did you mean hirescam"):
        grad_cam(make_bundle(), tokens, 0, method="hirecam")


def test_the_share_inside_is_of_the_positive_saliency() -> None:
    saliency = np.array([1, -5, 2, 3, -1, 4], dtype=np.float32)
    assert share_inside(saliency, [(2, 4)]) == pytest.approx(0.5)
    assert share_inside(saliency, [(-3, 3), (1, 2)]) == pytest.approx(0.3)
    assert share_inside(saliency, []) == 0
    assert np.isnan(share_inside(-np.abs(saliency), [(0, 2)]))


def test_a_picture_is_drawn_in_the_format_its_name_asks_for(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=64).astype(np.float32)
    tracks = {"grad-cam": np.maximum(values, 0), "hirescam": values}
    for name, magic in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        plot_saliency(tmp_path / name, "ACGTN" * 12 + "ACGT", tracks, marks=[Mark(3, 9, "Reb1")], start=1000)
        assert (tmp_path / name).read_bytes().startswith(magic)
    plot_saliency(tmp_path / "b.png", "ACGT" * 16, {r"$\frac$": values}, marks=[Mark(3, 9, r"$\frac$")], title="$x_$")
    image = imread(tmp_path / "a.png")
    assert image[..., :3].std() > 0.05
    with pytest.raises(OutputExistsError):
        plot_saliency(tmp_path / "a.png", "ACGT", {"one": np.zeros(4, np.float32)})
    plot_saliency(tmp_path / "a.png", "ACGT", {"one": np.zeros(4, np.float32)}, force=True)
