"""Layers of a model by name: what each gives, where its positions lie on the sequence, and the model behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqclass.blocks import ConvolutionStages, ProtCNNStem, TransformersEncoder, TransformerXLEncoder, WideResNetStem
from seqclass.blocks.backbone import FAMILIES
from seqclass.blocks.stages import ConvolutionStage, UnpaddedConvolution
from seqclass.blocks.wide_resnet import BottleneckBlock
from seqclass.errors import AssemblyError, find_name
from seqclass.models import Classifier, Ensemble, SequenceClassifier, Spacing


class Layer(NamedTuple):
    """A layer that can be looked at.

    Attributes:
        path: Of the module in the model.
        spacing: Where its positions lie: position j is centred on residue `offset + stride * j`.
        encoder: Path of the encoder that it is a part of, whose mask is its own; None for others.
    """

    path: str
    spacing: Spacing
    encoder: str | None = None


def layers(model: Classifier) -> dict[str, list[Layer]]:
    """The layers of a model by name, in the order of the data.

    `embedding`, `stem` and `encoder` are the blocks, as far as the model has them; `stem.1` is the second stage of the
    stem and `encoder.3` the fourth layer of the encoder. Of an ensemble, `members.0.stem` is one member's, and `stem`
    all members'.
    """
    named: dict[str, list[Layer]] = {}
    if isinstance(model, Ensemble):
        for number, member in enumerate(model.members):
            assert isinstance(member, Classifier)
            for name, (layer,) in layers(member).items():
                inner = None if layer.encoder is None else f"members.{number}.{layer.encoder}"
                placed = Layer(f"members.{number}.{layer.path}", layer.spacing, inner)
                named[f"members.{number}.{name}"] = [placed]
                named.setdefault(name, []).append(placed)
        return named
    blocks = model.sequence_layers()
    inside = _stages(model) if isinstance(model, SequenceClassifier) else {}
    named["embedding"] = [Layer("embedding", blocks["embedding"])] if "embedding" in blocks else []
    named |= {name: [layer] for name, layer in inside.items() if name.startswith("stem")}
    named |= {name: [Layer(name, spacing)] for name, spacing in blocks.items() if name not in ("embedding", "encoder")}
    named |= {name: [layer] for name, layer in inside.items() if name.startswith("encoder")}
    named |= {name: [Layer(name, spacing)] for name, spacing in blocks.items() if name == "encoder"}
    return {name: found for name, found in named.items() if found}


def find_layer(model: Classifier, name: str | None) -> list[Layer]:
    """The layers that a name means: one, or of an ensemble one a member.

    Args:
        model: Whose.
        name: As in `layers`; None for the last convolutional stage, or without a stem the encoder, or the embedding.

    Raises:
        UnknownNameError: There is no such layer; those that there are are listed.
    """
    table = layers(model)
    if name is None:
        name = next(each for each in ("stem", "encoder", "embedding") if each in table)
    return table[find_name("layer", name, table)]


def _stages(model: SequenceClassifier) -> dict[str, Layer]:
    """The stages inside stem and encoder, as far as they are the library's own."""
    stages: dict[str, Layer] = {}
    spacing = Spacing(1)
    if isinstance(model.stem, ConvolutionStages | WideResNetStem | ProtCNNStem):
        for number, block in enumerate(model.stem.blocks):
            step = _step(block)
            spacing = Spacing(spacing.stride * step.stride, spacing.offset + spacing.stride * step.offset)
            stages[f"stem.{number}"] = Layer(f"stem.blocks.{number}", spacing)
    spacing = model.sequence_layers()["embedding" if model.stem is None else "stem"]
    if isinstance(model.encoder, TransformerXLEncoder):
        for number in range(len(model.encoder.layers)):
            stages[f"encoder.{number}"] = Layer(f"encoder.layers.{number}", spacing, "encoder")
    if isinstance(model.encoder, TransformersEncoder):
        # Inside, special tokens stand before the first residue.
        shifted = Spacing(spacing.stride, spacing.offset - spacing.stride * model.encoder.before)
        place = f"model.{FAMILIES[model.encoder.family].layers}"
        for number, _ in enumerate(model.encoder.get_submodule(place).children()):
            stages[f"encoder.{number}"] = Layer(f"encoder.{place}.{number}", shifted, "encoder")
    return stages


def _step(block: nn.Module) -> Spacing:
    """Where the positions that a stage gives lie on those that it takes."""
    if isinstance(block, ConvolutionStage):
        taps = sum(each.kernel_size - 1 for each in block.convolutions if isinstance(each, UnpaddedConvolution))
        return Spacing(block.pool_size, (taps + block.pool_size - 1) / 2)
    return Spacing(block.stride if isinstance(block, BottleneckBlock) else 1)


