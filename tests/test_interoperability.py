"""Other people's tools on a model, through the channels-first view of it."""

from __future__ import annotations

import pytest
import torch

from seqclass.errors import AssemblyError
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


def test_tools_leave_the_model_in_the_mode_that_they_found_it_in() -> None:
    pytest.importorskip("tangermeme", reason="tangermeme is not installed")
    from tangermeme.predict import predict

    for training in (True, False):
        own, tokens = model().train(training), torch.randint(0, 4, (3, 40))
        before = {name: value.clone() for name, value in own.state_dict().items()}
        predict(as_channels_first(own), letters(tokens), device="cpu")
        assert own.training == training
        assert all(part.training == training for part in own.modules())
        assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())


def test_our_own_layout_in_the_channels_first_view_is_refused() -> None:
    with pytest.raises(AssemblyError, match=r"shape \(3, 4, 40\), where \(batch, length, 4\) soft letters"):
        as_channels_first(model())(letters(torch.randint(0, 4, (3, 40))).transpose(1, 2))


def test_gradients_of_the_view_are_those_of_soft_letters() -> None:
    own, x = model(), torch.rand(2, 4, 40)
    first, last = x.clone().requires_grad_(), x.transpose(1, 2).clone().requires_grad_()
    as_channels_first(own)(first)[:, 1].sum().backward()
    own(last)[:, 1].sum().backward()
    assert first.grad is not None
    assert last.grad is not None
    assert first.grad.abs().sum() > 0
    torch.testing.assert_close(first.grad, last.grad.transpose(1, 2))


def test_integrated_gradients_of_captum_add_up() -> None:
    pytest.importorskip("captum", reason="captum is not installed")
    from captum.attr import IntegratedGradients

    own, tokens = model(), torch.randint(0, 4, (2, 40))
    view, x = as_channels_first(own), letters(tokens)
    unknown = torch.full_like(x, 0.25)
    parts = IntegratedGradients(view).attribute(x, unknown, target=1, n_steps=2000, internal_batch_size=100)
    expected = (view(x) - view(unknown))[:, 1]
    torch.testing.assert_close(parts.sum(dim=(1, 2)), expected.double(), rtol=0.02, atol=2e-3, check_dtype=False)
