"""How large a difference between two samples is, and how large chance alone makes it.

Each sequence is a row of numbers, such as which letters it has or whether it is at most so long, and a difference is
a function of the two samples' means. Chance is what remains of it when sequences are dealt to the two samples at
random: a permutation test, exact for sequences that are independent of each other, whatever their distribution
(Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse, vstack

Means = NDArray[np.float64]
Distance = Callable[[Means, Means], Means]

DRAWS = 999

FALSE_ALARMS = 0.01
"""Of so many comparisons of samples of one source, chance alone is taken for a difference."""

_AT_ONCE = 64


class Difference(NamedTuple):
    """What was found: the difference, and the largest that chance alone makes, but for `FALSE_ALARMS` of all draws."""

    size: float
    by_chance: float

    @property
    def is_real(self) -> bool:
        """Whether it is larger than chance makes it."""
        return self.size > self.by_chance


def compare(reference: Any, new: Any, distance: Distance) -> Difference:
    """The difference between two samples.

    Args:
        reference: `(sequences, numbers)`, dense or sparse.
        new: The same of the other sample.
        distance: From the means of both, `(draws, numbers)`, to their difference, `(draws,)`; at least 0.
    """
    rows = vstack([reference, new], format="csr") if issparse(reference) else np.concatenate([reference, new])
    count, size = rows.shape[0], new.shape[0]
    total = np.ones((1, count)) @ rows
    random = np.random.default_rng(0)

    def differences(chosen: NDArray[np.float64]) -> Means:
        theirs = chosen @ rows
        return distance((total - theirs) / (count - size), theirs / size)

    actual = np.zeros((1, count))
    actual[0, count - size :] = 1
    found = float(differences(actual)[0])
    by_chance = np.empty(DRAWS)
    for begin in range(0, DRAWS, _AT_ONCE):
        chosen = np.zeros((min(_AT_ONCE, DRAWS - begin), count))
        for draw in chosen:
            draw[random.permutation(count)[:size]] = 1
        by_chance[begin : begin + len(chosen)] = differences(chosen)
    # The actual division is one of those that could have been drawn, so that with 999 draws the tenth is the limit.
    limit = np.sort(by_chance)[-int(FALSE_ALARMS * (DRAWS + 1))]
    return Difference(found, float(limit))
