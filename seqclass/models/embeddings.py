"""Classifiers of embeddings: what a protein language model knows of each residue, judged by a small network."""

from __future__ import annotations

from collections.abc import Sequence

from seqclass.alphabets import get_alphabet
from seqclass.blocks import DenseHead, LightAttention, MeanPool, MLPHead, Vectors
from seqclass.models.classifier import SequenceClassifier
from seqclass.models.registry import register_model


@register_model
def embedding_mlp(
    num_targets: int,
    alphabet: str = "protein",
    vector_size: int = 1024,
    hidden: Sequence[int] = (256, 128),
    dropout: float = 0.25,
) -> SequenceClassifier:
    """Mean of the residues' vectors, then dense layers with ReLU: 295,554 parameters at two targets, 295,941 at five.

    Takes a vector a residue, or one for the whole sequence. One target is a yes or no, as are several that do not
    exclude each other; an exclusive group of two or more is told apart by softmax.

    Args:
        num_targets: Number of logits.
        alphabet: Of the sequences that were embedded.
        vector_size: Numbers a residue.
        hidden: Units of each dense layer.
        dropout: Share of them dropped.
    """
    head = MLPHead(vector_size, num_targets, MeanPool(), hidden, dropout)
    return SequenceClassifier(Vectors(vector_size), None, None, head, None, get_alphabet(alphabet).name)


@register_model
def light_attention(
    num_targets: int,
    alphabet: str = "protein",
    vector_size: int = 1024,
    kernel_size: int = 9,
    dropout: float = 0.25,
    hidden: int = 32,
    head_dropout: float = 0.25,
) -> SequenceClassifier:
    """Light attention on the residues' vectors. Stärk et al. 2021 (Bioinform. Adv. 1, vbab035).

    Args:
        num_targets: Number of logits.
        alphabet: Of the sequences that were embedded.
        vector_size: Numbers a residue.
        kernel_size: Of the convolutions that give values and weights.
        dropout: Share of values dropped.
        hidden: Units of the dense layer.
        head_dropout: Share of them dropped.
    """
    head = DenseHead(vector_size, num_targets, LightAttention(vector_size, kernel_size, dropout), hidden, head_dropout)
    return SequenceClassifier(Vectors(vector_size), None, None, head, None, get_alphabet(alphabet).name)
