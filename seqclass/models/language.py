"""Language models of DNA and proteins: what they learn of sequences without labels can start a classifier.

`TransformerXLLM` guesses each next letter from those before it, segment by segment with a memory (Dai et al. 2019,
arXiv:1901.02860). `MaskedResidueLM` guesses letters that were hidden, from both sides (Devlin et al. 2019,
arXiv:1810.04805). Neither is a classifier; `init_from` takes their weights into one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.alphabets import Alphabet
from seqclass.blocks import Block, Embedding, LearnedEmbedding, Memory, TransformerXLEncoder, register_block
from seqclass.errors import AssemblyError, SequenceError

UNCOUNTED = -1
"""Among letters to be guessed: one that is not counted."""


@register_block
class TransformerXLLM(Block):
    """Guesses each next letter: tokens `(batch, length)` to logits `(batch, length, letters)` and the next memory.

    Logits at position i are for the letter at i + 1. A long sequence is read in segments, each with the memory that the
    one before gave.

    Args:
        embedding: Of letters.
        encoder: Causal, of as many channels as the embedding.
        tied: Whether a letter is recognised by its learned vector, scaled, instead of by weights of its own (Press and
            Wolf 2017, arXiv:1608.05859).

    Raises:
        AssemblyError: The two do not fit, the encoder sees what it is to guess, or there are no learned vectors.
    """

    def __init__(self, embedding: Embedding, encoder: TransformerXLEncoder, tied: bool = False) -> None:
        super().__init__()
        self.letters = _letters(embedding)
        if not encoder.causal:
            raise AssemblyError("the encoder sees the letter that it is to guess", remedy="Build it with causal=True")
        _fit(embedding.out_channels, encoder.in_channels)
        if tied and not isinstance(embedding, LearnedEmbedding):
            raise AssemblyError(
                f"the output is tied to the vectors of a {type(embedding).__name__}, which learns none",
                remedy="Embed with a LearnedEmbedding, or build it with tied=False",
            )
        self.embedding = embedding
        self.encoder = encoder
        letters = len(self.letters.letters)
        self.scale = encoder.out_channels**-0.5
        self.weight = None if tied else nn.Parameter(self.scale * torch.randn(letters, encoder.out_channels))
        self.bias = nn.Parameter(torch.zeros(letters))

    @property
    def alphabet(self) -> str:
        return self.letters.name

    def forward(
        self, tokens: Tensor, mask: Tensor | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, Memory]:
        """Logits `(batch, length, letters)`, and the memory for the next segment; None starts with an empty one."""
        x, memory = self.features(tokens, mask, memory)
        weight = self.scale * self.embedding.get_parameter("weight") if self.weight is None else self.weight
        return F.linear(x, weight, self.bias), memory

    def features(
        self, tokens: Tensor, mask: Tensor | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, Memory]:
        """What the last layer gives, `(batch, length, channels)`, and the memory for the next segment."""
        x, mask = self.embedding(tokens, mask)
        memory = self.encoder.empty_memory(len(tokens)) if memory is None else memory
        x, _, memory = self.encoder(x, mask, memory)
        assert memory is not None
        return x, memory

    def next_letters(self, tokens: Tensor, mask: Tensor | None = None, following: Tensor | None = None) -> Tensor:
        """What is to be guessed at each position, `(batch, length)`: the next letter.

        `UNCOUNTED` where that is unknown or padding, and at a sequence's last residue, unless `following` `(batch,)`
        says what comes. Real residues come first in the mask.
        """
        unknown = self.letters.unknown_token
        letters = F.pad(tokens.long(), (0, 1), value=unknown)
        if mask is not None:
            letters[:, :-1].masked_fill_(~mask, unknown)
        if following is not None:
            lengths = mask.sum(dim=1) if mask is not None else letters.new_full((len(tokens),), tokens.shape[1])
            letters.scatter_(1, lengths.unsqueeze(1), following.long().unsqueeze(1))
        letters = letters[:, 1:]
        return letters.masked_fill(letters == unknown, UNCOUNTED)


@register_block
class MaskedResidueLM(Block):
    """Guesses hidden letters from both sides: tokens `(batch, length)` to logits `(batch, length, letters)`.

    A hidden letter reads as unknown (N or X), which is the mean of the letters: the classifier that takes these weights
    over meets nothing that it has not seen. See `seqclass.data.augment.hide_letters`.

    Args:
        embedding: Of letters.
        stem: One position a letter, such as a `ProtCNNStem`; None for none.
        encoder: Sees both sides; None for none.

    Raises:
        AssemblyError: Neighbours do not fit, the stem shortens the sequence, or the encoder sees one side only.
    """

    def __init__(self, embedding: Embedding, stem: Block | None, encoder: Block | None) -> None:
        super().__init__()
        self.letters = _letters(embedding)
        channels = embedding.out_channels
        for part in (stem, encoder):
            if part is not None:
                _fit(channels, int(getattr(part, "in_channels", channels)))
                channels = int(getattr(part, "out_channels", channels))
        if getattr(stem, "stride", 1) != 1:
            raise AssemblyError("the stem leaves less than a position a letter", remedy="Build it with strides of 1")
        if getattr(encoder, "causal", False):
            raise AssemblyError("the encoder sees one side only", remedy="Build it with causal=False")
        self.embedding = embedding
        self.stem = stem
        self.encoder = encoder
        self.norm = nn.LayerNorm(channels)
        self.out = nn.Linear(channels, len(self.letters.letters))

    @property
    def alphabet(self) -> str:
        return self.letters.name

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        logits: Tensor = self.out(self.norm(self.features(tokens, mask)[0]))
        return logits

    def features(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What the trunk gives, `(batch, length, channels)`, and its mask."""
        x, mask = self.embedding(tokens, mask)
        for part in (self.stem, self.encoder):
            if part is not None:
                x, mask = part(x, mask)
        return x, mask


