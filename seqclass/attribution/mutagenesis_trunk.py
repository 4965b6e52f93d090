"""Which part of a model is local, and how much of a pass a substitution leaves as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqclass.attribution.mutagenesis_stages import Convolving, Global, MaxPooling, Pointwise, Reach, Residual, Stage
from seqclass.blocks import ConvolutionStages, DenseHead, Flatten, Head, LinearHead, MLPHead, ProtCNNStem
from seqclass.blocks.convolution import Convolution
from seqclass.blocks.embedding import LearnedEmbedding, OneHotEmbedding
from seqclass.blocks.protcnn import DilatedConvolution, DilatedResidualBlock
from seqclass.blocks.stages import ConvolutionStage, UnpaddedConvolution
from seqclass.blocks.wide_resnet import BottleneckBlock, WideResNetStem
from seqclass.models import Classifier, SequenceClassifier
from seqclass.models.summary import summarise


def trunk(model: Classifier) -> list[tuple[str, Stage]]:
    """The stages between embedding and head by name, in the order of the data; one is global where nothing is known."""
    # A class derived from one of these may compute something else, so it counts as unknown.
    known = isinstance(model, SequenceClassifier) and type(model).forward is SequenceClassifier.forward
    if not known or type(model.embedding) not in (OneHotEmbedding, LearnedEmbedding):
        return [("model", Global())]
    assert isinstance(model, SequenceClassifier)
    stem = model.stem
    stages: list[tuple[str, Stage]]
    if stem is None:
        stages = []
    elif type(stem) is ConvolutionStages:
        stages = _of_convolution_stages(stem)
    elif type(stem) is WideResNetStem:
        stages = [("stem.convolve", _convolving(stem.convolve))]
        for number, block in enumerate(stem.blocks):
            assert isinstance(block, BottleneckBlock)
            stages.append((f"stem.blocks.{number}", _bottleneck(block)))
        stages.append(("stem.norm", _normalised(stem.norm)))
    elif type(stem) is ProtCNNStem:
        stages = [("stem.convolve", _dilated(stem.convolve))]
        for number, block in enumerate(stem.blocks):
            assert isinstance(block, DilatedResidualBlock)
            first = [_normalised(block.norm_in), _dilated(block.reduce)]
            second = [_normalised(block.norm_out), _dilated(block.restore)]
            stages.append((f"stem.blocks.{number}", Residual(([*first, *second], ()))))
    else:
        stages = [("stem", Global())]
    return stages if model.encoder is None else [*stages, ("encoder", Global())]


def _of_convolution_stages(stem: ConvolutionStages) -> list[tuple[str, Stage]]:
    stages: list[tuple[str, Stage]] = []
    for number, block in enumerate(stem.blocks):
        assert isinstance(block, ConvolutionStage)
        for index, (convolution, activation) in enumerate(zip(block.convolutions, block.activations, strict=True)):
            assert isinstance(convolution, UnpaddedConvolution)
            name = f"stem.blocks.{number}.convolutions.{index}"
            stages.append((name, Convolving(convolution.weight, convolution.bias)))
            stages.append((f"stem.blocks.{number}.activations.{index}", Pointwise(activation)))
        if block.pool_size > 1:
            stages.append((f"stem.blocks.{number}.pool", MaxPooling(block.pool_size)))
    return stages


def _bottleneck(block: BottleneckBlock) -> Residual:
    inner = block.convolve
    branch: list[Stage] = [
        _normalised(block.norm_in),
        _convolving(block.reduce),
        _normalised(block.norm_inner),
        Convolving(inner.weight, padding=inner.kernel_size // 2, groups=inner.groups),
        _normalised(block.norm_out),
        _convolving(block.restore),
    ]
    if block.squeeze_excitation is not None:
        branch.append(Global())
    return Residual((branch, [_normalised(block.norm_shortcut), _convolving(block.shortcut)]))


def _convolving(layer: Convolution) -> Convolving:
    return Convolving(layer.weight, stride=layer.stride, padding=layer.kernel_size // 2)


def _dilated(layer: DilatedConvolution) -> Convolving:
    padding = layer.dilation * (layer.weight.shape[2] // 2)
    return Convolving(layer.weight, layer.bias, padding=padding, dilation=layer.dilation)


def _normalised(norm: nn.Module) -> Pointwise:
    return Pointwise(lambda x: torch.relu(norm(x)))


class FlatHead(NamedTuple):
    """A head that flattens positions, cut in two: its first dense layer, and what makes logits of that layer's output.

    The first dense layer is linear: a mutant's output differs by what its own positions add.
    """

    dense: nn.Linear
    rest: Callable[[Tensor], Tensor]


def flat_head(head: Head) -> FlatHead | None:
    """The head cut in two; None where its pooling does not flatten, or the head is not one of the library's."""
    if not isinstance(head.pool, Flatten):
        return None
    if type(head) is LinearHead and type(head.out) is nn.Linear:
        return FlatHead(head.out, nn.Identity())
    if type(head) is DenseHead:
        return FlatHead(head.dense, lambda x: head.out(torch.relu(head.norm(x))))
    if type(head) is MLPHead:
        first, *others = head.dense
        assert isinstance(first, nn.Linear)
        layers = [head.activations[0]]
        for dense, activation in zip(others, head.activations[1:], strict=True):
            layers += [dense, activation]
        return FlatHead(first, nn.Sequential(*layers, head.out))
    return None


