"""A model's weights by depth, for recipes that treat what lies near the letters and near the head differently."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

Named = list[tuple[str, nn.Parameter]]


def backbone_and_head(model: nn.Module) -> tuple[Named, Named]:
    """Named parameters of all that comes before the model's last part, and of that part."""
    *_, last = [name for name, _ in model.named_children()] or [""]
    backbone: Named = []
    head: Named = []
    for name, parameter in model.named_parameters():
        (head if name.split(".")[0] == last else backbone).append((name, parameter))
    return backbone, head


def stages(model: nn.Module) -> list[Named]:
    """Named parameters in stages, from the input to the output.

    Each part of the model is a stage; one that runs through a list of layers or blocks is a stage for each of them, the
    first of which has what the part holds beside the list.
    """
    order = [name for name, _ in model.named_children()]
    found: dict[tuple[int, int], Named] = {}
    for name, parameter in model.named_parameters():
        found.setdefault(_depth(model, name, order), []).append((name, parameter))
    return [found[depth] for depth in sorted(found)]


def _depth(model: nn.Module, name: str, order: list[str]) -> tuple[int, int]:
    """Which part of the model a parameter belongs to, and which layer of that."""
    path = name.split(".")
    part = order.index(path[0]) if path[0] in order else -1
    module = model
    for step, following in pairwise(path):
        module = module.get_submodule(step)
        if isinstance(module, nn.ModuleList | nn.Sequential) and following.isdigit():
            return part, int(following)
    return part, 0
