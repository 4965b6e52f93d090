"""Each block against a plain reference, and the promises that all keep: padding and batch-mates change nothing."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqclass.blocks import (
    Block,
    CentreMax,
    DenseHead,
    Flatten,
    LearnedEmbedding,
    OneHotEmbedding,
    TransformerXLEncoder,
    WideResNetStem,
    build,
    register_block,
)
from seqclass.blocks.convolution import Convolution
from seqclass.blocks.masking import ChannelDropout, MaskedBatchNorm
from seqclass.blocks.transformer_xl import RelativeAttention, relative_shift, sinusoids
from seqclass.blocks.wide_resnet import BottleneckBlock
from seqclass.errors import AssemblyError, UnknownNameError


def padded(x: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """`x` with rubbish behind it, and the mask that says so."""
    mask = torch.arange(length).expand(len(x), length) < x.shape[1]
    behind = torch.randn(len(x), length - x.shape[1], *x.shape[2:])
    return torch.cat([x, behind], dim=1), mask


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (7, 1), (7, 3)])
@pytest.mark.parametrize("length", [1, 2, 9, 16])
def test_convolution_equals_torch_in_channels_first(kernel: int, stride: int, length: int) -> None:
    layer = Convolution(5, 6, kernel, stride)
    x = torch.randn(2, length, 5)
    expected = F.conv1d(x.transpose(1, 2), layer.weight, stride=stride, padding=kernel // 2).transpose(1, 2)
    torch.testing.assert_close(layer(x), expected)


def test_masked_batch_norm_equals_torch_on_the_real_positions() -> None:
    ours, theirs = MaskedBatchNorm(5), torch.nn.BatchNorm1d(5)
    torch.nn.init.normal_(ours.weight)
    theirs.weight.data.copy_(ours.weight)
    x = torch.randn(4, 9, 5)
    mask = torch.rand(4, 9) < 0.6
    for _ in range(2):
        torch.testing.assert_close(ours(x, mask)[mask], theirs(x[mask]))
        torch.testing.assert_close(ours(x), theirs(x.transpose(1, 2)).transpose(1, 2))
        torch.testing.assert_close(ours(x[:, 0]), theirs(x[:, 0]))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x.transpose(1, 2)).transpose(1, 2))


def shared_batch_norm(rank: int, folder: str) -> None:
    """One of two processes: its part of a batch through the norm, and the gradients that come back."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    x, mask, weight = torch.load(f"{folder}/batch.pt")
    part = slice(0, 3) if rank == 0 else slice(3, 8)
    mine = x[part].clone().requires_grad_()
    norm = MaskedBatchNorm(5)
    y = norm(mine, None if mask is None else mask[part])
    (y * weight[part]).sum().backward()
    torch.save((y.detach(), mine.grad, norm.running_mean, norm.running_var), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("masked", [True, False])
def test_batch_norm_over_two_processes_equals_one_over_the_whole_batch(masked: bool, tmp_path: Path) -> None:
    x, weight = torch.randn(8, 9, 5) + 3, torch.randn(8, 9, 5)
    mask = torch.arange(9) < torch.randint(3, 10, (8, 1)) if masked else None
    if mask is not None:
        weight = weight * mask.unsqueeze(-1)
    torch.save((x, mask, weight), tmp_path / "batch.pt")
    torch.multiprocessing.spawn(shared_batch_norm, args=(str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    whole, norm = x.clone().requires_grad_(), MaskedBatchNorm(5)
    y = norm(whole, mask)
    (y * weight).sum().backward()
    real = mask if mask is not None else torch.ones(8, 9, dtype=torch.bool)
    torch.testing.assert_close(torch.cat([part[0] for part in parts])[real], y[real])
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), whole.grad, rtol=1e-4, atol=1e-5)
    for _, _, mean, variance in parts:
        torch.testing.assert_close(mean, norm.running_mean)
        torch.testing.assert_close(variance, norm.running_var)


def test_channel_dropout_drops_whole_channels_and_keeps_the_mean() -> None:
    dropped = ChannelDropout(0.3)(torch.ones(200, 5, 50))
    assert ((dropped == 0).all(dim=1) | (dropped > 1).all(dim=1)).all()
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert 0.25 < (dropped[:, 0] == 0).float().mean() < 0.35


def test_bottleneck_block_equals_the_plain_channels_first_form() -> None:
    block = BottleneckBlock(6, 8, stride=2, expansion=3, kernel_size=3, squeeze_ratio=4, dropout=0.0).eval()
    for norm in (block.norm_in, block.norm_inner, block.norm_out, block.norm_shortcut):
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.randn(2, 11, 6)

    def norm(layer: MaskedBatchNorm, y: Tensor) -> Tensor:
        return F.relu(F.batch_norm(y, layer.running_mean, layer.running_var, layer.weight, layer.bias))

    y = x.transpose(1, 2)
    shortcut = F.conv1d(norm(block.norm_shortcut, y), block.shortcut.weight, stride=2)
    y = F.conv1d(norm(block.norm_in, y), block.reduce.weight, stride=2)
    y = F.conv1d(norm(block.norm_inner, y), block.convolve.weight, padding=1)
    y = F.conv1d(norm(block.norm_out, y), block.restore.weight)
    gates = block.squeeze_excitation
    assert gates is not None
    gate = torch.sigmoid(F.relu(gates.excite(F.relu(gates.squeeze(y.mean(dim=2))))))
    torch.testing.assert_close(block(x, None)[0].transpose(1, 2), y * gate.unsqueeze(2) + shortcut)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_relative_shift_puts_each_distance_in_its_place(length: int) -> None:
    scores = torch.randn(2, 3, length, 2 * length - 1)
    shifted = relative_shift(scores)
    for i in range(length):
        for j in range(length):
            assert torch.equal(shifted[:, :, i, j], scores[:, :, i, length - 1 - i + j])


@pytest.mark.parametrize("causal", [False, True])
def test_relative_attention_equals_the_formula_position_by_position(causal: bool) -> None:
    layer = RelativeAttention(6, heads=2, head_size=4, causal=causal)
    torch.nn.init.normal_(layer.content_bias)
    torch.nn.init.normal_(layer.position_bias)
    x = torch.randn(1, 5, 6)
    query, key, value = (part.view(5, 2, 4) for part in layer.qkv(x[0]).split(8, dim=1))
    expected = torch.zeros(5, 2, 4)
    for head in range(2):
        for i in range(5):
            seen = range(i + 1) if causal else range(5)
            scores = []
            for j in seen:
                relative = layer.position(sinusoids(torch.tensor([i - j]), 6)).view(2, 4)[head]
                content = (query[i, head] + layer.content_bias[head]) @ key[j, head]
                scores.append((content + (query[i, head] + layer.position_bias[head]) @ relative) / 2)
            weights = torch.stack(scores).softmax(dim=0)
            expected[i, head] = sum(weight * value[j, head] for weight, j in zip(weights, seen, strict=True))
    positions = sinusoids(torch.arange(4, -5, -1), 6)
    torch.testing.assert_close(layer(x, positions, None), layer.out(expected.view(1, 5, 8)))


def test_a_causal_encoder_sees_nothing_that_comes_later() -> None:
    x = torch.randn(2, 12, 16)
    changed = x.clone()
    changed[:, 7:] += 1
    for causal in (True, False):
        encoder = TransformerXLEncoder(16, layers=2, heads=2, head_size=4, inner=8, causal=causal).eval()
        same = torch.isclose(encoder(x)[0], encoder(changed)[0]).all(dim=2).all(dim=0)
        assert same.tolist() == [causal] * 7 + [False] * 5


@pytest.mark.parametrize(
    "block",
    [
        WideResNetStem(6, 8, (8, 12), (2, 3), 2),
        WideResNetStem(6, 8, (8,), (1,), 2, squeeze_ratio=None),
        TransformerXLEncoder(6, 2, 2, 4, 8),
        TransformerXLEncoder(6, 2, 2, 4, 8, causal=True),
    ],
    ids=["stem", "stem-plain", "encoder", "encoder-causal"],
)
@pytest.mark.parametrize("length", [1, 7, 12])
def test_padding_does_not_change_real_positions(block: Block, length: int) -> None:
    block.eval()
    x = torch.randn(3, length, 6)
    y, none = block(x)
    z, mask = block(*padded(x, 17))
    assert none is None
    assert mask.sum(dim=1).tolist() == [y.shape[1]] * 3
    torch.testing.assert_close(z[:, : y.shape[1]], y, rtol=1e-4, atol=1e-5)


def test_stem_padding_leaves_training_statistics_alone() -> None:
    x = torch.randn(4, 12, 6)
    stems = [WideResNetStem(6, 8, (8, 12), (2, 2), 2) for _ in range(2)]
    stems[1].load_state_dict(stems[0].state_dict())
    stems[0](x)
    stems[1](*padded(x, 20))
    for (name, one), (_, two) in zip(stems[0].named_buffers(), stems[1].named_buffers(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


@pytest.mark.parametrize("pool", [CentreMax(4), CentreMax(5), Flatten(11)])
def test_pooling_leaves_padding_out(pool: Block) -> None:
    x = torch.randn(3, 11, 6)
    if isinstance(pool, Flatten):
        mask = torch.arange(11).expand(3, 11) < 8
        torch.testing.assert_close(pool(x, mask)[:, : 8 * 6], pool(x, None)[:, : 8 * 6])
        assert (pool(x, mask)[:, 8 * 6 :] == 0).all()
    else:
        torch.testing.assert_close(pool(*padded(x, 16)), pool(x))


def test_the_centre_of_a_window_is_its_middle_bin() -> None:
    x = torch.arange(125.0).view(1, 125, 1)
    assert CentreMax(25)(x).tolist() == [[62, 124]]


@pytest.mark.parametrize("embedding", [OneHotEmbedding("dna"), LearnedEmbedding(5), LearnedEmbedding(5, norm=False)])
def test_tokens_and_letters_embed_alike_and_unknown_is_the_mean(embedding: Block) -> None:
    tokens = torch.randint(0, 5, (2, 9), dtype=torch.uint8)
    letters = torch.cat([torch.eye(4), torch.full((1, 4), 0.25)])[tokens.long()]
    torch.testing.assert_close(embedding(tokens)[0], embedding(letters)[0])


def test_a_fresh_head_predicts_its_prior() -> None:
    head = DenseHead(6, 3, CentreMax(2), 8, prior=0.1)
    head.set_prior(torch.tensor([0.5, 0.1, 0.0]))
    assert torch.sigmoid(head.out.bias).tolist() == pytest.approx([0.5, 0.1, 1e-5], rel=1e-3)


@pytest.mark.parametrize(
    "block",
    [
        OneHotEmbedding("protein"),
        LearnedEmbedding(5),
        WideResNetStem(6, 8, (8, 12), (2, 3), 2, squeeze_ratio=None),
        TransformerXLEncoder(6, 2, 2, 4, 8, causal=True),
        DenseHead(6, 3, Flatten(7), 8),
    ],
)
def test_a_block_is_rebuilt_from_json(block: Block) -> None:
    config = json.loads(json.dumps(block.config()))
    again = build(config)
    assert again.config() == config
    again.load_state_dict(block.state_dict())


def test_only_registered_blocks_can_be_named() -> None:
    class Private(Block):
        pass

    with pytest.raises(AssemblyError, match="block class Private is not registered"):
        Private().config()
    with pytest.raises(UnknownNameError, match="no block 'system'"):
        build({"block": "system", "arguments": {}})
    with pytest.raises(AssemblyError, match="another block named Flatten"):
        register_block(type("Flatten", (Block,), {}))
    with pytest.raises(AssemblyError, match="cannot be built from its configuration"):
        build({"block": "Flatten", "arguments": {"size": 3}})


def test_impossible_blocks_say_why() -> None:
    with pytest.raises(AssemblyError, match="2 widths and 1 strides"):
        WideResNetStem(4, 8, (8, 8), (2,))
    with pytest.raises(AssemblyError, match="kernel size 4 is even"):
        WideResNetStem(4, 8, (8,), (2,), kernel_size=4)
    with pytest.raises(AssemblyError, match="9 positions reach a head that flattens 7"):
        Flatten(7)(torch.zeros(1, 9, 2))
