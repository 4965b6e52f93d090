"""An exported graph has to answer as the model does, before it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError
from seqclass.export.graph import Judgement, example, output_names, typical_length

TOLERANCE = 1e-5
"""By how much a probability may differ in single precision."""

Run = Callable[..., Mapping[str, Tensor]]


def shapes(bundle: Bundle, length: int | None) -> list[tuple[int, int]]:
    """Three batches to compare: their numbers of sequences and residues, none of them those that were traced."""
    if length is not None:
        return [(1, length), (2, length), (7, length)]
    usual = typical_length(bundle)
    longest = min(2 * usual + 1, bundle.model.longest or 2 * usual + 1)
    return [(1, usual - usual // 4), (5, usual), (2, longest)]


def check_same(bundle: Bundle, length: int | None, run: Run) -> float:
    """The largest difference between a graph's outputs and the model's own answers, at three shapes.

    Args:
        bundle: The original, its model in evaluation mode on the CPU.
        length: The one length that the graph takes, or None for any, in which case batches hold padding.
        run: The graph: from inputs, and a mask where it takes any length, to its outputs by name.

    Raises:
        AssemblyError: They differ by more than `TOLERANCE`.
    """
    worst, judgement = 0.0, Judgement(bundle).eval()
    for seed, (batch, residues) in enumerate(shapes(bundle, length), start=1):
        inputs = example(bundle, batch, residues, ragged=length is None, seed=seed)
        with torch.inference_mode():
            expected = judgement(*inputs)
        outputs = run(*inputs)
        for name, value in zip(output_names(bundle), expected, strict=True):
            apart = float((outputs[name] - value).abs().max())
            if not apart <= TOLERANCE:
                raise AssemblyError(
                    f"the exported graph's {name} of {batch} sequences of {residues} residues differ from the model's "
                    f"by {apart:.1e}, where {TOLERANCE:.0e} is allowed; nothing was written",
                    remedy="Export the model for one length (--length N), or to another format",
                    file=bundle.path,
                )
            worst = max(worst, apart)
    return worst
