"""The assembly that most models are: embedding, stem, encoder, head, with a skip connection around the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from seqclass.alphabets import get_alphabet
from seqclass.blocks import Block, Embedding, Head, register_block
from seqclass.errors import AssemblyError


class Spacing(NamedTuple):
    """Where the positions of a layer lie: position j is centred on residue `offset + stride * j`."""

    stride: int
    offset: float = 0.0


class Classifier(Block):
    """Base of the models: a block that says what it takes and what it gives.

    Attributes:
        alphabet: Name of the alphabet of the sequences that it judges.
        input_kind: "tokens" `(batch, length)`, or "vectors" `(batch, length, vector_size)`.
        vector_size: Numbers a residue, None for tokens.
        length: The one length it takes, in residues, or None for any.
        num_targets: Number of logits.
        has_spread: Whether it is judged with by several models, which can disagree.
    """

    alphabet: str
    input_kind: Literal["tokens", "vectors"] = "tokens"
    vector_size: int | None = None
    length: int | None
    num_targets: int
    has_spread: bool = False

    @property
    def longest(self) -> int | None:
        """The most residues that it takes at once, None for any number."""
        return self.length

    def set_prior(self, prevalence: Tensor) -> None:
        """Makes a fresh model predict about `prevalence`, `(num_targets,)`."""
        raise AssemblyError(
            f"{type(self).__name__} has no output bias to start from a prevalence",
            remedy="Train with --recipe.prior_from_train false, or give it a set_prior",
        )

    def sequence_layers(self) -> dict[str, Spacing]:
        """Names of the sequence blocks, and where the positions of each one's output lie."""
        raise AssemblyError(f"{type(self).__name__} names no layers to look at", remedy="Give it a sequence_layers")

    def penalised(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Logits, and what is to be added to their loss in training: nothing, unless the model says otherwise."""
        return self(x, mask), 0.0

    def constrain(self) -> None:
        """Puts weights back within bounds after a step of training: nothing to do, unless the model has some."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Takes over weights, as `torch.nn.Module.load_state_dict` does.

        Raises:
            AssemblyError: They are another model's; what is missing, too much or of another shape is listed.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise AssemblyError(
                " ".join(str(error).split()).rstrip("."), remedy="Build the model with the options it was trained with"
            ) from error


