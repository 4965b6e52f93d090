"""Augmentation: another view of a sample in each epoch, and residues replaced by chance.

Where a view begins, how long it is and which strand it is read from is arithmetic, done before anything is read.
Replacing residues is done on the device that the model runs on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqclass.alphabets import DNA, Alphabet
from seqclass.data.store import Indices, Store, Views
from seqclass.errors import TrainingError


@dataclass(frozen=True)
class Augmentation:
    """What is varied while training.

    Args:
        random_strand: Read each sample of DNA from a random strand.
        jitter: Shift each view by up to so many residues, in either direction.
        crop: Of samples that are longer, read a random stretch of so many residues.
        mask: Probability with which a residue becomes unknown.
        substitute: Probability with which a residue is drawn anew, all letters being equally likely.

    Raises:
        TrainingError: A number is out of its range.
    """

    random_strand: bool = False
    jitter: int = 0
    crop: int | None = None
    mask: float = 0.0
    substitute: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (("jitter", 0, 1 << 30), ("mask", 0, 1), ("substitute", 0, 1)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise TrainingError(f"{name} is {value}", remedy=f"Let it be from {low} to {high:,}")
        if self.mask + self.substitute > 1:
            raise TrainingError(
                f"mask {self.mask} and substitute {self.substitute} are more than all residues",
                remedy="Let them add up to 1 at most",
            )
        if self.crop is not None and not 1 <= self.crop <= 1 << 30:
            raise TrainingError(f"crop is {self.crop}", remedy=f"Let it be from 1 to {1 << 30:,}, or leave it out")

    def check(self, store: Store) -> None:
        """Makes sure that a store's samples can be varied so.

        Raises:
            TrainingError: Proteins have no other strand, or vectors no letters.
        """
        if self.random_strand and store.alphabet != DNA:
            raise TrainingError(
                f"{store.alphabet.name} has no other strand", remedy="Leave random_strand out", file=store.path
            )
        if (self.mask or self.substitute) and store.vector_size:
            raise TrainingError(
                "this store holds vectors, in which no letter can be replaced",
                remedy="Leave mask and substitute out",
                file=store.path,
            )

    def reach(self, views: Views) -> Views:
        """Views that cover all that `views` can become."""
        if not self.jitter:
            return views
        start, length = views.start - self.jitter, views.length + np.int32(2 * self.jitter)
        return replace(views, start=start, length=length)

    def lengths(self, length: NDArray[np.int32]) -> NDArray[np.int32]:
        """How long views of these lengths become, `(views,)`."""
        return length if self.crop is None else np.minimum(length, np.int32(self.crop))

    def draw(self, num_visits: int, seed: int, epoch: int, portion: int = 0) -> Draws:
        """What a portion of an epoch's visits vary by: a pure function of the seed, the epoch and the portion."""

        def generator(purpose: int) -> np.random.Generator:
            return np.random.default_rng([seed, epoch, purpose, portion])

        strand = generator(1).integers(0, 2, num_visits, dtype=np.uint8) if self.random_strand else None
        reach = self.jitter + 1
        shift = generator(2).integers(1 - reach, reach, num_visits, dtype=np.int32) if self.jitter else None
        crop = generator(3).random(num_visits, dtype=np.float32) if self.crop is not None else None
        return Draws(self, strand, shift, crop)

    def corrupt(self, tokens: Tensor, alphabet: Alphabet, seed: int, *when: int) -> Tensor:
        """Tokens `(batch, length)` some of which are replaced, drawn on their device from the seed and the time."""
        if not (self.mask or self.substitute):
            return tokens
        generator = _generator(tokens.device, seed, *when)
        chance = torch.rand(tokens.shape, generator=generator, device=tokens.device)
        known = tokens < alphabet.unknown_token
        if self.substitute:
            letters = torch.randint(
                len(alphabet.letters), tokens.shape, generator=generator, device=tokens.device, dtype=tokens.dtype
            )
            tokens = torch.where(known & (chance >= 1 - self.substitute), letters, tokens)
        return torch.where(known & (chance < self.mask), alphabet.unknown_token, tokens)


@dataclass(frozen=True)
class Draws:
    """What was drawn for some visits of an epoch; arrays are `(visits,)`, None where nothing is varied so."""

    augmentation: Augmentation
    strand: NDArray[np.uint8] | None
    shift: NDArray[np.int32] | None
    crop: NDArray[np.float32] | None

    def apply(self, views: Views, visits: Indices) -> Views:
        """The views of these visits, varied."""
        if self.shift is not None:
            views = replace(views, start=views.start + self.shift[visits])
        if self.crop is not None:
            length = self.augmentation.lengths(views.length)
            room = views.length - length
            # A float32 just below 1 can round up to the whole room and one.
            offset = np.minimum((self.crop[visits] * (room + 1)).astype(np.int64), room)
            views = replace(views, start=views.start + offset, length=length)
        if self.strand is not None:
            views = views.flipped(self.strand[visits].astype(bool))
        return views


class Hidden(NamedTuple):
    """Tokens some of which are to be guessed.

    Attributes:
        tokens: `(batch, length)`, with the hidden letters replaced.
        chosen: `(batch, length)` bool, True where the letter is to be guessed.
    """

    tokens: Tensor
    chosen: Tensor


def hide_letters(
    tokens: Tensor, mask: Tensor | None, alphabet: Alphabet, seed: int, *when: int, share: float = 0.15
) -> Hidden:
    """Chooses letters to be guessed, as BERT does (Devlin et al. 2019, arXiv:1810.04805).

    Of those chosen, 80 % read as unknown, 10 % as a letter drawn at random, and 10 % as they are. Unknown letters and
    padding are not chosen.

    Args:
        tokens: `(batch, length)` integers; they stay as they are.
        mask: `(batch, length)`, True at real residues, or None.
        alphabet: Of the tokens.
        seed: With `when`, decides what is drawn.
        when: Such as epoch, batch and rank.
        share: Of the letters, how many are chosen.
    """
    generator = _generator(tokens.device, seed, *when)
    chance = torch.rand(tokens.shape, generator=generator, device=tokens.device)
    letters = torch.randint(
        len(alphabet.letters), tokens.shape, generator=generator, device=tokens.device, dtype=tokens.dtype
    )
    chosen = (tokens < alphabet.unknown_token) & (chance < share)
    if mask is not None:
        chosen &= mask
    tokens = torch.where(chosen & (chance < 0.9 * share), letters, tokens)
    return Hidden(torch.where(chosen & (chance < 0.8 * share), alphabet.unknown_token, tokens), chosen)


def _generator(device: torch.device, seed: int, *when: int) -> torch.Generator:
    (state,) = np.random.SeedSequence([seed, *when]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state))
