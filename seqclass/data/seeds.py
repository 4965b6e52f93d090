"""The random generator behind whatever is drawn once: a simulation, a split, negatives."""

from __future__ import annotations

import numpy as np

from seqclass.errors import SourceError


def seeded_generator(seed: int) -> np.random.Generator:
    """A generator that gives the same numbers for the same seed.

    Raises:
        SourceError: The seed is negative.
    """
    if seed < 0:
        raise SourceError(f"the seed {seed} is negative", remedy="Choose 0 or a positive number")
    return np.random.default_rng(seed)
