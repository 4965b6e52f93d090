"""The methods of attribution by name, what each says and what it needs."""

from __future__ import annotations

from typing import NamedTuple


class Method(NamedTuple):
    """A way to ask where in a sequence a model's evidence lies.

    Attributes:
        says: What it says, in a sentence.
        faithful: False for maps that do not follow from what the model computes for the target.
        at_layer: Whether it looks at a layer.
        reference: The kind of reference it compares with, unless another is asked for; None if it needs none.
        complete: Whether its contributions add up to the logit's difference from the reference's.
        of_gradients: Whether it is made of gradients at the input, which can be corrected.
    """

    says: str
    faithful: bool = True
    at_layer: bool = False
    reference: str | None = None
    complete: bool = False
    of_gradients: bool = False


METHODS = {
    "grad-cam": Method(
        "A layer's channels, weighted by their mean gradient: what speaks for the target.", at_layer=True
    ),
    "grad-cam-relu": Method("As grad-cam, leaving out one by one the channels that speak against.", at_layer=True),
    "grad-cam++": Method("As grad-cam, with gradients weighted so that several sites count alike.", at_layer=True),
    "hirescam": Method("A layer's activations times their gradients: for and against, any head.", at_layer=True),
    "guided-grad-cam": Method("Guided backpropagation times grad-cam; not model-faithful.", False, at_layer=True),
    "guided-backpropagation": Method("Gradients that pass ReLUs only where positive; not model-faithful.", False),
    "saliency": Method("The size of the gradient, the largest of a position's letters.", of_gradients=True),
    "smoothgrad": Method("As saliency, of the mean gradient over noisy copies of the sequence.", of_gradients=True),
    "input-x-gradient": Method("The gradient of the letter that is there.", of_gradients=True),
    "integrated-gradients": Method(
        "The mean gradient on the way from a reference, times the difference from it.",
        reference="uniform",
        complete=True,
        of_gradients=True,
    ),
    "gradient-shap": Method(
        "As integrated-gradients, from shuffled references and at random places on the way.",
        reference="shuffled",
        complete=True,
        of_gradients=True,
    ),
    "deeplift": Method(
        "The difference from a reference, followed back through the model.", reference="uniform", complete=True
    ),
    "deepshap": Method("As deeplift, the mean over shuffled references.", reference="shuffled", complete=True),
    "occlusion": Method("The fall of the logit when a window is hidden.", reference="uniform"),
    "mutagenesis": Method("By how much the residue's own letter is better than the mean of all letters there; exact."),
    "attention-rollout": Method("Where the encoder's attention comes from, for all targets alike.", False),
    "mean-activation": Method("The mean of a layer's channels, for all targets alike.", False, at_layer=True),
}
"""By name. What is not faithful is labelled so wherever it is shown."""

REFERENCES = {
    "shuffled": "the sequence itself in another order; of DNA with the same dinucleotides",
    "uniform": "every letter with the same share, which is an unknown residue",
    "zeros": "no letter at all",
}
"""What a sequence can be compared with."""
