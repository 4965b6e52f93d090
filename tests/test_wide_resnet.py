"""The WideResNet stem against a plain channels-first network of torch.nn layers with the same weights."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seqclass.blocks import WideResNetStem, build
from seqclass.errors import AssemblyError


class PlainGate(nn.Module):
    """Squeeze-excitation of `(batch, channels, length)`."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // ratio)
        self.excite = nn.Linear(channels // ratio, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.relu(self.excite(torch.relu(self.squeeze(x.mean(dim=2)))))
        return x * torch.sigmoid(gate)[:, :, None]


class PlainBlock(nn.Module):
    """A bottleneck block of `(batch, channels, length)`."""

    def __init__(self, before: int, inner: int, after: int, stride: int, kernel: int, groups: int, ratio: int | None):
        super().__init__()
        self.norm_in = nn.BatchNorm1d(before)
        self.reduce = nn.Conv1d(before, inner, 1, stride, bias=False)
        self.norm_inner = nn.BatchNorm1d(inner)
        self.convolve = nn.Conv1d(inner, inner, kernel, padding="same", groups=groups, bias=False)
        self.norm_out = nn.BatchNorm1d(inner)
        self.restore = nn.Conv1d(inner, after, 1, bias=False)
        self.squeeze_excitation = nn.Identity() if ratio is None else PlainGate(after, ratio)
        self.norm_shortcut = nn.BatchNorm1d(before)
        self.shortcut = nn.Conv1d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(torch.relu(self.norm_in(x)))
        y = self.convolve(torch.relu(self.norm_inner(y)))
        y = self.restore(torch.relu(self.norm_out(y)))
        return self.squeeze_excitation(y) + self.shortcut(torch.relu(self.norm_shortcut(x)))


class PlainStem(nn.Module):
    """The stem on `(batch, channels, length)`, its inner widths written out; layers are named as in ours."""

    def __init__(
        self,
        channels: int,
        inner: tuple[int, ...],
        widths: tuple[int, ...],
        strides: tuple[int, ...],
        stem_kernel: int = 7,
        kernel: int = 3,
        groups: int = 1,
        ratio: int | None = 8,
    ) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(6, channels, stem_kernel, padding="same", bias=False)
        self.blocks = nn.Sequential(
            *(
                PlainBlock(before, between, after, stride, kernel, groups, ratio)
                for before, between, after, stride in zip((channels, *widths), inner, widths, strides, strict=False)
            )
        )
        self.norm = nn.BatchNorm1d(widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.blocks(self.convolve(x))))


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "wide": (
        {"widths": (8, 16), "strides": (2, 2), "expansion": 3},
        {"inner": (6, 12), "widths": (8, 16), "strides": (2, 2)},
    ),
    "plain": (
        {"widths": (8, 16), "strides": (1, 3), "expansion": 1, "squeeze_ratio": None},
        {"inner": (2, 4), "widths": (8, 16), "strides": (1, 3), "ratio": None},
    ),
    "resnext": (
        {"widths": (8, 16, 16), "strides": (2, 1, 2), "groups": 4, "group_width": 3, "squeeze_ratio": 4},
        {"inner": (12, 24, 48), "widths": (8, 16, 16), "strides": (2, 1, 2), "groups": 4, "ratio": 4},
    ),
    "grouped": (
        {"widths": (8, 12), "strides": (2, 2), "expansion": 4, "groups": 2, "squeeze_ratio": None},
        {"inner": (8, 12), "widths": (8, 12), "strides": (2, 2), "groups": 2, "ratio": None},
    ),
    "kernels": (
        {"widths": (8,), "strides": (4,), "expansion": 4, "stem_kernel_size": 3, "kernel_size": 7},
        {"inner": (8,), "widths": (8,), "strides": (4,), "stem_kernel": 3, "kernel": 7},
    ),
}


def pair(case: str) -> tuple[WideResNetStem, PlainStem]:
    """Ours and the plain one, with the same weights and the same running statistics."""
    options, plain = CASES[case]
    ours, theirs = WideResNetStem(6, 8, **options), PlainStem(8, **plain)
    for name, buffer in ours.named_buffers():
        torch.nn.init.uniform_(buffer, *((0.5, 2) if name.endswith("running_var") else (-0.5, 0.5)))
    for name, parameter in ours.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, mean=0.5)
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return ours, theirs


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("length", [1, 2, 7, 12, 25])
def test_the_stem_equals_the_plain_channels_first_one(case: str, length: int) -> None:
    ours, theirs = (stem.eval() for stem in pair(case))
    x = torch.randn(3, length, 6)
    y, _ = ours(x)
    assert y.shape == (3, ours.out_length(length), ours.out_channels)
    torch.testing.assert_close(y.transpose(1, 2), theirs(x.transpose(1, 2)))


@pytest.mark.parametrize("case", CASES)
def test_the_stem_trains_as_the_plain_one(case: str) -> None:
    ours, theirs = pair(case)
    x, weight = torch.randn(5, 24, 6), torch.randn(5, 24, ours.out_channels)
    y, z = ours(x)[0], theirs(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(y, z, rtol=1e-4, atol=1e-5)
    weight = weight[:, : y.shape[1]]
    (y * weight).sum().backward()
    (z * weight).sum().backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-4, msg=name)
    buffers = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], msg=name)


