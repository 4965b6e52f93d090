"""Low-rank adaptation: what training changes in a large matrix is the product of two small ones. Hu et al. 2021
(arXiv:2106.09685).

    y = (W + alpha / rank * B A) x

W stays as it was, A and B are trained. B starts as zero, and at the end the product is added to W.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from seqclass.errors import AssemblyError, MissingPackageError


def add_lora(layers: Iterable[nn.Module], rank: int, alpha: int, targets: Sequence[str]) -> None:
    """Puts adapters on the linear layers of these names, and freezes all else.

    Args:
        layers: Changed in place.
        rank: Rows of A.
        alpha: Scale of what is added, divided by the rank.
        targets: The last part of the names of the linear layers to adapt, such as "query".

    Raises:
        AssemblyError: The rank or alpha is not positive, or a layer has no linear layer of such a name.
        MissingPackageError: The peft package is not installed.
    """
    try:
        import peft
    except ImportError:
        raise MissingPackageError("low-rank adaptation", "peft", "transformers") from None
    if min(rank, alpha) < 1:
        raise AssemblyError(f"adapters of rank {rank} and alpha {alpha}", remedy="Let each be at least 1")
    for layer in layers:
        linear = {name.rpartition(".")[2] for name, part in layer.named_modules() if isinstance(part, nn.Linear)}
        unknown = sorted(set(targets) - linear)
        if unknown or not targets:
            raise AssemblyError(
                f"adapters for {', '.join(unknown) or 'no layers'}, where there are {', '.join(sorted(linear))}",
                remedy="Choose some of these",
            )
        peft.inject_adapter_in_model(peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets)), layer)


def merge_lora(module: nn.Module) -> None:
    """Adds to each adapted matrix what its adapter learned, and takes the adapters away; nothing needs peft then."""
    from peft.tuners.lora import LoraLayer

    for name, part in list(module.named_modules()):
        if isinstance(part, LoraLayer):
            part.merge()
            module.set_submodule(name, part.get_base_layer())
