"""DeepSEA, Beluga, DanQ and ProtCNN against plain channels-first networks with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from seqclass.blocks import ConvolutionStages, LinearHead, MaxPool, OneHotEmbedding
from seqclass.errors import AssemblyError
from seqclass.models import SequenceClassifier, create_model, load_channels_first
from seqclass.models.deepsea import DeepSEA


def count(name: str, num_targets: int, **options: object) -> int:
    with torch.device("meta"):
        model = create_model(name, num_targets=num_targets, **options)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "num_targets", "parameters"),
    [
        ("deepsea", 919, 52_843_119),
        ("danq", 919, 46_929_039),
        ("beluga", 2002, 149_536_251),
        ("protcnn", 17_929, 50_213_679),
        ("embedding_mlp", 2, 295_554),
        ("embedding_mlp", 5, 295_941),
        ("wrn_transformer_xl", 919, 39_286_287),
    ],
)
def test_models_have_the_published_number_of_parameters(name: str, num_targets: int, parameters: int) -> None:
    assert count(name, num_targets) == parameters


def plain_deepsea(widths: tuple[int, int, int], hidden: int, positions: int, targets: int) -> nn.Sequential:
    """As published: images of height 1, `(batch, 4, 1, length)`."""
    one, two, three = widths
    return nn.Sequential(
        nn.Conv2d(4, one, (1, 8)),
        nn.ReLU(),
        nn.MaxPool2d((1, 4)),
        nn.Conv2d(one, two, (1, 8)),
        nn.ReLU(),
        nn.MaxPool2d((1, 4)),
        nn.Conv2d(two, three, (1, 8)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(three * positions, hidden),
        nn.ReLU(),
        nn.Linear(hidden, targets),
    )


def plain_beluga(widths: tuple[int, int, int], hidden: int, positions: int, targets: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 4
    for number, width in enumerate(widths):
        layers += [nn.Conv2d(before, width, (1, 8)), nn.ReLU(), nn.Conv2d(width, width, (1, 8)), nn.ReLU()]
        layers += [nn.MaxPool2d((1, 4))] if number < 2 else []
        before = width
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(before * positions, hidden), nn.ReLU(), nn.Linear(hidden, targets)
    )


def letters_first(tokens: Tensor, order: str) -> Tensor:
    """One-hot `(batch, 4, 1, length)` with the letters in that order."""
    one_hot = torch.eye(4)[tokens.long()][..., ["ACGT".index(letter) for letter in order]]
    return one_hot.transpose(1, 2).unsqueeze(2)


@pytest.mark.parametrize("order", ["ACGT", "AGCT"])
@pytest.mark.parametrize(
    ("name", "plain", "length", "positions"),
    [("deepsea", plain_deepsea, 1000, 53), ("beluga", plain_beluga, 2000, 106)],
)
def test_published_weights_give_the_same_logits(
    name: str, plain: object, length: int, positions: int, order: str
) -> None:
    widths, hidden = (10, 12, 16), 14
    reference = plain(widths, hidden, positions, 5)
    model = create_model(name, num_targets=5, length=length, widths=widths, hidden=hidden).eval()
    assert isinstance(model, SequenceClassifier)
    load_channels_first(model, reference.state_dict(), order)
    tokens = torch.randint(0, 4, (3, length), dtype=torch.uint8)
    torch.testing.assert_close(model(tokens), reference(letters_first(tokens, order)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_whole_deepsea_equals_the_plain_one() -> None:
    reference = plain_deepsea((320, 480, 960), 925, 53, 919)
    model = create_model("deepsea", num_targets=919).eval()
    assert isinstance(model, SequenceClassifier)
    load_channels_first(model, reference.state_dict(), "AGCT")
    tokens = torch.randint(0, 4, (4, 1000), dtype=torch.uint8)
    torch.testing.assert_close(model(tokens), reference(letters_first(tokens, "AGCT")), rtol=1e-4, atol=1e-5)


def test_weights_that_do_not_fit_are_named_on_both_sides() -> None:
    model = create_model("deepsea", num_targets=5, length=200, widths=(8, 8, 8), hidden=6)
    assert isinstance(model, SequenceClassifier)
    weights = plain_deepsea((8, 8, 8), 7, 3, 5).state_dict()
    with pytest.raises(AssemblyError, match=r"'9\.weight' has shape \(7, 24\), and the model's head.dense.0.weight"):
        load_channels_first(model, weights)
    with pytest.raises(AssemblyError, match=r"1 weights and biases .* where the model has 10"):
        load_channels_first(model, {"0.weight": torch.zeros(1)})
    with pytest.raises(AssemblyError, match="letters in the order 'ACGU'"):
        load_channels_first(model, plain_deepsea((8, 8, 8), 6, 3, 5).state_dict(), "ACGU")


def test_danq_equals_the_plain_channels_first_form() -> None:
    model = create_model("danq", num_targets=3, length=100, channels=8, units=6, hidden=10).eval()
    assert isinstance(model, SequenceClassifier)
    weights = model.state_dict()
    tokens = torch.randint(0, 4, (2, 100), dtype=torch.uint8)
    x = torch.relu(
        nn.functional.conv1d(
            letters_first(tokens, "ACGT").squeeze(2),
            weights["stem.blocks.0.convolutions.0.weight"],
            weights["stem.blocks.0.convolutions.0.bias"],
        )
    )
    x = nn.functional.max_pool1d(x, 13).transpose(1, 2)
    lstm = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
    lstm.load_state_dict({key.removeprefix("encoder.lstm."): v for key, v in weights.items() if "lstm" in key})
    x = lstm(x)[0].flatten(1)
    x = torch.relu(x @ weights["head.dense.0.weight"].T + weights["head.dense.0.bias"])
    torch.testing.assert_close(model(tokens), x @ weights["head.out.weight"].T + weights["head.out.bias"])


@pytest.mark.parametrize("stages", [((6, 7, 8), 8, (4, 4, 1), 1), ((6,), 26, (13,), 1), ((6, 7), 5, (2, 3), 2)])
def test_a_position_sees_the_residues_around_its_centre(
    stages: tuple[tuple[int, ...], int, tuple[int, ...], int],
) -> None:
    widths, kernel, pools, convolutions = stages
    stem = ConvolutionStages(4, widths, kernel, pools, (0.0,) * len(widths), convolutions).eval()
    for part in stem.modules():
        # So that every path through a maximum or a ReLU is seen by some channel and sample.
        if isinstance(part, nn.ReLU):
            part.forward = lambda x: x
    x = torch.rand(200, 211, 4, requires_grad=True)
    y, _ = stem(x)
    assert y.shape[1] == stem.out_length(211)
    for j in (0, y.shape[1] // 2, y.shape[1] - 1):
        (gradient,) = torch.autograd.grad(y[:, j].sum(), x, retain_graph=True)
        seen = gradient.abs().sum(dim=(0, 2)).nonzero().flatten()
        assert (seen[0] + seen[-1]).item() / 2 == stem.offset + stem.stride * j


def test_padding_does_not_change_unpadded_stages() -> None:
    head = LinearHead(8, 3, MaxPool())
    stem = ConvolutionStages(4, (6, 8), 5, (2, 3), (0.1, 0.1), 2)
    model = SequenceClassifier(OneHotEmbedding(), stem, None, head, None).eval()
    tokens = torch.randint(0, 5, (3, 90), dtype=torch.uint8)
    lengths = torch.tensor([60, 71, 90])
    together = model(tokens, torch.arange(90) < lengths.unsqueeze(1))
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[row : row + 1], model(tokens[row : row + 1, :length]))


def test_lengths_that_a_stem_cannot_reduce_are_refused_with_the_least() -> None:
    with pytest.raises(AssemblyError, match=r"162 residues, of which .* at least 163"):
        create_model("deepsea", num_targets=1, length=162)
    assert create_model("deepsea", num_targets=1, length=163, widths=(4, 4, 4)).length == 163
    with pytest.raises(AssemblyError, match="samples differ in length, and danq takes one"):
        create_model("danq", num_targets=1, length=None)
    stem = ConvolutionStages(4, (6,), 5, (2,), (0.1,))
    with pytest.raises(AssemblyError, match="5 residues, of which"):
        stem(torch.rand(2, 9, 4), torch.arange(9) < torch.tensor([[9], [5]]))


def test_penalties_of_deepsea_are_those_of_the_paper() -> None:
    model = DeepSEA(3, length=200, widths=(8, 8, 8), hidden=6, l1=0.25, l2=0.5).eval()
    tokens = torch.randint(0, 4, (5, 200))
    logits, penalty = model.penalised(tokens)
    assert torch.equal(logits, model(tokens))
    x, _ = model.features(tokens)
    hidden = torch.relu(model.head.dense[0](x.flatten(1)))
    weights = sum((p**2).sum() for name, p in model.named_parameters() if name.endswith("weight"))
    torch.testing.assert_close(penalty, 0.25 * hidden.sum() / 5 + 0.5 * weights)
    assert create_model("protcnn_small", num_targets=2).penalised(tokens)[1] == 0


def test_max_norm_shortens_long_weight_vectors_and_leaves_the_others() -> None:
    model = DeepSEA(3, length=200, widths=(8, 8, 8), hidden=6, max_norm=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(torch.linspace(0.1, 3, len(parameter)).view(-1, *[1] * (parameter.dim() - 1)))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.constrain()
    for name, parameter in model.named_parameters():
        old = before[name]
        if name.endswith("weight"):
            lengths = old.flatten(1).norm(dim=1)
            old = old * (0.5 / lengths).clamp_max(1).view(-1, *[1] * (old.dim() - 1))
            assert (lengths > 0.5).any()
        torch.testing.assert_close(parameter.detach(), old, rtol=1e-4, atol=1e-6)


def test_protcnn_sees_337_residues() -> None:
    model = create_model("protcnn", num_targets=2, channels=6, bottleneck=4).eval()
    letters = torch.rand(8, 701, 20, requires_grad=True)
    assert isinstance(model, SequenceClassifier)
    x, _ = model.features(letters)
    (gradient,) = torch.autograd.grad(x[:, 350].sum(), letters)
    seen = gradient.abs().sum(dim=(0, 2)).nonzero().flatten()
    assert (seen[0].item(), seen[-1].item()) == (350 - 168, 350 + 168)


class PlainProtCNN(nn.Module):
    """The published network, channels first, for one domain at a time."""

    def __init__(self, letters: int, channels: int, bottleneck: int, dilations: tuple[int, ...], families: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(letters, channels, 9, padding="same")
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(channels),
                nn.ReLU(),
                nn.Conv1d(channels, bottleneck, 9, padding="same", dilation=dilation),
                nn.BatchNorm1d(bottleneck),
                nn.ReLU(),
                nn.Conv1d(bottleneck, channels, 1),
            )
            for dilation in dilations
        )
        self.out = nn.Linear(channels, families)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolve(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x.amax(dim=2))


def test_protcnn_equals_the_plain_network_on_domains_of_any_length() -> None:
    dilations = (1, 1, 3, 9, 27)
    model = create_model("protcnn", num_targets=4, channels=12, bottleneck=7)
    tokens = torch.randint(0, 20, (5, 90))
    model(tokens)  # moves the batch norms' statistics off their first values
    model.eval()
    reference = PlainProtCNN(20, 12, 7, dilations, 4).eval()
    names = [name for name in reference.state_dict() if not name.endswith("num_batches_tracked")]
    weights = dict(zip(names, model.state_dict().values(), strict=True))
    assert reference.load_state_dict(weights, strict=False).unexpected_keys == []
    lengths = [90, 3, 41, 88, 17]
    logits = model(tokens, torch.arange(90) < torch.tensor(lengths).unsqueeze(1))
    for row, length in enumerate(lengths):
        letters = torch.eye(20)[tokens[row, :length]].T.unsqueeze(0)
        torch.testing.assert_close(logits[row : row + 1], reference(letters), rtol=1e-4, atol=1e-5)
