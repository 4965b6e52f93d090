"""Each pooling against a loop over the real residues of one sequence after another."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqclass.blocks import AttentionPool, LightAttention, MaxPool, MeanPool, Pool, build


def attention_pool(channels: int = 4) -> AttentionPool:
    pool = AttentionPool(channels)
    torch.nn.init.normal_(pool.query)
    return pool


POOLS = {
    "max": MaxPool,
    "mean": MeanPool,
    "sum": lambda: MeanPool(0),
    "sum over root of length": lambda: MeanPool(0.5),
    "attention": attention_pool,
    "light attention": lambda: LightAttention(4, kernel_size=3, dropout=0.0),
}


def by_hand(pool: Pool, x: Tensor) -> Tensor:
    """The pooling of one `(length, channels)` sequence without padding, in plain numpy or channels-first torch."""
    if isinstance(pool, LightAttention):
        image = x.T.unsqueeze(0)
        values = F.conv1d(image, pool.values.weight, pool.values.bias, padding="same")[0]
        scores = F.conv1d(image, pool.attention.weight, padding="same")[0]
        return torch.cat([(values * torch.softmax(scores, dim=1)).sum(dim=1), values.max(dim=1).values])
    rows = x.double().numpy()
    if isinstance(pool, MaxPool):
        pooled = rows.max(axis=0)
    elif isinstance(pool, MeanPool):
        pooled = rows.sum(axis=0) / len(rows) ** pool.power
    else:
        assert isinstance(pool, AttentionPool)
        query = pool.query.detach().double().numpy()
        weights = np.array([np.exp(row @ query / np.sqrt(len(query))) for row in rows])
        pooled = sum(weight * row for weight, row in zip(weights / weights.sum(), rows, strict=True))
    return torch.from_numpy(pooled).float()


@pytest.mark.parametrize("name", POOLS)
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    padding=st.integers(0, 5),
    seed=st.integers(0, 10_000),
    shift=st.sampled_from([-9.0, 0.0, 9.0]),
)
def test_a_ragged_batch_pools_the_real_residues_of_each(
    name: str, lengths: list[int], padding: int, seed: int, shift: float
) -> None:
    torch.manual_seed(seed)
    pool = POOLS[name]()
    # The shift makes all real residues lie on one side of zero, and the rubbish behind them on both.
    x = torch.randn(len(lengths), max(lengths) + padding, 4)
    mask = torch.arange(x.shape[1]) < torch.tensor(lengths).unsqueeze(1)
    x = torch.where(mask.unsqueeze(-1), x + shift, x * 100)
    pooled = pool(x, mask)
    assert pooled.shape == (len(lengths), 4 * pool.multiple)
    for row, inputs, length in zip(pooled, x, lengths, strict=True):
        torch.testing.assert_close(row, by_hand(pool, inputs[:length]), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(row, pool(inputs[:length].unsqueeze(0))[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", POOLS)
def test_padding_gets_no_gradient_and_every_parameter_does(name: str) -> None:
    pool = POOLS[name]()
    x = torch.randn(3, 9, 4, requires_grad=True)
    mask = torch.arange(9) < torch.tensor([[9], [4], [1]])
    pool(x, mask).square().sum().backward()
    assert x.grad is not None
    assert (x.grad[~mask] == 0).all()
    assert x.grad.isfinite().all()
    assert (x.grad.abs().sum(dim=(1, 2)) > 0).all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in pool.parameters())


def test_fresh_attention_is_the_mean() -> None:
    x, mask = torch.randn(3, 9, 4), torch.arange(9) < torch.tensor([[9], [4], [1]])
    torch.testing.assert_close(AttentionPool(4)(x, mask), MeanPool()(x, mask))


def test_sharp_attention_finds_its_residue() -> None:
    x = torch.randn(2, 30, 4)
    x[0, 7], x[1, 22] = torch.tensor([9.0, 0, 0, 0]), torch.tensor([9.0, 1, 2, 3])
    pool = AttentionPool(4)
    with torch.no_grad():
        pool.query[0] = 50
    torch.testing.assert_close(pool(x), torch.stack([x[0, 7], x[1, 22]]))


def test_light_attention_with_equal_scores_is_mean_beside_maximum() -> None:
    pool = LightAttention(4, kernel_size=1).eval()
    with torch.no_grad():
        pool.attention.weight.zero_()
        pool.values.weight.copy_(torch.eye(4).unsqueeze(2))
        pool.values.bias.zero_()
    x, mask = torch.randn(3, 9, 4), torch.arange(9) < torch.tensor([[9], [4], [1]])
    torch.testing.assert_close(pool(x, mask), torch.cat([MeanPool()(x, mask), MaxPool()(x, mask)], dim=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_mean_of_a_long_sequence_survives_half_precision(dtype: torch.dtype) -> None:
    x = torch.full((1, 3001, 2), 100.0, dtype=dtype)
    mask = torch.ones(1, 3001, dtype=torch.bool)
    for given_mask in (None, mask):
        pooled = MeanPool()(x, given_mask)
        assert pooled.dtype == dtype
        assert pooled.tolist() == [[100, 100]]


@pytest.mark.parametrize("name", POOLS)
def test_bfloat16_stays_close_to_single_precision(name: str) -> None:
    pool = POOLS[name]()
    x, mask = torch.randn(3, 9, 4), torch.arange(9) < torch.tensor([[9], [4], [1]])
    with torch.autocast("cpu", torch.bfloat16):
        rough = pool(x, mask)
    torch.testing.assert_close(rough.float(), pool(x, mask), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", POOLS)
def test_a_pooling_is_rebuilt_from_json(name: str) -> None:
    pool = POOLS[name]()
    config = json.loads(json.dumps(pool.config()))
    again = build(config)
    assert again.config() == config
    again.load_state_dict(pool.state_dict())
    x = torch.randn(2, 7, 4)
    assert torch.equal(again(x), pool(x))