def padded(x: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """`x` with rubbish behind it, and the mask that says so."""
    mask = torch.arange(length).expand(len(x), length) < x.shape[1]
    behind = torch.randn(len(x), length - x.shape[1], *x.shape[2:])
    return torch.cat([x, behind], dim=1), mask


@settings(deadline=None, max_examples=40)
@given(case=st.sampled_from(list(CASES)), length=st.integers(1, 40), padding=st.integers(0, 20))
def test_padding_and_batch_mates_do_not_change_real_positions(case: str, length: int, padding: int) -> None:
    stem, _ = pair(case)
    stem.eval()
    x = torch.randn(2, length, 6)
    y, none = stem(x[:1])
    together, mask = padded(x, length + padding)
    mask = mask.clone()
    mask[1] = True
    z, mask = stem(together, mask)
    assert none is None
    assert mask.sum(dim=1).tolist() == [stem.out_length(length), stem.out_length(length + padding)]
    torch.testing.assert_close(z[:1, : y.shape[1]], y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_padding_leaves_training_statistics_alone(case: str) -> None:
    x = torch.randn(4, 12, 6)
    stems = [WideResNetStem(6, 8, **CASES[case][0]) for _ in range(2)]
    stems[1].load_state_dict(stems[0].state_dict())
    stems[0](x)
    stems[1](*padded(x, 20))
    for (name, one), (_, two) in zip(stems[0].named_buffers(), stems[1].named_buffers(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


def test_dropout_takes_whole_channels_of_the_branch_and_never_the_shortcut() -> None:
    block = WideResNetStem(6, 8, (8,), (2,), 4, dropout=0.5).eval().blocks[0]
    x = torch.randn(64, 9, 8)
    kept = block(x, None)[0]
    shortcut = block.shortcut(torch.relu(block.norm_shortcut(x)))
    block.dropout.train()
    y, branch = block(x, None)[0], kept - shortcut
    dropped = torch.isclose(y, shortcut, rtol=1e-4, atol=1e-5).all(dim=1)
    doubled = torch.isclose(y, shortcut + 2 * branch, rtol=1e-4, atol=1e-5).all(dim=1)
    assert (dropped ^ doubled).all()
    assert 0.4 < dropped.float().mean() < 0.6


def test_each_output_position_is_centred_on_its_input_position() -> None:
    stem = WideResNetStem(6, 16, (16, 16), (2, 2), 4, squeeze_ratio=None).eval()
    # Of many sequences, so that no position is cut off by a ReLU in all of them.
    x = torch.randn(32, 100, 6, requires_grad=True)
    y, _ = stem(x)
    for j in (5, 13):
        (gradient,) = torch.autograd.grad(y[:, j].sum(), x, retain_graph=True)
        reached = gradient.abs().sum(dim=(0, 2)).nonzero().flatten()
        assert (int(reached.min()) + int(reached.max())) / 2 == stem.stride * j
        # The first kernel reaches 3 to a side; the inner ones, at strides 2 and 4, reach 1 each.
        assert int(reached.max()) - int(reached.min()) == 2 * (3 + 2 + 4)


def test_the_widths_of_the_original_model() -> None:
    stem = WideResNetStem(64)
    assert [block.convolve.weight.shape for block in stem.blocks] == [(n, n, 3) for n in (256, 512, 1024)]
    resnext = WideResNetStem(64, groups=32, group_width=4)
    assert [block.convolve.weight.shape for block in resnext.blocks] == [(n, n // 32, 3) for n in (128, 256, 512)]


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_gets_a_gradient(case: str) -> None:
    stem, _ = pair(case)
    for name, parameter in stem.named_parameters():
        if name.endswith(("squeeze.bias", "excite.bias")):
            torch.nn.init.ones_(parameter)
    stem(torch.randn(6, 30, 6))[0].square().sum().backward()
    assert [name for name, p in stem.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("case", CASES)
def test_a_stem_is_rebuilt_from_json(case: str) -> None:
    stem, _ = pair(case)
    config = json.loads(json.dumps(stem.config()))
    again = build(config).eval()
    assert again.config() == config
    again.load_state_dict(stem.state_dict())
    x = torch.randn(2, 13, 6)
    assert torch.equal(again(x)[0], stem.eval()(x)[0])


@pytest.mark.parametrize("case", ["wide", "resnext"])
def test_half_precision_stays_within_a_hundredth(case: str) -> None:
    stem, _ = pair(case)
    stem.eval()
    x, mask = torch.randn(3, 30, 6), torch.arange(30) < torch.tensor([[30], [17], [5]])
    exact, mask = stem(x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = stem(x, torch.arange(30) < torch.tensor([[30], [17], [5]]))
    assert (half.float() - exact)[mask].norm() / exact[mask].norm() < 1e-2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"widths": (8, 8), "strides": (2,)}, "2 widths and 1 strides"),
        ({"widths": (), "strides": ()}, "0 widths and 0 strides"),
        ({"widths": (8,), "strides": (0,)}, r"widths \[8\], strides \[0\]"),
        ({"squeeze_ratio": 0}, "squeeze ratio 0"),
        ({"widths": (2,), "strides": (1,), "expansion": 1}, r"inner widths \[0\]"),
        ({"widths": (8, 16), "strides": (1, 1), "expansion": 1, "groups": 4}, r"4 groups .* inner widths \[2, 4\]"),
        ({"groups": 4, "group_width": 0}, r"4 groups inside blocks of inner widths \[0, 0, 0\]"),
        ({"kernel_size": 4}, "kernel size 4 is even"),
        ({"stem_kernel_size": 8}, "kernel size 8 is even"),
        ({"dropout": 1.0}, "a dropout of 1.0"),
    ],
)
def test_impossible_stems_say_why(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(AssemblyError, match=problem):
        WideResNetStem(6, **options)
