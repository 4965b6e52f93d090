"""Models by name."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from inspect import signature
from typing import Any, TypeVar

from seqclass.errors import AssemblyError, find_name
from seqclass.models.classifier import Classifier

# These arguments of a model come from the data that it is trained on; all others are its options.
FROM_STORE = ("num_targets", "alphabet", "length", "bin", "vector_size", "exclusive")

_MODELS: dict[str, Callable[..., Classifier]] = {}

Factory = TypeVar("Factory", bound=Callable[..., Classifier])


def register_model(factory: Factory) -> Factory:
    """Decorator: makes a function that builds a model known under its own name.

    The function takes at least `num_targets` and `alphabet`; its other arguments are the model's options.

    Raises:
        AssemblyError: Another model has that name.
    """
    if _MODELS.setdefault(factory.__name__, factory) is not factory:
        raise AssemblyError(f"there is another model named {factory.__name__}", remedy="Choose another function name")
    return factory


def list_models(pattern: str = "*") -> list[str]:
    """Names of the registered models that match a shell pattern, sorted."""
    return sorted(name for name in _MODELS if fnmatchcase(name, pattern))


def get_model(name: str) -> Callable[..., Classifier]:
    """The function that builds the model of that name.

    Raises:
        UnknownNameError: There is none; the nearest names are suggested.
    """
    return _MODELS[find_name("model", name, _MODELS)]


def model_options(name: str) -> dict[str, Any]:
    """The options of the model of that name and their defaults: what `seqclass fit` takes as `--model.OPTION`.

    Raises:
        UnknownNameError: There is no such model; the nearest names are suggested.
    """
    arguments = signature(get_model(name)).parameters
    return {key: value.default for key, value in arguments.items() if key not in FROM_STORE}


def create_model(name: str, *, num_targets: int, alphabet: str | None = None, **options: Any) -> Classifier:
    """Builds a registered model.

    Args:
        name: As in `list_models()`.
        num_targets: Number of logits.
        alphabet: "dna" or "protein"; by default, what the model is for.
        **options: The model's own arguments.

    Raises:
        UnknownNameError: There is no such model.
        AssemblyError: It has no such option, an option is of another type, or its parts do not fit.
    """
    factory = get_model(name)
    if alphabet is not None:
        options["alphabet"] = alphabet
    try:
        return factory(num_targets=num_targets, **options)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise AssemblyError(
            f"model {name} cannot be built so ({' '.join(str(error).split())})",
            remedy=f"See help(seqclass.models.get_model('{name}'))",
        ) from error
