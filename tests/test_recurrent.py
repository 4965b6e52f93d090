"""The BiLSTM against the LSTM's equations in numpy, one sequence at a time."""

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from seqclass.blocks import BiLSTMEncoder, build
from seqclass.errors import AssemblyError

Array = NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm_by_hand(layer: nn.LSTM, x: Array, number: int, suffix: str) -> Array:
    """One direction of one layer over `(length, channels)`, in double precision."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w, u, b, c = (getattr(layer, f"{name}_l{number}{suffix}").detach().double().numpy() for name in names)
    hidden = cell = np.zeros(layer.hidden_size)
    outputs = []
    for step in x[::-1] if suffix else x:
        enter, forget, candidate, leave = np.split(w @ step + b + u @ hidden + c, 4)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
        hidden = sigmoid(leave) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs[::-1] if suffix else outputs)


def encode_by_hand(encoder: BiLSTMEncoder, x: Array, layers: int, norm: bool) -> Array:
    for number in range(layers):
        ways = [lstm_by_hand(encoder.lstm, x, number, suffix) for suffix in ("", "_reverse")]
        x = np.concatenate(ways, axis=1)
    y = ways[0] + ways[1] if encoder.directions == "add" else x
    if norm:
        y = (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + 1e-5)
        y = y * encoder.norm.weight.detach().numpy() + encoder.norm.bias.detach().numpy()
    return y


@pytest.mark.parametrize("directions", ["add", "concatenate"])
@pytest.mark.parametrize(("layers", "norm"), [(1, True), (2, False)])
def test_a_ragged_batch_equals_the_equations_of_each_sequence(directions: str, layers: int, norm: bool) -> None:
    encoder = BiLSTMEncoder(5, 4, layers, directions, norm).eval()
    assert encoder.out_channels == (4 if directions == "add" else 8)
    if norm:
        nn.init.normal_(encoder.norm.weight)
        nn.init.normal_(encoder.norm.bias)
    lengths = [6, 11, 1, 8]
    x = torch.randn(4, 14, 5) * 3
    mask = torch.arange(14) < torch.tensor(lengths).unsqueeze(1)
    y, same_mask = encoder(x, mask)
    assert same_mask is mask
    assert y.shape == (4, 14, encoder.out_channels)
    for row, inputs, length in zip(y, x, lengths, strict=True):
        expected = encode_by_hand(encoder, inputs[:length].double().numpy(), layers, norm)
        np.testing.assert_allclose(row[:length].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_without_a_mask_all_positions_are_real() -> None:
    encoder = BiLSTMEncoder(5, 4, directions="concatenate").eval()
    x = torch.randn(3, 9, 5)
    plain, none = encoder(x)
    assert none is None
    torch.testing.assert_close(plain, encoder(x, torch.ones(3, 9, dtype=torch.bool))[0])


def test_padding_leaves_gradients_alone() -> None:
    encoder = BiLSTMEncoder(5, 4, 2)
    x, weight = torch.randn(3, 9, 5), torch.randn(3, 9, 4)
    mask = (torch.arange(15) < 9).expand(3, 15)
    alone = torch.autograd.grad((encoder(x)[0] * weight).sum(), list(encoder.parameters()))
    y, _ = encoder(torch.cat([x, torch.randn(3, 6, 5)], dim=1), mask)
    padded = torch.autograd.grad((y[:, :9] * weight).sum(), list(encoder.parameters()))
    for one, two in zip(alone, padded, strict=True):
        assert one.abs().sum() > 0
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_stays_close_to_single_precision(masked: bool) -> None:
    encoder = BiLSTMEncoder(8, 16)
    x = torch.randn(3, 12, 8)
    mask = (torch.arange(12) < torch.tensor([[12], [5], [9]])) if masked else torch.ones(3, 12, dtype=torch.bool)
    given = mask if masked else None
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = encoder(x.bfloat16(), given)
    exact, _ = encoder(x, given)
    torch.testing.assert_close(rough[mask].float(), exact[mask], rtol=0.1, atol=0.1)


def test_dropout_acts_while_training_only() -> None:
    encoder = BiLSTMEncoder(5, 4, dropout=0.5)
    x = torch.randn(2, 9, 5)
    dropped = (encoder(x)[0] == 0).all(dim=1)
    assert dropped.any()
    assert not dropped.all()
    encoder.eval()
    assert torch.equal(encoder(x)[0], encoder(x)[0])


def test_the_encoder_is_rebuilt_from_json() -> None:
    encoder = BiLSTMEncoder(5, 4, 2, "concatenate", False, 0.1)
    config = json.loads(json.dumps(encoder.config()))
    again = build(config)
    assert again.config() == config
    again.load_state_dict(encoder.state_dict())


def test_impossible_encoders_say_why() -> None:
    with pytest.raises(AssemblyError, match="directions 'sum'"):
        BiLSTMEncoder(5, 4, directions="sum")
    with pytest.raises(AssemblyError, match="0 units"):
        BiLSTMEncoder(5, 0)