def letter_loss(logits: Tensor, letters: Tensor, unit: Literal["nats", "bits"] = "nats") -> Tensor:
    """Mean cross-entropy of the letters that count, 0 where none does.

    Args:
        logits: `(batch, length, letters)`.
        letters: `(batch, length)` int64, `UNCOUNTED` where none is to be guessed.
        unit: Of the result.
    """
    total = F.cross_entropy(logits.float().flatten(0, 1), letters.flatten(), ignore_index=UNCOUNTED, reduction="sum")
    mean = total / (letters != UNCOUNTED).sum().clamp_min(1)
    return mean / math.log(2) if unit == "bits" else mean


@torch.no_grad()
def bits_per_letter(model: TransformerXLLM, tokens: Tensor, segment: int = 512) -> float:
    """How many bits a letter costs under the model: the base-2 cross-entropy of each letter after the first.

    Reads the sequence in segments with memory, so that length costs no more than time. Unknown letters are read and not
    counted. A uniform guess over DNA costs 2 bits.

    Args:
        model: Its mode is put back.
        tokens: `(length,)` integers, on any device.
        segment: Letters read at once.

    Raises:
        SequenceError: No letter is to be guessed.
        AssemblyError: The segments are of no letters, or the tokens are not of the model's alphabet.
    """
    if segment < 1:
        raise AssemblyError(f"segments of {segment} letters", remedy="Let segment be at least 1")
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    memory: Memory | None = None
    total, count = 0.0, 0
    try:
        for part, following in _segments(tokens, segment):
            part, following = part.to(device).unsqueeze(0), following.to(device)
            logits, memory = model(part, None, memory)
            letters = model.next_letters(part, None, following)
            counted = int((letters != UNCOUNTED).sum())
            total += float(letter_loss(logits, letters, "bits")) * counted
            count += counted
    finally:
        for module, mode in modes:
            module.training = mode
    if not count:
        raise SequenceError(
            f"a sequence of {len(tokens)} residues without a letter to guess",
            remedy="Give one with a known letter after its first",
        )
    return total / count


def _segments(tokens: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Stretches of a sequence without its last letter, and the letter `(1,)` that follows each."""
    for begin in range(0, len(tokens) - 1, size):
        end = min(begin + size, len(tokens) - 1)
        yield tokens[begin:end], tokens[end : end + 1]


def _letters(embedding: Embedding) -> Alphabet:
    if embedding.letters is None:
        raise AssemblyError("an embedding without letters, which are to be guessed", remedy="Embed letters")
    return embedding.letters


def _fit(have: int, need: int) -> None:
    if have != need:
        raise AssemblyError(
            f"{have} channels meet a block that expects {need}", remedy="Give both the same number of channels"
        )
