"""Attribution: where in a sequence the evidence for a target lies, by any of the methods in `METHODS`.

What is explained is a target's logit. Of DNA it is the mean of both strands' logits, as a prediction is of both
strands: each strand is explained, and the maps are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from seqclass.attribution.inputs import Sequences, batches, read, stack
from seqclass.attribution.layers import find_layer
from seqclass.attribution.methods import METHODS, REFERENCES
from seqclass.attribution.question import Answer, Question
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, UnknownNameError, find_name
from seqclass.models import Classifier, Ensemble
from seqclass.predict import evaluating
from seqclass.targets import find_target

Floats = NDArray[np.float32]
Wanted = str | int | Sequence[int] | None

TOLERANCE = 0.05
"""By what share of a difference of logits contributions may miss it; one of less than 0.1 counts as 0.1."""

_LEAST_DIFFERENCE = 0.1
_OTHERS = "choose a method that shares out no difference: hirescam, input-x-gradient, occlusion"
_ADVICE = {
    "integrated-gradients": f"Take more steps, or {_OTHERS}",
    "gradient-shap": f"Take more steps, or choose integrated-gradients, or {_OTHERS}",
    "deeplift": f"Some part of the model, such as an LSTM, has no rule: choose integrated-gradients, or {_OTHERS}",
    "deepshap": f"Some part of the model, such as an LSTM, has no rule: choose gradient-shap, or {_OTHERS}",
}


class Attribution(NamedTuple):
    """Where the evidence lies.

    Attributes:
        scores: For each sequence, `(length,)` float32; of several targets `(targets, length)`.
        contributions: For each sequence, `(length, letters or numbers)`, of several targets with those first: what each
            letter, or dimension of a vector, adds to its residue's score; where a score is the size of a gradient, that
            gradient; of mutagenesis, what each letter would add to the logit. None for methods that know only residues.
        delta: For methods that share out a difference, by how much they miss it: the sum of the scores minus the
            difference of the logit from the references', `(sequences,)` or `(sequences, targets)`; else None.
        method: Its name.
        faithful: False for maps that do not follow from what the model computes for the target.
    """

    scores: list[Floats]
    contributions: list[Floats] | None
    delta: Floats | None
    method: str
    faithful: bool


class IncompleteError(AssemblyError):
    """Contributions that do not add up to the difference that they should share out.

    Args:
        method: Its name.
        delta: By how many units of logit they miss it.
        index: Of the sequence, among those given.
        tolerance: The share of the difference that is tolerated.
    """

    def __init__(self, method: str, delta: float, index: int, tolerance: float) -> None:
        super().__init__(
            f"the contributions of {method} do not add up: they miss the difference of the logit from the reference's "
            f"by {delta:.3g}, where {tolerance:.0%} of it (or of {_LEAST_DIFFERENCE}, if it is less) is tolerated",
            remedy=_ADVICE[method],
            record=f"sequence {index}",
        )


def attribute(
    model: Bundle | Classifier,
    sequences: Sequences,
    target: Wanted,
    *,
    method: str = "grad-cam",
    layer: str | None = None,
    reference: str | None = None,
    num_references: int = 10,
    steps: int = 64,
    window: int = 5,
    correct_gradient: bool = False,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Attribution:
    """Says where in each sequence the evidence for a target lies.

    Args:
        model: A bundle, or a model; it is left as it was found.
        sequences: Letters, `(length,)` tokens, or for models of vectors `(length, size)` each; of any lengths that the
            model takes.
        target: Name (of a bundle's target, or its beginning) or index; several indices; or None for all targets, of
            which Grad-CAM and its like cost little more than of one.
        method: One of `METHODS`.
        layer: One of `seqclass.attribution.layers.layers(model)`, for methods that look at one. Default: the last
            convolutional stage.
        reference: "shuffled", "uniform" or "zeros", for methods that compare. Default: the method's; for vectors
            "zeros" in place of "uniform".
        num_references: Shuffled references a sequence.
        steps: Points on the way from each reference at which gradients are taken; noisy copies for "smoothgrad".
        window: Residues that occlusion hides at a time.
        correct_gradient: Whether what all letters of a position have in common is taken out of gradients (Majdandzic et
            al. 2023), for methods made of gradients at the input.
        seed: Of shuffled references, places and noise, which depend on nothing else than it and the sequence.
        tolerance: By what share of a difference of logits contributions may miss it before they are refused; infinity
            takes them as they are, and `delta` says what they miss.

    Raises:
        UnknownNameError: There is no such target, method, layer or reference; what there is is told.
        SequenceError: There are no sequences, or the model cannot take one; it is numbered.
        AssemblyError: The method cannot be applied to this model, or its result is beyond `tolerance`, and which can is
            told; or an option does not belong to the method.
    """
    question = ask(
        model,
        target,
        method=method,
        layer=layer,
        reference=reference,
        num_references=num_references,
        steps=steps,
        window=window,
        correct_gradient=correct_gradient,
        seed=seed,
    )
    inputs = read(question.model, sequences)
    scores: list[Floats] = []
    contributions: list[Floats] = []
    delta: list[Floats] = []
    with _differentiable(question.model) as device:
        for batch in batches(inputs):
            x, mask = stack(question.model, batch, device)
            answer = question.answer(x, mask, question.draw(batch, x))
            delta += _missed(question.name, answer, len(scores), tolerance)
            for values, found in ((answer.scores, scores), (answer.contributions, contributions)):
                if values is not None:
                    found += [values[:, row, : len(each)].cpu().numpy().copy() for row, each in enumerate(batch)]
    if isinstance(target, str | int | np.integer):
        scores, contributions, delta = ([each[0] for each in found] for found in (scores, contributions, delta))
    return Attribution(
        scores, contributions or None, np.stack(delta) if delta else None, question.name, question.method.faithful
    )


def ask(
    model: Bundle | Classifier,
    target: Wanted,
    *,
    method: str = "grad-cam",
    layer: str | None = None,
    reference: str | None = None,
    num_references: int = 10,
    steps: int = 64,
    window: int = 5,
    correct_gradient: bool = False,
    seed: int = 0,
) -> Question:
    """What `attribute` puts to each batch, once its arguments have been found to fit each other; they are the same.

    Raises:
        UnknownNameError: As for `attribute`.
        AssemblyError: The method cannot be applied to this model, or an option does not belong to it.
    """
    classifier = model.model if isinstance(model, Bundle) else model
    columns = _columns(model, target)
    name = find_name("method", method, METHODS)
    if layer is not None and not METHODS[name].at_layer:
        raise AssemblyError(
            f"a layer, where {name} looks at none",
            remedy=f"Leave it out, or choose {', '.join(other for other in METHODS if METHODS[other].at_layer)}",
        )
    if reference is not None and METHODS[name].reference is None:
        raise AssemblyError(
            f"a reference, where {name} compares with none",
            remedy=f"Leave it out, or choose {', '.join(other for other in METHODS if METHODS[other].reference)}",
        )
    if correct_gradient and (not METHODS[name].of_gradients or classifier.input_kind == "vectors"):
        usable = ", ".join(other for other in METHODS if METHODS[other].of_gradients)
        raise AssemblyError(
            f"a correction of gradients at letters, of which {name} of {classifier.input_kind} is not made",
            remedy=f"Leave it out, or choose {usable} of a model that reads letters",
        )
    if min(num_references, steps, window) < 1 or seed < 0:
        raise AssemblyError(
            f"{num_references} references, {steps} steps, a window of {window} and the seed {seed}",
            remedy="Let each be at least 1, and the seed at least 0",
        )
    if name == "mutagenesis" and classifier.input_kind == "vectors":
        raise AssemblyError(
            "mutagenesis of vectors, which have no letters to exchange",
            remedy="Choose occlusion or integrated-gradients, or explain a model that reads letters",
        )
    if isinstance(classifier, Ensemble) and name in ("deeplift", "deepshap"):
        raise AssemblyError(
            f"{name} of an ensemble, whose members it cannot follow side by side",
            remedy="Choose integrated-gradients or gradient-shap, or explain the members one by one",
        )
    return Question(
        classifier,
        name,
        METHODS[name],
        columns,
        find_layer(classifier, layer) if METHODS[name].at_layer else [],
        _reference(classifier, METHODS[name].reference, reference),
        num_references,
        steps,
        window,
        correct_gradient,
        seed,
    )


def _columns(model: Bundle | Classifier, target: Wanted) -> list[int]:
    """The columns of the logits that are asked for."""
    if isinstance(target, str):
        if isinstance(model, Bundle):
            return [find_target(model.targets, target)]
        raise UnknownNameError(
            f"target '{target}' of a model, whose targets have no names", remedy="Give its index, or a bundle"
        )
    count = (model.model if isinstance(model, Bundle) else model).num_targets
    if target is None:
        return list(range(count))
    columns = [int(target)] if isinstance(target, int | np.integer) else [int(each) for each in target]
    if not columns:
        raise UnknownNameError("no target is given", remedy="Give one, or None for all")
    for column in columns:
        if not 0 <= column < count:
            raise UnknownNameError(f"there is no target {column} among {count}", remedy=f"Choose 0 to {count - 1}")
    return columns


def _reference(model: Classifier, usual: str | None, asked: str | None) -> str | None:
    """The kind of reference that is used."""
    vectors = model.input_kind == "vectors"
    if asked is None:
        return "zeros" if vectors and usual == "uniform" else usual
    kind = find_name("reference", asked, REFERENCES)
    if vectors and kind == "uniform":
        raise AssemblyError("a uniform reference for vectors, which have no letters", remedy="Choose zeros or shuffled")
    return kind


def missed_share(delta: Floats, difference: Floats) -> Floats:
    """By what share of differences of logits their contributions miss them; one of less than 0.1 counts as 0.1."""
    share: Floats = (np.abs(delta) / np.maximum(np.abs(difference), _LEAST_DIFFERENCE)).astype(np.float32)
    return share


def _missed(method: str, answer: Answer, first: int, tolerance: float) -> list[Floats]:
    """For each sequence, by how much the contributions to each target miss what they should add up to; or nothing."""
    if answer.expected is None:
        return []
    expected: Floats = answer.expected.T.cpu().numpy()
    delta: Floats = answer.scores.sum(dim=2).T.cpu().numpy() - expected
    # Written so that what is no number is refused too.
    refused = ~(missed_share(delta, expected) <= tolerance).all(axis=1)
    if refused.any():
        index = int(refused.argmax())
        raise IncompleteError(method, float(np.abs(delta[index]).max()), first + index, tolerance)
    return list(delta)


@contextmanager
def _differentiable(model: Classifier) -> Iterator[torch.device]:
    """Within the block the model is ready to be differentiated at its input; afterwards it is as it was."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    # cuDNN differentiates recurrent layers only while they are trained.
    cudnn = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled and not recurrent)
    with torch.inference_mode(False), torch.enable_grad(), cudnn, evaluating(model) as device:
        try:
            model.requires_grad_(False)
            yield device
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)
