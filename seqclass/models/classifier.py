"""The assembly that most models are: embedding, stem, encoder, head, with a skip connection around the encoder."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from seqclass.blocks import Block, DenseHead, TransformerXLEncoder, WideResNetStem, register_block
from seqclass.blocks.embedding import LearnedEmbedding, OneHotEmbedding
from seqclass.errors import AssemblyError


class Classifier(Block):
    """Base of the models: a block that says what it takes and what it gives.

    Attributes:
        alphabet: Name of the alphabet whose tokens it takes.
        length: The one length it takes, in residues, or None for any.
        num_targets: Number of logits.
    """

    alphabet: str
    length: int | None
    num_targets: int

    def set_prior(self, prevalence: Tensor) -> None:
        """Makes a fresh model predict about `prevalence`, `(num_targets,)`."""
        raise AssemblyError(
            f"{type(self).__name__} has no output bias to start from a prevalence",
            remedy="Train with --recipe.prior_from_train false, or give it a set_prior",
        )

    def sequence_layers(self) -> dict[str, int]:
        """Names of the sequence blocks, and how many residues lie between two positions of each one's output.

        Position j is centred on residue j times that number.
        """
        raise AssemblyError(f"{type(self).__name__} names no layers to look at", remedy="Give it a sequence_layers")


@register_block
class SequenceClassifier(Classifier):
    """Tokens `(batch, length)`, or soft letters `(batch, length, letters)`, to raw logits `(batch, num_targets)`.

        embedding -> stem -+-> encoder -+-> head
                           +----skip----+

    Blocks of your own fit in where they have what is read here: `out_channels` of the embedding; `in_channels`,
    `out_channels`, `stride` and `out_length(length)` of the stem; `in_channels` and `out_channels` of the encoder;
    `in_channels`, `num_targets`, `pool.length` and `set_prior(prevalence)` of the head.

    Args:
        embedding: From tokens to vectors.
        stem: The convolutional part, which may shorten the sequence.
        encoder: Looks far; None for none.
        head: From positions to logits.
        skip: How the stem's output joins the encoder's before the head: side by side, added, or not at all.
        alphabet: "dna" or "protein".
        length: The one length it takes, in residues; None for any. Required if the head flattens positions.

    Raises:
        AssemblyError: Two neighbours do not fit; both are named.
    """

    def __init__(
        self,
        embedding: OneHotEmbedding | LearnedEmbedding,
        stem: WideResNetStem,
        encoder: TransformerXLEncoder | None,
        head: DenseHead,
        skip: Literal["concatenate", "add"] | None = "concatenate",
        alphabet: str = "dna",
        length: int | None = None,
    ) -> None:
        super().__init__()
        _fit("embedding gives", embedding.out_channels, "stem expects", stem.in_channels)
        joined = stem.out_channels
        if encoder is not None:
            _fit("stem leaves", stem.out_channels, "encoder expects", encoder.in_channels)
            joined = encoder.out_channels
            if skip == "concatenate":
                joined += stem.out_channels
            elif skip == "add":
                _fit("stem leaves", stem.out_channels, "encoder leaves", encoder.out_channels)
        _fit("stem and encoder leave", joined, "head expects", head.in_channels)
        positions = head.pool.length
        if positions is not None and length is None:
            raise AssemblyError("the head flattens positions, and no length is given", remedy="Give the model's length")
        if positions is not None and length is not None and stem.out_length(length) != positions:
            raise AssemblyError(
                f"the stem leaves {stem.out_length(length)} positions of {length} residues, "
                f"and the head flattens {positions}",
                remedy=f"Flatten {stem.out_length(length)} positions",
            )
        self.embedding = embedding
        self.stem = stem
        self.encoder = encoder
        self.head = head
        self.skip = skip
        self.alphabet = alphabet
        self.length = length
        self.num_targets = head.num_targets

    def set_prior(self, prevalence: Tensor) -> None:
        self.head.set_prior(prevalence)

    def sequence_layers(self) -> dict[str, int]:
        layers = {"embedding": 1, "stem": self.stem.stride}
        return layers if self.encoder is None else layers | {"encoder": self.stem.stride}

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.length is not None and x.shape[1] != self.length:
            raise AssemblyError(
                f"a sequence of {x.shape[1]} residues, where the model takes {self.length}",
                remedy="Crop or pad it, or build the model with a pooling head",
            )
        logits: Tensor = self.head(*self.features(x, mask))
        return logits

    def features(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What reaches the head: `(batch, positions, channels)` and its mask."""
        x, _ = self.embedding(x, mask)
        x, mask = self.stem(x, mask)
        if self.encoder is not None:
            encoded, mask = self.encoder(x, mask)
            if self.skip == "concatenate":
                x = torch.cat([x, encoded], dim=-1)
            else:
                x = x + encoded if self.skip == "add" else encoded
        return x, mask


def _fit(left: str, have: int, right: str, need: int) -> None:
    if have != need:
        raise AssemblyError(f"{left} {have} channels, {right} {need}", remedy="Give both the same number of channels")
