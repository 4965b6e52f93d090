"""From tokens to vectors: one-hot, or learned; or vectors as they come, from a language model of proteins.

The first two take tokens `(batch, length)` or soft one-hot letters `(batch, length, letters)` (for gradients,
mutagenesis and design), and give the same result for both. An unknown residue is the mean of the letters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqclass.alphabets import Alphabet, get_alphabet
from seqclass.blocks.base import Block, register_block
from seqclass.blocks.masking import zero_padding
from seqclass.errors import AssemblyError


class Embedding(Block):
    """Base of the embeddings.

    Attributes:
        out_channels: Channels of what it gives.
        letters: The alphabet of the tokens that it takes; None if it takes vectors.
    """

    out_channels: int
    letters: Alphabet | None


def check_letters(x: Tensor, alphabet: Alphabet) -> None:
    """Makes sure that tokens or soft letters are of an alphabet, before a GPU is asked for a row that does not exist.

    Compiled code leaves the look at the values out.

    Args:
        x: `(batch, length)` integers, or `(batch, length, letters)` floats.
        alphabet: What they should be of.

    Raises:
        AssemblyError: A token is out of range, or the shape is another.
    """
    size = len(alphabet.letters)
    shape, wanted = tuple(x.shape), f"(batch, length, {size}) soft letters" if x.is_floating_point() else None
    if len(shape) != (3 if wanted else 2) or (wanted and shape[2] != size):
        raise AssemblyError(
            f"an input of shape {shape}, where {wanted or '(batch, length) tokens'} are expected",
            remedy="Give integer tokens, or floating-point letters with the letters last (see as_channels_first)",
        )
    if wanted or torch.compiler.is_compiling() or x.is_meta or not x.numel():
        return
    # A GPU is waited for once: so much does it cost to have a sentence in place of a dead CUDA context.
    low, high = torch.stack(x.aminmax()).tolist()
    if low < 0 or high > alphabet.unknown_token:
        raise AssemblyError(
            f"token {low if low < 0 else high}, where {alphabet.name} has 0 to {alphabet.unknown_token}",
            remedy="Encode sequences with the model's own alphabet",
        )


def _select(tokens: Tensor, table: Tensor) -> Tensor:
    """Rows of a small `(letters + 1, channels)` table, as a matrix product: its gradient is many times faster."""
    choice = torch.eye(len(table), device=table.device, dtype=table.dtype)
    return F.embedding(tokens.int(), choice) @ table


@register_block
class OneHotEmbedding(Embedding):
    """Tokens `(batch, length)` to `(batch, length, letters)` of zeros and a one; an unknown residue is `1 / letters`.

    Args:
        alphabet: "dna" or "protein".
    """

    letters: Alphabet

    def __init__(self, alphabet: str = "dna") -> None:
        super().__init__()
        self.letters = get_alphabet(alphabet)
        self.out_channels = len(self.letters.letters)
        self.table: Tensor
        unknown = torch.full((1, self.out_channels), 1 / self.out_channels)
        self.register_buffer("table", torch.cat([torch.eye(self.out_channels), unknown]), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        check_letters(x, self.letters)
        return zero_padding(x if x.is_floating_point() else F.embedding(x.int(), self.table), mask), mask


@register_block
class LearnedEmbedding(Embedding):
    """Tokens `(batch, length)` to learned vectors `(batch, length, channels)`, normalised over channels.

    Args:
        channels: Size of the vectors.
        alphabet: "dna" or "protein".
        norm: Whether a LayerNorm over channels follows.

    Raises:
        AssemblyError: There are no channels.
    """

    letters: Alphabet

    def __init__(self, channels: int = 64, alphabet: str = "dna", norm: bool = True) -> None:
        super().__init__()
        if channels < 1:
            raise AssemblyError(f"an embedding of {channels} channels", remedy="Let there be at least 1")
        self.letters = get_alphabet(alphabet)
        self.out_channels = channels
        self.weight = nn.Parameter(torch.randn(len(self.letters.letters), channels))
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        check_letters(x, self.letters)
        if x.is_floating_point():
            vectors = self.norm(x @ self.weight)
        else:
            # There are only so many different tokens: normalise the table, not every position.
            vectors = _select(x, self.norm(torch.cat([self.weight, self.weight.mean(dim=0, keepdim=True)])))
        return zero_padding(vectors, mask), mask


@register_block
class Vectors(Embedding):
    """Vectors `(batch, length, size)` as they come, in the model's precision.

    Args:
        size: Numbers a residue.

    Raises:
        AssemblyError: The size is not positive, or what comes is no vectors of that size.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 1:
            raise AssemblyError(f"vectors of {size} numbers", remedy="Let the size be at least 1")
        self.letters = None
        self.out_channels = size
        self.precision: Tensor
        self.register_buffer("precision", torch.empty(0), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if x.dim() != 3 or not x.is_floating_point() or x.shape[2] != self.out_channels:
            raise AssemblyError(
                f"{x.dtype} inputs of shape {tuple(x.shape)}, where (batch, length, {self.out_channels}) vectors are "
                "expected",
                remedy="Give embeddings of that size, as 'seqclass embed' writes them",
            )
        return zero_padding(x.to(self.precision.dtype), mask), mask
