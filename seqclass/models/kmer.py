"""Logistic regression on k-mer counts: the linear model that a network has to beat, as a model like any other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqclass.alphabets import get_alphabet
from seqclass.blocks import OneHotEmbedding, register_block
from seqclass.blocks.kmers import K, KmerCounts
from seqclass.errors import AssemblyError
from seqclass.models.classifier import Classifier, Spacing
from seqclass.models.registry import register_model


@register_block
class KmerLogisticRegression(Classifier):
    """Counts of k-mers times a weight each: `(batch, length)` tokens to `(batch, num_targets)` logits.

    In DNA a k-mer and its reverse complement are one, so that both strands have the same logits. An unknown residue
    counts in equal shares for all that it could be.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        k: Length of the k-mers, in residues.

    Raises:
        AssemblyError: There are no k-mers of that length, or too many; or no targets.
    """

    length = None

    def __init__(self, num_targets: int, alphabet: str, k: int) -> None:
        super().__init__()
        if num_targets < 1:
            raise AssemblyError(f"a model of {num_targets} targets", remedy="Let there be at least 1")
        self.alphabet = alphabet
        self.num_targets = num_targets
        self.embedding = OneHotEmbedding(alphabet)
        self.counts = KmerCounts(alphabet, k)
        self.out = nn.Linear(self.counts.num_features, num_targets)
        nn.init.zeros_(self.out.weight)
        self.set_prior(torch.full((num_targets,), 0.02))

    def set_prior(self, prevalence: Tensor) -> None:
        with torch.no_grad():
            self.out.bias.copy_(torch.logit(prevalence.float(), eps=1e-5))

    def sequence_layers(self) -> dict[str, Spacing]:
        return {"embedding": Spacing(1)}

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        logits: Tensor = self.out(self.counts(self.embedding(x, mask)[0]))
        return logits


@register_model
def kmer_logreg(num_targets: int, alphabet: str = "dna", k: int | None = None) -> KmerLogisticRegression:
    """Logistic regression on counts of k-mers, for each target; any length.

    Args:
        num_targets: Number of logits.
        alphabet: "dna" or "protein".
        k: Length of the k-mers, in residues. Default: 6 for DNA, 2 for proteins.

    Raises:
        AssemblyError: There are no k-mers of that length, or too many.
    """
    alphabet = get_alphabet(alphabet).name
    return KmerLogisticRegression(num_targets, alphabet, K[alphabet] if k is None else k)
