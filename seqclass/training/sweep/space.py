"""What a sweep varies: options by dotted name, and between which values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from seqclass.errors import SeqclassError, TrainingError, UnknownNameError, find_name

KINDS = ("uniform", "log-uniform", "integer", "log-integer", "choice")

# They say where a run is written, what is shown of it, how it is judged in the end, and on what data it is judged: no
# run trains better by them, or it would not be the same question.
NOT_VARIED = (
    *("config", "out", "force", "resume", "fast", "checkpoint_minutes", "logger", "figure_steps", "profile"),
    *("ensemble", "evaluate", "baselines", "min_test_positives", "data.store"),
)

# 10 to the power of more than this is no float.
_LARGEST_EXPONENT = 300


@dataclass(frozen=True)
class Space:
    """The options that a sweep varies.

    Args:
        distributions: By dotted name. Choices are text, as on a command line.
    """

    distributions: Mapping[str, BaseDistribution]

    @classmethod
    def read(cls, file: Path, present: Mapping[str, Any], accept: Callable[[str, Any], None]) -> Space:
        """Reads and checks a YAML file such as

            recipe.learning_rate: {log-uniform: [1e-5, 1e-2]}
            recipe.averaging.decay: {choice: [null, 0.99, 0.999]}
            model.hidden: {integer: [64, 512], step: 64}

        Args:
            file: The file.
            present: All options that there are, with the values from which the sweep departs.
            accept: Raises a `SeqclassError` if an option cannot take a value.

        Raises:
            TrainingError: The file is not such a file, bounds are not what they should be, or an option cannot take a
                value.
            UnknownNameError: There is no such option.
        """
        try:
            found = get_loader("yaml")(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise TrainingError(
                f"this is not YAML ({' '.join(str(error).split())})", remedy="See docs/sweeps.md", file=file
            ) from None
        if not isinstance(found, dict) or not found:
            raise TrainingError(
                "this names no option to vary",
                remedy="Let it have lines such as 'recipe.learning_rate: {log-uniform: [1e-5, 1e-2]}'",
                file=file,
            )
        names = [name for name in present if name not in NOT_VARIED]
        distributions = {}
        for name, said in found.items():
            try:
                _check_name(str(name), names)
                distributions[name] = _distribution(said, present[name])
                for value in _tried(distributions[name]):
                    accept(name, value)
            except SeqclassError as error:
                error.file, error.record = file, str(name)
                raise
        return cls(distributions)

    def draw(self, trial: Trial) -> dict[str, Any]:
        """A value for each option, as the study suggests it."""
        return {name: _draw(trial, name, distribution) for name, distribution in self.distributions.items()}


def _check_name(name: str, names: list[str]) -> None:
    if name in NOT_VARIED:
        raise TrainingError("this option is the same for all trials", remedy="Leave it out of the space")
    if name not in names:
        near = find_name("option", name, names)
        raise UnknownNameError(f"there is no option '{name}'", remedy=f"Did you mean {near}?")


def _distribution(said: Any, present: Any) -> BaseDistribution:
    """What stands behind an option's name, as a distribution."""
    if not isinstance(said, dict) or not said:
        raise TrainingError(
            f"found {json.dumps(said, default=str)}, where one of {', '.join(KINDS)} is to say what values there are",
            remedy="Write, for example, {log-uniform: [1e-5, 1e-2]} or {choice: [a, b]}",
        )
    kinds = [str(key) for key in said if key != "step"]
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError(
                f"there is no distribution '{kind}'", remedy=f"There are: {', '.join(KINDS)}, and a step beside them"
            )
    if len(kinds) != 1:
        raise TrainingError(f"found {len(kinds)} distributions", remedy=f"Give one of {', '.join(KINDS)}")
    (kind,) = kinds
    step = said.get("step")
    if step is not None and kind not in ("uniform", "integer"):
        raise TrainingError(f"{kind} takes no step", remedy="Leave it out, or use uniform or integer")
    if kind == "choice":
        return _choice(said[kind])
    low, high = _bounds(kind, said[kind], present)
    if step is not None:
        _check_step(step, low, high, whole=kind == "integer")
    if kind in ("integer", "log-integer"):
        return IntDistribution(int(low), int(high), log=kind == "log-integer", step=step or 1)
    return FloatDistribution(low, high, log=kind == "log-uniform", step=step)


