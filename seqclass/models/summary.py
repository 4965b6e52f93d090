"""What a model is made of: its stages, with the shape of what each gives, its parameters and its arithmetic."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seqclass.models.classifier import Classifier


class Stage(NamedTuple):
    """A part of a model.

    Attributes:
        name: Under which the model holds it; "" for the whole.
        kind: Its class.
        shape: Of what it gives for one sample, without the batch; None for what is not called by itself.
        parameters: Trained numbers in it.
        flops: Operations for one sample, of matrix products, convolutions and attention: a multiplication and an
            addition are two.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    flops: int


def summarise(model: Classifier, length: int | None = None) -> list[Stage]:
    """The stages of a model in the order of the data, the stages inside them after each, and the whole at the end.

    Nothing is computed: shapes alone pass through a copy of the model that holds no numbers.

    Args:
        model: Stays as it is.
        length: Residues of a sample. Default: the model's own, or 1,000 of DNA, or 512 of protein.

    Raises:
        AssemblyError: The model does not take that length.
    """
    length = length or model.length or (1000 if model.alphabet == "dna" else 512)
    model = copy.deepcopy(model).to("meta").eval()
    shapes: dict[str, tuple[int, ...]] = {}
    names = {module: name for name, module in model.named_modules()}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(first, Tensor):
            shapes[names[module]] = tuple(first.shape[1:])

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    if model.input_kind == "tokens":
        x = torch.zeros(1, length, dtype=torch.uint8, device="meta")
    else:
        x = torch.zeros(1, length, model.vector_size or 1, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    counts = counter.get_flop_counts()
    root = type(model).__name__

    def stage(name: str, module: nn.Module) -> Stage:
        flops = sum(counts.get(f"{root}.{name}" if name else "Global", {}).values())
        parameters = sum(parameter.numel() for parameter in module.parameters())
        return Stage(name, type(module).__name__, shapes.get(name), parameters, flops)

    return [stage(name, module) for name, module in _stages(model)] + [stage("", model)]


def _stages(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The model's parts, each followed by those with weights in the lists that it runs through."""
    parts: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        if not isinstance(child, nn.ModuleList):
            parts.append((name, child))
        lists = [("", child)] if isinstance(child, nn.ModuleList) else list(child.named_children())
        for inner, members in lists:
            if isinstance(members, nn.ModuleList):
                prefix = f"{name}.{inner}" if inner else name
                parts += [(f"{prefix}.{number}", part) for number, part in enumerate(members) if [*part.parameters()]]
    return parts
