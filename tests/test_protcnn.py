"""ProtCNN's trunk against its published form, one domain at a time, and its fast paths against the plain one."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.blocks import LinearHead, MaxPool, OneHotEmbedding, ProtCNNStem, build, protcnn
from seqclass.blocks.masking import MaskedBatchNorm
from seqclass.blocks.protcnn import DilatedConvolution
from seqclass.errors import AssemblyError
from seqclass.models import SequenceClassifier

LENGTHS = [23, 4, 40, 11]


def small(**options: object) -> ProtCNNStem:
    """A narrow trunk whose batch-norms are not the identity."""
    stem = ProtCNNStem(**{"in_channels": 5, "channels": 12, "bottleneck": 7, "kernel_size": 5} | options)
    for module in stem.modules():
        if isinstance(module, MaskedBatchNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return stem


def ragged_batch(lengths: list[int], channels: int = 5) -> tuple[list[Tensor], Tensor, Tensor]:
    """Sequences, the same in one tensor with rubbish behind each, and its mask."""
    sequences = [torch.randn(length, channels) for length in lengths]
    x = torch.randn(len(lengths), max(lengths) + 6, channels) * 10
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    return sequences, x, torch.arange(x.shape[1]) < torch.tensor(lengths).unsqueeze(1)


def published_form(stem: ProtCNNStem, sequences: list[Tensor], training: bool) -> Tensor:
    """The trunk in channels-first torch, each sequence convolved alone; the real positions of all, one after another.

    Batch-norm sees all residues of all sequences, as rows of one matrix; running statistics are left as they are.
    """

    def norm(layer: MaskedBatchNorm, parts: list[Tensor]) -> list[Tensor]:
        mean, var = layer.running_mean.clone(), layer.running_var.clone()
        rows = F.batch_norm(torch.cat(parts), mean, var, layer.weight, layer.bias, training)
        return list(F.relu(rows).split([len(part) for part in parts]))

    def convolve(layer: DilatedConvolution, parts: list[Tensor]) -> list[Tensor]:
        return [
            F.conv1d(part.T.unsqueeze(0), layer.weight, layer.bias, dilation=layer.dilation, padding="same")[0].T
            for part in parts
        ]

    parts = convolve(stem.convolve, sequences)
    for block in stem.blocks:
        inner = convolve(block.restore, norm(block.norm_out, convolve(block.reduce, norm(block.norm_in, parts))))
        parts = [part + more for part, more in zip(parts, inner, strict=True)]
    return torch.cat(parts)


def test_the_published_network_has_its_number_of_parameters_and_its_reach() -> None:
    with torch.device("meta"):  # nothing need be drawn to be counted
        stem, head = ProtCNNStem(), LinearHead(1100, 17_929, MaxPool())
    assert sum(p.numel() for module in (stem, head) for p in module.parameters()) == 50_213_679
    assert stem.receptive_field == 337


def test_an_output_depends_on_337_residues_around_it() -> None:
    stem = ProtCNNStem(20, 16, 8).eval()
    x = torch.randn(16, 501, 20, requires_grad=True)
    stem(x)[0][:, 250].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum(dim=(0, 2)).nonzero().flatten()
    assert (seen[0].item(), seen[-1].item()) == (250 - 168, 250 + 168)
    assert stem.receptive_field == 337


@pytest.mark.parametrize("training", [False, True])
def test_a_ragged_batch_equals_the_published_form_of_each_domain(training: bool) -> None:
    stem = small().train(training)
    sequences, x, mask = ragged_batch(LENGTHS)
    y, same_mask = stem(x, mask)
    assert same_mask is mask
    torch.testing.assert_close(y[mask], published_form(stem, sequences, training), rtol=1e-4, atol=1e-4)


def test_padding_leaves_statistics_and_gradients_alone() -> None:
    narrow, wide = small(), small()
    wide.load_state_dict(narrow.state_dict())
    x = torch.randn(3, 17, 5)
    weight = torch.randn(3, 17, 12)
    (narrow(x)[0] * weight).sum().backward()
    behind = torch.randn(3, 13, 5)
    y, _ = wide(torch.cat([x, behind], dim=1), (torch.arange(30) < 17).expand(3, 30))
    (y[:, :17] * weight).sum().backward()
    for (name, one), (_, two) in zip(narrow.named_buffers(), wide.named_buffers(), strict=True):
        torch.testing.assert_close(one, two, msg=name)
    for (name, one), (_, two) in zip(narrow.named_parameters(), wide.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("dilation", [1, 2, 3, 9, 27])
@pytest.mark.parametrize("length", [1, 8, 27, 100])
@pytest.mark.parametrize("kernel_size", [1, 9])
def test_tiles_and_phases_give_the_plain_convolution(dilation: int, length: int, kernel_size: int) -> None:
    layer = DilatedConvolution(70, 33, kernel_size, dilation)
    x = torch.randn(2, length, 70, requires_grad=True)
    downstream = torch.randn(2, length, 33)
    inputs = (x, layer.weight, layer.bias)
    expected = F.conv1d(x.transpose(1, 2), layer.weight, layer.bias, dilation=dilation, padding="same").transpose(1, 2)
    gradients = torch.autograd.grad((expected * downstream).sum(), inputs)
    for convolve in (protcnn._convolve, protcnn._convolve_in_tiles):
        y = convolve(*inputs, dilation)
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
        for one, two in zip(torch.autograd.grad((y * downstream).sum(), inputs), gradients, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_tiles_have_whole_channels_and_dense_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def convolve(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        calls.append((tuple(x.shape), tuple(weight.shape), tuple(bias.shape), dilation))
        return x.new_zeros(*x.shape[:2], len(weight))

    monkeypatch.setattr(protcnn, "_convolve", convolve)
    layer = DilatedConvolution(1100, 550, 9, 27)
    for length in (128, 64):
        y = protcnn._convolve_in_tiles(torch.zeros(2, length, 1100), layer.weight, layer.bias, 27)
        assert y.shape == (2, length, 550)
    # 64 residues would grow by a quarter, to 3 positions in each of 27 phases.
    shapes = (576, 1152, 9), (576,)
    assert calls == [((54, 5, 1152), *shapes, 1), ((2, 64, 1152), *shapes, 27)]


def test_phases_are_put_back_where_they_came_from() -> None:
    x = torch.arange(2 * 12 * 1.0).view(2, 12, 1)
    phases = protcnn._to_phases(x, 3)
    assert phases[1, :, 0].tolist() == [1, 4, 7, 10]
    assert phases[3, :, 0].tolist() == [12, 15, 18, 21]
    assert torch.equal(protcnn._from_phases(phases, 3), x)


@pytest.mark.parametrize("training", [False, True])
def test_the_fast_path_is_invisible_from_outside(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stem = small(kernel_size=9).train(training)
    _, x, mask = ragged_batch(LENGTHS)
    with torch.no_grad():
        plain = stem(x, mask)[0]
        monkeypatch.setattr(protcnn, "_runs_on_tensor_cores", lambda _: True)
        fast = stem(x, mask)[0]
    torch.testing.assert_close(fast[mask], plain[mask], rtol=1e-5, atol=1e-5)
    assert stem.convolve.weight.shape == (12, 5, 9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_on_a_gpu_stays_close(dtype: torch.dtype) -> None:
    stem = ProtCNNStem(20, 100, 50).eval()
    x = torch.randn(4, 90, 20)
    exact = stem(x)[0]
    with torch.autocast("cuda", dtype):
        rough = stem.cuda()(x.cuda())[0]
    assert (rough.float().cpu() - exact).norm() < 1e-2 * exact.norm()


@pytest.mark.parametrize("length", [3, 9, 30])
def test_padding_and_batch_mates_do_not_change_logits(length: int) -> None:
    head = LinearHead(12, 3, MaxPool())
    model = SequenceClassifier(OneHotEmbedding("protein"), small(in_channels=20), None, head, None, "protein").eval()
    tokens = torch.randint(0, 21, (3, 37))
    mask = torch.ones(3, 37, dtype=torch.bool)
    mask[0, length:] = False
    torch.testing.assert_close(model(tokens, mask)[:1], model(tokens[:1, :length]), rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    stem = small()
    stem(torch.randn(4, 30, 5))[0].square().sum().backward()
    assert not [name for name, p in stem.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_the_trunk_is_rebuilt_from_json() -> None:
    stem = small(dilations=(1, 2)).eval()
    config = json.loads(json.dumps(stem.config()))
    again = build(config).eval()
    assert again.config() == config
    again.load_state_dict(stem.state_dict())
    x = torch.randn(2, 9, 5)
    assert torch.equal(again(x)[0], stem(x)[0])


def test_impossible_convolutions_say_why() -> None:
    with pytest.raises(AssemblyError, match="kernel size 4"):
        small(kernel_size=4)
    with pytest.raises(AssemblyError, match="dilation 0"):
        small(dilations=(1, 0))
