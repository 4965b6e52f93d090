"""The layout of other tools and of published weights, `(batch, letters, length)`, and the library's own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seqclass.errors import AssemblyError
from seqclass.models.classifier import SequenceClassifier


class ChannelsFirst(nn.Module):
    """A model that takes `(batch, letters, length)`; see `as_channels_first`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        # Tools put a model into the mode that they found it in, which must be the mode of the model inside.
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        x = x if x.is_floating_point() else x.float()
        logits: Tensor = self.model(x.transpose(1, 2))
        return logits


def as_channels_first(model: nn.Module) -> ChannelsFirst:
    """A model as tangermeme, captum and others call it: `(batch, letters, length)` soft letters in, logits out.

    An unknown residue is `1 / letters` in each letter. All zeros, which some tools write for it, is no residue at all.

    Args:
        model: From `(batch, length, letters)` to logits; it is shared, not copied.
    """
    return ChannelsFirst(model)


def load_channels_first(model: SequenceClassifier, weights: Mapping[str, Tensor], letters: str | None = None) -> None:
    """Takes over the weights of a plain channels-first network: convolutions, then dense layers, as published.

    Weights and biases are matched in the order of the layers, whatever their names:

        convolution   (out, in, kernel), or (out, in, 1, kernel)   as they are; letters of the first in our order
        first dense   column c * positions + p                     becomes column p * channels + c
        other dense   as they are

    Args:
        model: One of convolution stages and dense layers: `deepsea`, `beluga`.
        weights: A state dict, in the order of the layers.
        letters: The order of the letters in its input; that of the model's alphabet by default. DeepSEA and Beluga
            were published with "AGCT".

    Raises:
        AssemblyError: Their number or a shape is not the model's; both are named.
    """
    layers = [
        (name, module) for name, module in model.named_modules() if isinstance(getattr(module, "weight", None), Tensor)
    ]
    slots = [f"{name}.{part}" for name, _ in layers for part in ("weight", "bias")]
    own = model.state_dict()
    if sorted(slots) != sorted(own) or len(slots) != len(weights):
        raise AssemblyError(
            f"{len(weights)} weights and biases ({', '.join(weights)}), where the model has {len(own)}",
            remedy="Give those of the same layers, in their order",
        )
    alphabet = model.embedding.letters
    assert alphabet is not None
    if sorted(letters or alphabet.letters) != sorted(alphabet.letters):
        raise AssemblyError(f"letters in the order '{letters}'", remedy=f"Give each of {alphabet.letters} once")
    first = True
    positions = model.head.pool.length
    loaded: dict[str, Tensor] = {}
    for slot, (name, given) in zip(slots, weights.items(), strict=True):
        value = given.squeeze(2) if given.dim() == 4 and given.shape[2] == 1 else given
        if tuple(value.shape) != tuple(own[slot].shape):
            raise AssemblyError(
                f"'{name}' has shape {tuple(given.shape)}, and the model's {slot} {tuple(own[slot].shape)}",
                remedy="Build the model with the widths and kernel sizes of these weights",
            )
        if value.dim() == 3 and first:
            first = False
            value = value[:, [(letters or alphabet.letters).index(letter) for letter in alphabet.letters]]
        if slot == "head.dense.0.weight" and positions is not None:
            value = value.view(len(value), -1, positions).transpose(1, 2).flatten(1)
        loaded[slot] = value
    with torch.no_grad():
        model.load_state_dict(loaded)
