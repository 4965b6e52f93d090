"""NVIDIA Apex, where it is installed: its fused optimisers, its norms and, in a release that still has it, its `amp`.

`apex.amp` was removed in 2025; PyTorch's own mixed precision replaced it. Apex is built from source; the package of
that name on PyPI is another project.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any, Literal, cast

import pytorch_lightning as pl
from pytorch_lightning.plugins.precision import Precision
from torch import Tensor, nn
from torch.optim import Optimizer

from seqclass.errors import TrainingError

OPTIMISERS = {"apex-adam": "FusedAdam", "apex-lamb": "FusedLAMB", "apex-sgd": "FusedSGD"}

AmpLevel = Literal["O1", "O2"]


def import_apex(part: str, instead: str) -> ModuleType:
    """A part of Apex, such as "optimizers".

    Args:
        part: Its name below `apex`.
        instead: What does the same without Apex.

    Raises:
        TrainingError: There is no Apex, or not that part of it; the message names what replaces it.
    """
    try:
        return importlib.import_module(f"apex.{part}")
    except ImportError as error:
        raise TrainingError(
            f"apex.{part} of NVIDIA Apex is not installed ({error})",
            remedy=f"Use {instead}, which needs no Apex; or build Apex from its source (the package 'apex' on PyPI is "
            "another one)",
        ) from error


def fuse_norms(model: nn.Module) -> None:
    """Puts Apex's fused layer norms in place of PyTorch's, with the same weights and names.

    Raises:
        TrainingError: There is no Apex.
    """
    fused = import_apex("normalization", "--recipe.apex_norms false").FusedLayerNorm
    for parent in list(model.modules()):
        for name, norm in parent.named_children():
            # Apex has no norm without a bias.
            if type(norm) is nn.LayerNorm and norm.bias is not None:
                other = fused(norm.normalized_shape, eps=norm.eps)
                other.load_state_dict(norm.state_dict())
                setattr(parent, name, other)


def plain_norms(model: nn.Module) -> None:
    """Puts PyTorch's layer norms back in place of Apex's fused ones."""
    for parent in list(model.modules()):
        for name, norm in parent.named_children():
            if type(norm).__name__ == "FusedLayerNorm":
                shape, norm_eps = cast(Any, norm).normalized_shape, cast(Any, norm).eps
                other = nn.LayerNorm(shape, eps=norm_eps)
                other.load_state_dict(norm.state_dict())
                setattr(parent, name, other)


class ApexPrecision(Precision):
    """Mixed precision by `apex.amp`, for results that must be those of an older run.

    Args:
        level: "O1" casts by operation, "O2" casts the model and keeps single-precision weights beside it.

    Raises:
        TrainingError: There is no Apex, or one without `amp`.
    """

    def __init__(self, level: AmpLevel) -> None:
        super().__init__()
        self.level = level
        self._amp = import_apex("amp", "--trainer.precision bf16-mixed or 16-mixed")
        self._scaling = ExitStack()

    def connect(
        self, model: nn.Module, optimizers: list[Optimizer], lr_schedulers: list[Any]
    ) -> tuple[nn.Module, list[Optimizer], list[Any]]:
        model, optimizers = self._amp.initialize(model, optimizers, opt_level=self.level)
        return model, optimizers, lr_schedulers

    def pre_backward(self, tensor: Tensor, module: nn.Module | None) -> Tensor:
        assert isinstance(module, pl.LightningModule)
        tensor = super().pre_backward(tensor, module)
        optimisers = module.optimizers(use_pl_optimizer=False)
        scaled: Tensor = self._scaling.enter_context(self._amp.scale_loss(tensor, optimisers))
        return scaled

    def post_backward(self, tensor: Tensor, module: nn.Module | None) -> Tensor:
        # Leaving the context takes the scale out of the gradients.
        self._scaling.close()
        assert isinstance(module, pl.LightningModule)
        return super().post_backward(tensor, module)

    def main_params(self, optimizer: Optimizer) -> Iterator[nn.Parameter]:
        parameters: Iterator[nn.Parameter] = self._amp.master_params(optimizer)
        return parameters

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self._amp.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._amp.load_state_dict(state_dict)
