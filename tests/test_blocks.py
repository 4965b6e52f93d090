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
    build,
    register_block,
)
from seqclass.blocks.convolution import Convolution
from seqclass.blocks.masking import ChannelDropout, MaskedBatchNorm
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


@pytest.mark.parametrize(
    "block",
    [
        OneHotEmbedding("protein"),
        LearnedEmbedding(5),
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
    with pytest.raises(AssemblyError, match="kernel size 4 is even"):
        Convolution(4, 8, 4)
    with pytest.raises(AssemblyError, match="9 positions reach a head that flattens 7"):
        Flatten(7)(torch.zeros(1, 9, 2))
