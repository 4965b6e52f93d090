"""What a model is made of: its stages, with the shape of what each gives, its parameters and its arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seqclass.errors import AssemblyError
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
    """The stages of a model in the order of the data, what is inside each after it, and the whole at the end.

    Nothing is computed: shapes alone pass through a copy of the model that holds no numbers.

    Args:
        model: Stays as it is.
        length: Residues of a sample. Default: the model's own, or 1,000 of DNA, or 512 of protein.

    Raises:
        AssemblyError: The model does not take that length.
    """
    if length is None:
        length = model.length or (1000 if model.alphabet == "dna" else 512)
    if length < 1:
        raise AssemblyError(f"a sample of {length} residues", remedy="Let there be at least 1")
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

    parts: list[Stage] = []
    for name, child in _children(model):
        parts.append(stage(name, child))
        parts += [stage(f"{name}.{inner}", part) for inner, part in _inside(child)]
    return [*parts, stage("", model)]


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Its parts by name, and of a list of parts each."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{number}", part) for number, part in child.named_children())
        else:
            yield name, child


def _inside(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Those of its parts that are trained; of a part that only holds others, these in its place."""
    trained = [(name, part) for name, part in _children(module) if any(True for _ in part.parameters())]
    inside = []
    for name, part in trained:
        is_listed = "." in name
        only_holds = len(trained) == 1 or [type(child) for child in part.children()] == [nn.ModuleList]
        deeper = _inside(part) if only_holds and not is_listed else []
        inside += [(f"{name}.{inner}", each) for inner, each in deeper] or [(name, part)]
    return inside
