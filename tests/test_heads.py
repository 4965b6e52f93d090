"""Heads against plain torch, their start against prevalences, their correction for rare targets against Bayes."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seqclass.blocks import (
    AttentionPool,
    BiLSTMEncoder,
    DenseHead,
    Flatten,
    Head,
    LightAttention,
    LinearHead,
    MaxPool,
    MeanPool,
    OneHotEmbedding,
    ProtCNNStem,
    TransformerXLEncoder,
    build,
)
from seqclass.blocks.heads import NormalisedLinear, adjust_for_prevalence, rescale_weights, shorten_weights
from seqclass.errors import AssemblyError
from seqclass.models import SequenceClassifier

HEADS = {
    "linear": lambda: LinearHead(6, 3, MaxPool()),
    "linear, normalised": lambda: LinearHead(6, 3, AttentionPool(6), normalise=True),
    "linear, dropout": lambda: LinearHead(6, 3, MeanPool(0.5), dropout=0.2),
    "dense": lambda: DenseHead(6, 3, MeanPool(), 16),
    "dense, flattened": lambda: DenseHead(6, 3, Flatten(9), 16),
    "dense, normalised": lambda: DenseHead(6, 3, LightAttention(6, 3), 16, normalise=True),
}
POSTS = {
    "shorten": lambda head: shorten_weights(head, 0.5),
    "rescale": lambda head: rescale_weights(head, torch.tensor([8.0, 2.0, 1.0]), 0.5),
}


@pytest.mark.parametrize("training", [False, True])
def test_the_dense_head_equals_plain_torch(training: bool) -> None:
    head = DenseHead(6, 3, Flatten(9), 16, dropout=0.0).train(training)
    plain = nn.Sequential(nn.Flatten(), head.dense, nn.BatchNorm1d(16), nn.ReLU(), head.out).train(training)
    nn.init.normal_(head.norm.weight)
    nn.init.normal_(head.norm.running_mean)
    plain[2].load_state_dict(head.norm.state_dict(), strict=False)
    x = torch.randn(5, 9, 6)
    torch.testing.assert_close(head(x), plain(x))
    torch.testing.assert_close(head.norm.running_var, plain[2].running_var)


def test_the_linear_head_equals_plain_torch() -> None:
    head = LinearHead(6, 3, MaxPool())
    x = torch.randn(5, 9, 6)
    torch.testing.assert_close(head(x), F.linear(x.max(dim=1).values, head.out.weight, head.out.bias))


@pytest.mark.parametrize("name", ["linear", "linear, normalised", "dense"])
def test_a_fresh_head_predicts_the_prevalence_of_each_target(name: str) -> None:
    head = HEADS[name]()
    prevalence = torch.tensor([0.5, 0.1, 0.002])
    head.set_prior(prevalence)
    nothing = torch.zeros(1, head.out.in_features)
    torch.testing.assert_close(torch.sigmoid(head.out(nothing))[0], prevalence)


def test_a_fresh_head_predicts_the_shares_of_exclusive_targets() -> None:
    head = LinearHead(6, 4, MaxPool())
    share = torch.tensor([0.9, 0.09, 0.01 - 1e-6, 1e-6])
    head.set_prior(share / (1 + share))
    torch.testing.assert_close(head.out.bias.softmax(dim=0), share, rtol=1e-3, atol=0)


def test_a_target_never_seen_starts_rare_and_finite() -> None:
    head = LinearHead(6, 3, MaxPool(), prior=0.1)
    assert torch.sigmoid(head.out.bias).tolist() == pytest.approx([0.1] * 3)
    head.set_prior(torch.tensor([0.0, 0.5, 1.0]))
    assert head.out.bias.isfinite().all()
    assert head.out.bias[0] < -15
    assert head.out.bias[2] > 15


def test_normalised_logits_are_cosines() -> None:
    layer = NormalisedLinear(6, 3)
    x = torch.randn(5, 6)
    cosines = F.cosine_similarity(x.unsqueeze(1), layer.weight.unsqueeze(0), dim=2)
    length = layer.weight.norm(dim=1).mean()
    torch.testing.assert_close(layer(x), cosines * x.norm(dim=1, keepdim=True) * length + layer.bias)


def test_a_longer_weight_vector_wins_nothing_when_normalised() -> None:
    layer = NormalisedLinear(6, 3)
    x = torch.randn(5, 6)
    before = layer(x)
    with torch.no_grad():
        layer.weight[1] *= 100
    torch.testing.assert_close(layer(x), before)


@pytest.mark.parametrize("normalise", [False, True])
def test_shortened_and_rescaled_weights_follow_their_formulas(normalise: bool) -> None:
    head = LinearHead(6, 3, MaxPool(), normalise=normalise)
    x = torch.randn(5, 9, 6)
    bias = head.out.bias
    lengths = head.out.lengths.clone() if normalise else head.out.weight.detach().norm(dim=1)
    before = head(x) - bias
    rescale_weights(head, torch.tensor([400, 100, 4]), 0.5)
    torch.testing.assert_close(head(x) - bias, before * torch.tensor([1.0, 2.0, 10.0]))
    rescale_weights(head, torch.tensor([400, 100, 4]), -0.5)
    shorten_weights(head, 0.7)
    torch.testing.assert_close(head(x) - bias, before / lengths**0.7)


def test_fully_shortened_weights_are_of_length_one() -> None:
    head = DenseHead(6, 3, MaxPool(), 16)
    direction = F.normalize(head.out.weight.detach(), dim=1)
    shorten_weights(head, 1)
    torch.testing.assert_close(head.out.weight.detach(), direction)


def test_adjusted_logits_are_the_posterior_under_equal_classes() -> None:
    # Gaussian classes around known means: the Bayes-optimal logits are linear, with the logarithm of the share in the
    # bias, and so is the optimum for equally frequent classes.
    means = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    share = torch.tensor([0.9, 0.08, 0.02])
    head = LinearHead(2, 3, MaxPool())
    with torch.no_grad():
        head.out.weight.copy_(means)
        head.out.bias.copy_(share.log() - means.square().sum(dim=1) / 2)
    x = torch.randn(50, 1, 2)
    density = torch.exp(-(x - means).square().sum(dim=2) / 2)
    weighed = density * share
    torch.testing.assert_close(head(x).softmax(dim=1), weighed / weighed.sum(dim=1, keepdim=True))
    adjust_for_prevalence(head, share / (1 + share))
    torch.testing.assert_close(head(x).softmax(dim=1), density / density.sum(dim=1, keepdim=True))


def test_adjusting_undoes_the_prior() -> None:
    head = LinearHead(6, 3, MaxPool())
    prevalence = torch.tensor([0.3, 0.01, 0.0001])
    head.set_prior(prevalence)
    adjust_for_prevalence(head, prevalence, 0.5)
    torch.testing.assert_close(head.out.bias.detach(), torch.logit(prevalence) / 2)
    adjust_for_prevalence(head, prevalence, 0.5)
    torch.testing.assert_close(head.out.bias.detach(), torch.zeros(3))


@pytest.mark.parametrize("post", POSTS)
def test_a_corrected_head_survives_saving(post: str) -> None:
    head = HEADS["dense, normalised"]().eval()
    POSTS[post](head)
    again = build(json.loads(json.dumps(head.config()))).eval()
    again.load_state_dict(head.state_dict())
    x = torch.randn(2, 9, 6)
    assert torch.equal(again(x), head(x))


@pytest.mark.parametrize("skip", ["concatenate", "add"])
def test_a_skip_connection_brings_the_stem_to_the_head(skip: str) -> None:
    stem, encoder = ProtCNNStem(20, 8, 4, 3, (1, 2)), TransformerXLEncoder(8, 1, 2, 4, 8)
    head = LinearHead(16 if skip == "concatenate" else 8, 3, MeanPool())
    model = SequenceClassifier(OneHotEmbedding("protein"), stem, encoder, head, skip, "protein").eval()
    tokens = torch.randint(0, 20, (2, 9))
    first, _ = stem(F.one_hot(tokens, 20).float())
    second, _ = encoder(first)
    joined = torch.cat([first, second], dim=2) if skip == "concatenate" else first + second
    torch.testing.assert_close(model(tokens), head.out(joined.mean(dim=1)))


@pytest.mark.parametrize("name", ["linear", "linear, normalised", "linear, dropout", "dense", "dense, normalised"])
def test_padding_and_batch_mates_do_not_change_logits(name: str) -> None:
    encoder = BiLSTMEncoder(8, 6)
    stem = ProtCNNStem(20, 8, 4, 3, (1, 2))
    model = SequenceClassifier(OneHotEmbedding("protein"), stem, encoder, HEADS[name](), None, "protein").eval()
    tokens = torch.randint(0, 21, (3, 20))
    mask = torch.arange(20) < torch.tensor([[7], [20], [1]])
    together = model(tokens, mask)
    for row, length in enumerate((7, 20, 1)):
        torch.testing.assert_close(together[row : row + 1], model(tokens[row : row + 1, :length]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    head = HEADS[name]()
    head(torch.randn(8, 9, 6)).square().sum().backward()
    assert not [name for name, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_rebuilt_from_json(name: str) -> None:
    head = HEADS[name]().eval()
    config = json.loads(json.dumps(head.config()))
    again = build(config).eval()
    assert again.config() == config
    again.load_state_dict(head.state_dict())
    x = torch.randn(2, 9, 6)
    assert torch.equal(again(x), head(x))


@pytest.mark.parametrize("name", HEADS)
def test_bfloat16_stays_close_to_single_precision(name: str) -> None:
    head: Head = HEADS[name]().eval()
    x = torch.randn(3, 9, 6)
    with torch.autocast("cpu", torch.bfloat16):
        rough = head(x)
    torch.testing.assert_close(rough.float(), head(x), rtol=0.05, atol=0.05)


def test_impossible_heads_say_why() -> None:
    with pytest.raises(AssemblyError, match="6 channels reach the head, its AttentionPool expects 8"):
        LinearHead(6, 3, AttentionPool(8))
    with pytest.raises(AssemblyError, match="to 0 targets"):
        LinearHead(6, 0, MaxPool())
    head = LinearHead(6, 3, MaxPool())
    with pytest.raises(AssemblyError, match=r"shape \(2,\) for a head of 3 targets"):
        head.set_prior(torch.tensor([0.1, 0.2]))
    with pytest.raises(AssemblyError, match="target 1 has 0 positives"):
        rescale_weights(head, torch.tensor(np.array([3, 0, 2])), 0.5)