def _choice(values: Any) -> CategoricalDistribution:
    if not isinstance(values, list) or len(values) < 2:
        raise TrainingError(
            f"a choice among {json.dumps(values, default=str)}",
            remedy="Give a list of two or more values; one that does not vary belongs in the configuration",
        )
    # Databases keep no lists; and so a trial reads as what a command line would say.
    texts = [value if isinstance(value, str) else json.dumps(value, default=str) for value in values]
    if len(set(texts)) < len(texts):
        raise TrainingError(f"a value is listed twice: {', '.join(texts)}", remedy="List each once")
    return CategoricalDistribution(texts)


def _bounds(kind: str, said: Any, present: Any) -> tuple[float, float]:
    if not isinstance(said, list) or len(said) != 2 or not all(map(_is_number, said)):
        raise TrainingError(
            f"the bounds of {kind} are {json.dumps(said, default=str)}", remedy="Give two numbers: [lowest, highest]"
        )
    low, high = said
    logarithmic, whole = kind.startswith("log-"), kind.endswith("integer")
    if logarithmic:
        _check_no_exponents(low, high, present, whole)
    if not low < high:
        raise TrainingError(f"the bounds are {low} and {high}", remedy="Let the first be below the second")
    if whole and not all(isinstance(bound, int) for bound in said):
        raise TrainingError(
            f"the bounds of {kind} are {low} and {high}", remedy="Give whole numbers, or use uniform or log-uniform"
        )
    return low, high


def _check_no_exponents(low: float, high: float, present: Any, whole: bool) -> None:
    """Bounds on a logarithmic scale are values; some other programs take exponents, and -5 for 1e-5."""
    if low <= 0 or high <= 0:
        remedy = f"Give values above 0{'' if whole else ', such as [1e-5, 0.01]'}"
        if low < high and max(abs(low), abs(high)) <= _LARGEST_EXPONENT and not whole:
            remedy = f"If 10^{low:g} to 10^{high:g} is meant, write [{10.0**low:g}, {10.0**high:g}]"
        raise TrainingError(
            f"on a logarithmic scale the bounds are values, not exponents, and {low:g} to {high:g} is not above 0",
            remedy=remedy,
        )
    written_whole = isinstance(low, int) and isinstance(high, int)
    if not whole and written_whole and _is_number(present) and 0 < present < low / 10:
        raise TrainingError(
            f"on a logarithmic scale the bounds are values, not exponents; {low} and {high} look like exponents, "
            f"as the option is {present:g} now",
            remedy=f"If 10^-{high} to 10^-{low} is meant, write [1e-{high}, 1e-{low}]; if {low} to {high} is, write "
            f"[{float(low)}, {float(high)}]",
        )


def _check_step(step: Any, low: float, high: float, whole: bool) -> None:
    fits = _is_number(step) and step > 0 and (isinstance(step, int) or not whole)
    if fits:
        steps = (high - low) / step
        fits = steps >= 1 and math.isclose(steps, round(steps), rel_tol=1e-9)
    if not fits:
        raise TrainingError(
            f"a step of {json.dumps(step, default=str)} does not lead from {low} to {high}",
            remedy="Let the distance of the bounds be a multiple of it",
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _tried(distribution: BaseDistribution) -> list[Any]:
    """Values that the option must accept: all choices; the bounds, and a value between them."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    if isinstance(distribution, IntDistribution) or distribution.step is not None:
        return [low, low + (distribution.step or 0), high]
    return [low, low + (high - low) / math.pi, high]


def _draw(trial: Trial, name: str, among: BaseDistribution) -> Any:
    if isinstance(among, IntDistribution):
        return trial.suggest_int(name, among.low, among.high, step=among.step, log=among.log)
    if isinstance(among, FloatDistribution):
        return trial.suggest_float(name, among.low, among.high, step=among.step, log=among.log)
    assert isinstance(among, CategoricalDistribution)
    return trial.suggest_categorical(name, among.choices)