@register_block
class SequenceClassifier(Classifier):
    """Tokens `(batch, length)`, soft letters `(batch, length, letters)` or vectors to logits `(batch, num_targets)`.

        embedding -> stem -+-> encoder -+-> head
                           +----skip----+

    Any of them can be a block of your own, which has what is read here: `in_channels`, `out_channels`, `stride` and
    `out_length(length)` of a stem, and `offset` where its first position is not centred on the first residue;
    `in_channels` and `out_channels` of an encoder, `whole`, true where it gives one vector for the sequence, and
    `longest`, the most positions it takes if there is such a number. Embeddings and heads derive from `Embedding` and
    `Head`.

    Args:
        embedding: From tokens to vectors; or `Vectors`, for a model that takes vectors.
        stem: The convolutional part, which may shorten the sequence; None for none.
        encoder: Looks far; None for none.
        head: From positions to logits.
        skip: How the stem's output joins the encoder's before the head: side by side, added, or not at all.
        alphabet: "dna" or "protein".
        length: The one length it takes, in residues; None for any. Required if the head flattens positions.

    Raises:
        AssemblyError: Two neighbours do not fit, and both are named; or the stem leaves nothing of that length, or more
            than the encoder takes.
        UnknownNameError: There is no such alphabet.
    """

    def __init__(
        self,
        embedding: Embedding,
        stem: Block | None,
        encoder: Block | None,
        head: Head,
        skip: Literal["concatenate", "add"] | None = "concatenate",
        alphabet: str = "dna",
        length: int | None = None,
    ) -> None:
        super().__init__()
        if skip not in ("concatenate", "add", None):
            raise AssemblyError(f"a '{skip}' skip connection", remedy='Choose "concatenate", "add" or None')
        alphabet = get_alphabet(alphabet).name
        if embedding.letters is not None and embedding.letters.name != alphabet:
            raise AssemblyError(
                f"the embedding reads {embedding.letters.name}, and the model {alphabet}",
                remedy="Give both the same alphabet",
            )
        channels, giver = embedding.out_channels, "embedding gives"
        if stem is not None:
            _fit(giver, channels, "stem expects", _read(stem, "in_channels"))
            channels, giver = _read(stem, "out_channels"), "stem leaves"
        joined, givers = channels, giver
        if encoder is not None:
            _fit(giver, channels, "encoder expects", _read(encoder, "in_channels"))
            joined, givers = _read(encoder, "out_channels"), "encoder leaves"
            if skip == "add":
                _fit(giver, channels, "encoder leaves", joined)
            joined = joined + channels if skip == "concatenate" else joined
            givers = f"{giver.split()[0]} and encoder leave" if skip else givers
        _fit(givers, joined, "head expects", head.in_channels)
        positions = head.pool.length
        if positions is not None and length is None:
            raise AssemblyError("the head flattens positions, and no length is given", remedy="Give the model's length")
        self.embedding = embedding
        self.stem = stem
        self.encoder = encoder
        if skip is not None and self._is_whole:
            raise AssemblyError(
                "the encoder leaves one vector for the sequence, which a skip connection cannot join",
                remedy="Give the mean over residues to the head, or skip=None",
            )
        left = None if length is None else self.out_length(length)
        if positions not in (None, left):
            raise AssemblyError(
                f"the stem leaves {left} positions of {length} residues, and the head flattens {positions}",
                remedy=f"Flatten {left} positions",
            )
        longest = getattr(encoder, "longest", None)
        if left is not None and longest is not None and left > longest:
            raise AssemblyError(
                f"{length} residues reach the encoder as {left} positions, and it takes {longest}",
                remedy="Build the encoder with more positions, or the stem with larger strides",
            )
        self.head = head
        self.skip = skip
        self.alphabet = alphabet
        self.length = length
        self.num_targets = head.num_targets
        if embedding.letters is None:
            self.input_kind, self.vector_size = "vectors", embedding.out_channels

    @property
    def longest(self) -> int | None:
        positions = getattr(self.encoder, "longest", None)
        if self.length is not None or positions is None:
            return self.length
        return int(positions if self.stem is None else positions * _read(self.stem, "stride"))

    def out_length(self, length: int) -> int:
        """Positions of `length` residues that reach the head."""
        if self._is_whole:
            return 1
        return length if self.stem is None else int(_read(self.stem, "out_length")(length))

    @property
    def _is_whole(self) -> bool:
        return bool(getattr(self.encoder, "whole", False))

    def set_prior(self, prevalence: Tensor) -> None:
        self.head.set_prior(prevalence)

    def sequence_layers(self) -> dict[str, Spacing]:
        layers = {"embedding": Spacing(1)}
        if self.stem is not None:
            layers["stem"] = Spacing(_read(self.stem, "stride"), getattr(self.stem, "offset", 0.0))
        if self.encoder is not None and not self._is_whole:
            layers["encoder"] = layers["embedding" if self.stem is None else "stem"]
        return layers

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x, _ = self.embedding(x, mask)
        if self.length is not None and x.shape[1] != self.length:
            raise AssemblyError(
                f"a sequence of {x.shape[1]} residues, where the model takes {self.length}",
                remedy="Crop or pad it, or build the model with a pooling head",
            )
        logits: Tensor = self.head(*self._trunk(x, mask))
        return logits

    def features(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What reaches the head: `(batch, positions, channels)` and its mask."""
        x, _ = self.embedding(x, mask)
        return self._trunk(x, mask)

    def _trunk(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.stem is not None:
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


def _read(block: Block, name: str) -> Any:
    try:
        return getattr(block, name)
    except AttributeError:
        raise AssemblyError(
            f"{type(block).__name__} does not say its {name}", remedy=f"Give it an attribute or method {name}"
        ) from None
