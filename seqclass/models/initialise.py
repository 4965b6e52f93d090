"""A classifier that starts from what another model has learned."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from seqclass.blocks import Block
from seqclass.errors import AssemblyError
from seqclass.models.classifier import Classifier, SequenceClassifier

_TRUNK = ("embedding", "stem", "encoder")

# What a block does in training only, or how much it remembers, is no reason to refuse its weights.
_FREE = ("dropout", "memory_length", "frozen", "frozen_layers", "checkpointing", "attention")


class Initialised(NamedTuple):
    """What a classifier took over, and what it did not: names of its parts that have weights."""

    taken: tuple[str, ...]
    fresh: tuple[str, ...]


def init_from(classifier: Classifier, trained: Block) -> Initialised:
    """Copies the weights of the embedding, the stem and the encoder; the head stays fresh.

    Args:
        classifier: A `SequenceClassifier`; changed in place.
        trained: A language model or another classifier, with the same parts.

    Raises:
        AssemblyError: A part is there in one of them only, or differs; both sides are named, and nothing is copied. Or
            the head is all that there is to learn.
    """
    if not isinstance(classifier, SequenceClassifier):
        raise AssemblyError(
            f"a {type(classifier).__name__} has no embedding, stem and encoder to start from another model",
            remedy="Choose a model of these parts, such as transformer_xl or protcnn",
        )
    ours = {name: part for name in _TRUNK if isinstance(part := getattr(classifier, name), nn.Module)}
    theirs = {name: part for name in _TRUNK if isinstance(part := getattr(trained, name, None), nn.Module)}
    for name in _TRUNK:
        _compare(name, ours.get(name), theirs.get(name))
    learned = {name: part.state_dict() for name, part in theirs.items() if part.state_dict()}
    if not learned:
        raise AssemblyError(
            "nothing before the head is learned, so there is nothing to start from",
            remedy="Choose a model with a stem, an encoder or a learned embedding",
        )
    for name, weights in learned.items():
        ours[name].load_state_dict(weights)
    return Initialised(tuple(learned), tuple(name for name, _ in classifier.named_children() if name not in ours))


def _compare(name: str, ours: nn.Module | None, theirs: nn.Module | None) -> None:
    if _kind(ours) != _kind(theirs):
        raise _misfit(f"the trained model's {name} is {_kind(theirs)}, and the classifier's {_kind(ours)}")
    if not isinstance(ours, Block) or not isinstance(theirs, Block):
        return
    mine, other = ours.config()["arguments"], theirs.config()["arguments"]
    differing = [key for key in mine if key not in _FREE and mine[key] != other.get(key)]
    if differing:
        key = differing[0]
        raise _misfit(
            f"the trained model's {name} has {key} {other.get(key)!r}, and the classifier's {key} {mine[key]!r}"
        )
    need, have = _shapes(ours), _shapes(theirs)
    for weight in (*need, *have):
        if need.get(weight) != have.get(weight):
            raise _misfit(
                f"{weight} of the trained model's {name} is of shape {have.get(weight)}, and the classifier's of shape "
                f"{need.get(weight)}"
            )


def _shapes(part: Block) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in part.state_dict().items()}


def _kind(part: nn.Module | None) -> str:
    return "none" if part is None else f"a {type(part).__name__}"


def _misfit(problem: str) -> AssemblyError:
    return AssemblyError(problem, remedy="Build the classifier with the parts and sizes of the trained model")
