"""Which of two classifiers is better on the same samples, and whether that could be chance."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from seqclass.evaluation.bootstrap import interval
from seqclass.evaluation.multilabel import Floats


class Figure(NamedTuple):
    """A figure of the samples at hand, and of each test set drawn anew, `(replicates,)`."""

    value: float
    replicates: Floats


class McNemar(NamedTuple):
    """Of two classifiers' calls on the same samples, where just one is right.

    Args:
        only_first: How often that is the first.
        only_second: How often that is the second.
        p_value: How often a fair coin would divide them at least as unevenly, exactly.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """McNemar's test (1947, https://doi.org/10.1007/BF02295996) by the exact binomial distribution, two-sided.

    Args:
        first: `(samples,)`, whether the first classifier is right.
        second: The same of the second.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    p_value = 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5))
    return McNemar(only_first, only_second, min(1.0, p_value))


def compare_figures(
    metric: str,
    names: tuple[str, str],
    first: Figure,
    second: Figure,
    blocks: int,
    test: McNemar | None = None,
) -> dict[str, Any]:
    """The difference in a figure between two classifiers, as JSON can hold it, and in words which is better.

    Args:
        metric: What is compared, in words.
        names: Of the two.
        first: Of the first.
        second: Of the second, with the same test sets drawn anew.
        blocks: How many blocks these were drawn from.
        test: McNemar's, of classes.
    """
    difference = first.value - second.value
    ends = interval(difference, first.replicates - second.replicates, blocks, lowest=-1.0)
    found: dict[str, Any] = {
        "metric": metric,
        "first": names[0],
        "second": names[1],
        "figures": [None if np.isnan(figure.value) else figure.value for figure in (first, second)],
        "difference": None if np.isnan(difference) else difference,
        "interval": ends,
    }
    if test is not None:
        found["mcnemar"] = {
            f"only_{side}_right": count for side, count in (("first", test.only_first), ("second", test.only_second))
        } | {"p_value": test.p_value}
    return found | {"verdict": _in_words(found)}


def _in_words(found: dict[str, Any]) -> str:
    first, second = (found[side].replace("_", " ") for side in ("first", "second"))
    if found["difference"] is None:
        return f"{first} and {second}: {found['metric']} is undefined"
    figures = f"{found['metric']} {found['difference']:+.4f}"
    if found["interval"] is None:
        return f"{first} and {second}: {figures}, with too few blocks for an interval"
    low, high = found["interval"]
    test = "" if "mcnemar" not in found else f", McNemar p {_p_value(found['mcnemar']['p_value'])}"
    figures += f" (95 % interval {low:+.4f} to {high:+.4f}{test})"
    if low <= 0 <= high:
        return f"no difference shown between {first} and {second}: {figures}"
    return f"{first} is {'better' if low > 0 else 'worse'} than {second}: {figures}"


def _p_value(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-300 else "below 1e-300"
