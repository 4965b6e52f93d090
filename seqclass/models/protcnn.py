"""ProtCNN: dilated residual blocks over whole protein domains. Bileschi et al. 2022 (Nat. Biotechnol. 40, 932-937)."""

from __future__ import annotations

from collections.abc import Sequence

from seqclass.alphabets import get_alphabet
from seqclass.blocks import LinearHead, MaxPool, OneHotEmbedding, ProtCNNStem
from seqclass.models.classifier import SequenceClassifier
from seqclass.models.registry import register_model


@register_model
def protcnn(
    num_targets: int,
    alphabet: str = "protein",
    channels: int = 1100,
    bottleneck: int = 550,
    kernel_size: int = 9,
    dilations: Sequence[int] = (1, 1, 3, 9, 27),
) -> SequenceClassifier:
    """ProtCNN: 50,213,679 parameters at 17,929 families; each position sees 337 residues.

    One-hot letters, conv, dilated residual blocks, maximum over the residues, linear; any length.

    Args:
        num_targets: Number of logits.
        alphabet: "protein" or "dna".
        channels: Width of the trunk.
        bottleneck: Width inside the blocks.
        kernel_size: Of the first and of the dilated convolutions.
        dilations: One for each block.
    """
    letters = OneHotEmbedding(get_alphabet(alphabet).name)
    stem = ProtCNNStem(letters.out_channels, channels, bottleneck, kernel_size, dilations)
    head = LinearHead(channels, num_targets, MaxPool())
    return SequenceClassifier(letters, stem, None, head, None, letters.letters.name)


@register_model
def protcnn_small(
    num_targets: int,
    alphabet: str = "protein",
    channels: int = 128,
    bottleneck: int = 64,
    kernel_size: int = 9,
    dilations: Sequence[int] = (1, 3, 9),
) -> SequenceClassifier:
    """ProtCNN for a laptop: 128 channels, three blocks, each position sees 113 residues.

    Args:
        num_targets: Number of logits.
        alphabet: "protein" or "dna".
        channels: Width of the trunk.
        bottleneck: Width inside the blocks.
        kernel_size: Of the first and of the dilated convolutions.
        dilations: One for each block.
    """
    return protcnn(num_targets, alphabet, channels, bottleneck, kernel_size, dilations)