class Cut:
    """A model cut open behind one layer: what the layer gives, and the logits as a function of that.

    Everything before the layer is computed once.

    Args:
        model: In evaluation mode.
        layer: One of `layers(model)`.
        x: What the model takes.
        mask: `(batch, length)`, or None.

    Attributes:
        activations: `(batch, positions, channels)`, from which the graph of `logits` starts.
        mask: `(batch, positions)`, True at real positions; None where all are.
        logits: `(batch, targets)`.

    Raises:
        AssemblyError: The model does not use the layer.
    """

    def __init__(self, model: Classifier, layer: Layer, x: Tensor, mask: Tensor | None) -> None:
        self._model, self._x, self._mask = model, x, mask
        self._layer = model.get_submodule(layer.path)
        self._below: dict[nn.Module, Any] = {}
        outer: list[Tensor | None] = [None]
        self.mask: Tensor | None = None

        def enter(_: nn.Module, given: tuple[Any, ...]) -> None:
            outer[0] = given[1] if len(given) > 1 else None

        def leave(module: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
            if self._layer in self._below:
                return output
            if module is self._layer:
                self.activations = _first(output).detach().requires_grad_()
                self.mask = _mask(self.activations, output, given, outer[0])
                output = _with_first(output, self.activations)
            self._below[module] = output
            return output

        modules = {model.get_submodule(each.path) for found in layers(model).values() for each in found}
        hooks = [module.register_forward_hook(leave) for module in modules]
        if layer.encoder is not None:
            hooks.append(model.get_submodule(layer.encoder).register_forward_pre_hook(enter))
        try:
            self.logits: Tensor = model(x, mask)
        finally:
            for hook in hooks:
                hook.remove()
        if self._layer not in self._below:
            raise AssemblyError(
                f"the model does not call its layer '{layer.path}'", remedy="Choose another layer: embedding, say"
            )

    def __call__(self, activations: Tensor) -> Tensor:
        """The logits `(batch, targets)` for other activations of the layer."""
        with _answering(self._below | {self._layer: _with_first(self._below[self._layer], activations)}):
            logits: Tensor = self._model(self._x, self._mask)
        return logits


@contextmanager
def _answering(answers: Mapping[nn.Module, Any]) -> Iterator[None]:
    """Within the block, each of the modules gives its answer without computing anything."""
    for module, answer in answers.items():
        vars(module)["forward"] = lambda *_, _answer=answer, **__: _answer
    try:
        yield
    finally:
        for module in answers:
            del vars(module)["forward"]


def _first(output: Any) -> Tensor:
    first = output[0] if isinstance(output, tuple) else output
    assert isinstance(first, Tensor)
    return first


def _with_first(output: Any, first: Tensor) -> Any:
    return (first, *output[1:]) if isinstance(output, tuple) else first


def _mask(activations: Tensor, output: Any, given: tuple[Any, ...], outer: Tensor | None) -> Tensor | None:
    """Which positions are real: what the layer says, or was told, or what its encoder was told."""
    shape = activations.shape[:2]
    for each in (*(output if isinstance(output, tuple) else ()), *given):
        if isinstance(each, Tensor) and each.dtype is torch.bool and each.shape == shape:
            return each
    if outer is None:
        return None
    # The encoder's special tokens stand around the residues, which come first.
    real = outer.sum(dim=1, keepdim=True) + shape[1] - outer.shape[1]
    return torch.arange(shape[1], device=outer.device) < real


def to_residues(positions: Tensor, length: int, spacing: Spacing, mask: Tensor | None = None) -> Tensor:
    """From `(..., batch, positions)` to `(..., batch, length)`: linear between positions, constant beyond the outer.

    Args:
        positions: A number for each position of a layer.
        length: Residues.
        spacing: Position j is centred on residue `offset + stride * j`.
        mask: `(batch, positions)`, True at real positions, which come first; None where all are.
    """
    batch, count = positions.shape[-2:]
    place = (torch.arange(length, device=positions.device) - spacing.offset) / spacing.stride
    last = torch.full((batch, 1), count - 1, device=positions.device)
    if mask is not None:
        last = (mask.sum(dim=1, keepdim=True) - 1).clamp_min(0)
    place = place.clamp_min(0).minimum(last)
    left = place.floor().long()
    right = (left + 1).minimum(last)
    weight = (place - left).to(positions.dtype)
    left, right = (index.expand(*positions.shape[:-1], length) for index in (left, right))
    return positions.gather(-1, left) * (1 - weight) + positions.gather(-1, right) * weight
