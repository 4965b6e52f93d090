"""Other people's tools on a model, through the channels-first view of it."""

from __future__ import annotations

import pytest
import torch

from seqclass.models import as_channels_first, create_model


def model(name: str = "wrn") -> torch.nn.Module:
    options = {"channels": 16, "widths": (16, 16), "strides": (2, 2), "expansion": 4, "hidden": 8, "length": 40}
    built = create_model(name, num_targets=2, **options)
    with torch.no_grad():
        built(torch.randint(0, 4, (16, 40)))
    return built.eval()


def letters(tokens: torch.Tensor) -> torch.Tensor:
    return torch.eye(4)[tokens].transpose(1, 2).contiguous()


def test_channels_first_gives_the_logits_of_the_tokens() -> None:
    own, tokens = model(), torch.randint(0, 4, (3, 40))
    torch.testing.assert_close(as_channels_first(own)(letters(tokens)), own(tokens))
    torch.testing.assert_close(as_channels_first(own)(letters(tokens).to(torch.int8)), own(tokens))


def test_tangermeme_predicts_and_mutates_as_we_do() -> None:
    pytest.importorskip("tangermeme", reason="tangermeme is not installed")
    from tangermeme.predict import predict
    from tangermeme.saturation_mutagenesis import saturation_mutagenesis

    own, tokens = model(), torch.randint(0, 4, (3, 40))
    view = as_channels_first(own)
    torch.testing.assert_close(predict(view, letters(tokens), device="cpu"), own(tokens))
    before, after = saturation_mutagenesis(view, letters(tokens), device="cpu", raw_outputs=True)
    torch.testing.assert_close(before, own(tokens), rtol=1e-4, atol=1e-5)
    for letter in range(4):
        for place in (0, 17, 39):
            changed = tokens.clone()
            changed[:, place] = letter
            torch.testing.assert_close(after[:, letter, place], own(changed), rtol=1e-4, atol=1e-5)


def test_integrated_gradients_of_captum_add_up() -> None:
    pytest.importorskip("captum", reason="captum is not installed")
    from captum.attr import IntegratedGradients

    own, tokens = model(), torch.randint(0, 4, (2, 40))
    view, x = as_channels_first(own), letters(tokens)
    unknown = torch.full_like(x, 0.25)
    parts = IntegratedGradients(view).attribute(x, unknown, target=1, n_steps=2000, internal_batch_size=100)
    expected = (view(x) - view(unknown))[:, 1]
    torch.testing.assert_close(parts.sum(dim=(1, 2)), expected.double(), rtol=0.02, atol=2e-3, check_dtype=False)