class Kept(NamedTuple):
    """What of a stage's arithmetic one substitution leaves as it was.

    Attributes:
        name: The stage.
        field: Residues that each of its positions sees; 0 where it sees all.
        stride: Residues from one of its positions to the next; 0 where it has none.
        positions: Positions that it gives.
        changed: How many of them a substitution changes.
        flops: Operations for one sequence.
        kept: How many of these need not be done again.
    """

    name: str
    field: int
    stride: int
    positions: int
    changed: int
    flops: int
    kept: int


def kept_by_stage(model: Classifier, length: int | None = None) -> list[Kept]:
    """The table of what can be reused for a mutant, stage by stage; the last row is the whole.

    Args:
        model: Stays as it is.
        length: Residues of a sequence. Default: as for `seqclass.models.summary.summarise`.

    Raises:
        AssemblyError: The model does not take that length.
    """
    total = summarise(model, length)[-1].flops
    length = length or model.length or (1000 if model.alphabet == "dna" else 512)
    rows: list[Kept] = []
    reach, positions, local = Reach(1, 1), length, True
    for name, stage in trunk(model):
        if isinstance(stage, Global):
            rows.append(Kept(name, 0, 0, 0, 0, 0, 0))
            local = False
            break
        flops, kept, behind = _account([stage], positions, reach, local)
        reach, positions = stage.reach(reach), stage.out_length(positions)
        local = behind
        changed = min(positions, -(-reach.field // reach.stride)) if local else positions
        if flops:
            rows.append(Kept(name, reach.field if local else 0, reach.stride, positions, changed, flops, kept))
    rest = total - sum(row.flops for row in rows)
    head = flat_head(model.head) if local and isinstance(model, SequenceClassifier) else None
    kept = 0
    if head is not None:
        changed = min(positions, -(-reach.field // reach.stride))
        kept = int(2 * head.dense.weight.numel() * (1 - changed / positions))
    rows.append(Kept("the rest", 0, 0, 0, 0, rest, kept))
    return [*rows, Kept("all", 0, 0, 0, 0, total, sum(row.kept for row in rows))]


def _account(stages: Sequence[Stage], positions: int, reach: Reach, local: bool) -> tuple[int, int, bool]:
    """Operations, those of them that need not be repeated, and whether what comes out is still local."""
    flops = kept = 0
    for stage in stages:
        if isinstance(stage, Residual):
            each = [_account(branch, positions, reach, local) for branch in stage.branches]
            flops += sum(of_branch for of_branch, _, _ in each)
            kept += sum(of_branch for _, of_branch, _ in each)
            local = all(of_branch for _, _, of_branch in each)
        elif isinstance(stage, Global):
            local = False
        reach, positions = stage.reach(reach), stage.out_length(positions)
        if not isinstance(stage, Residual):
            here = 2 * stage.macs(positions)
            flops += here
            if local and positions:
                kept += int(here * (1 - min(positions, -(-reach.field // reach.stride)) / positions))
    return flops, kept, local


def kept_text(rows: Sequence[Kept]) -> str:
    """The table of `kept_by_stage` as text, and a sentence on what it comes to."""
    lines = [f"{'stage':32}{'sees':>8}{'stride':>8}{'changed':>14}{'MFLOP':>12}{'kept':>8}"]
    for row in rows:
        sees = f"{row.field:,}" if row.field else "all" if row.positions else ""
        changed = f"{row.changed} of {row.positions}" if row.positions else ""
        share = f"{row.kept / row.flops:.1%}" if row.flops else ""
        flops = f"{row.flops / 1e6:,.1f}" if row.flops else ""
        lines.append(f"{row.name:32}{sees:>8}{row.stride or '':>8}{changed:>14}{flops:>12}{share:>8}")
    whole = rows[-1]
    lines.append(f"A substitution leaves {whole.kept / max(1, whole.flops):.1%} of a pass as it was.")
    return "\n".join(lines)
