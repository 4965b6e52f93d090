"""What the filters of a first convolution look for: their weights as a logo, and the motifs of what activates them.

A subsequence activates a filter where its activation is above half of the greatest over all sequences, as in Kelley et
al. 2016, Basset (Genome Res. 26, 990), after Alipanahi et al. 2015, DeepBind (Nat. Biotechnol. 33, 831).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqclass.alphabets import Tokens
from seqclass.attribution.motifs import Site
from seqclass.attribution.mutagenesis_stages import Convolving
from seqclass.attribution.mutagenesis_trunk import trunk
from seqclass.blocks.convolution import convolve
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError
from seqclass.models import Classifier, SequenceClassifier
from seqclass.predict import evaluating

_BATCH_RESIDUES = 1 << 17


class FilterSites(NamedTuple):
    """What activates a filter.

    Attributes:
        filter: Index of the filter.
        greatest: Its greatest activation over all sequences, before the ReLU.
        sites: Subsequences of the filter's width with an activation above the threshold.
    """

    filter: int
    greatest: float
    sites: list[Site]


def filter_weights(model: Classifier) -> NDArray[np.float32]:
    """The weight of each letter in each filter of the first convolution, `(filters, width, letters)`.

    Of a learned embedding, its vectors are multiplied in: what a letter adds to the filter's activation.

    Raises:
        AssemblyError: The model's first stage is no convolution of letters.
    """
    convolution, letters = _first(model)
    with torch.no_grad():
        weights = torch.einsum("lc,fct->ftl", letters[:-1], convolution.weight)
    found: NDArray[np.float32] = weights.float().cpu().numpy()
    return found


def filter_sites(bundle: Bundle, tokens: Tokens, *, threshold: float = 0.5, most: int = 10_000) -> list[FilterSites]:
    """The subsequences that activate each filter of the first convolution, the strongest first.

    Args:
        bundle: The model; it is left as it was found.
        tokens: `(sequences, length)`.
        threshold: Share of the greatest activation from which on a subsequence counts.
        most: Sites of a filter that are kept.

    Returns:
        One entry a filter; without sites where its activation is nowhere positive.

    Raises:
        AssemblyError: The model's first stage is no convolution of letters, or the sequences are shorter than it.
    """
    step = max(1, _BATCH_RESIDUES // tokens.shape[1])
    with evaluating(bundle.model) as device, torch.inference_mode():
        convolution, letters = _first(bundle.model)
        width = convolution.weight.shape[2]
        if tokens.shape[1] < width:
            raise AssemblyError(
                f"sequences of {tokens.shape[1]} residues, where the filters have {width}",
                remedy="Give longer sequences",
            )

        def activations(begin: int) -> Tensor:
            batch = torch.from_numpy(tokens[begin : begin + step].astype(np.int64)).to(device)
            return convolve(letters[batch], convolution.weight, convolution.bias)

        begins = range(0, len(tokens), step)
        greatest = torch.stack([activations(begin).amax(dim=(0, 1)) for begin in begins]).amax(dim=0)
        found: list[list[tuple[float, int, int]]] = [[] for _ in greatest]
        least = torch.where(greatest > 0, threshold * greatest, torch.inf)
        for begin in begins:
            here = activations(begin)
            hits = (here >= least).nonzero()
            values = here[tuple(hits.T)].tolist()
            for value, (row, place, number) in zip(values, hits.tolist(), strict=True):
                found[number].append((-value, begin + row, place))
    return [
        FilterSites(number, float(greatest[number]), [Site(row, place) for _, row, place in sorted(each)[:most]])
        for number, each in enumerate(found)
    ]


def _first(model: Classifier) -> tuple[Convolving, Tensor]:
    """The first convolution, and the vector of each token, `(letters + 1, channels)`."""
    _, stage = next(iter(trunk(model)), ("", None))
    if not isinstance(model, SequenceClassifier) or not isinstance(stage, Convolving) or stage.dilation > 1:
        raise AssemblyError(
            "the model's first stage is no convolution of letters, so it has no filters to look at",
            remedy="Look at saliency instead: seqlets, salient words",
        )
    letters = model.embedding.letters
    assert letters is not None
    tokens = torch.arange(len(letters.letters) + 1, device=stage.weight.device)
    return stage, model.embedding(tokens[None])[0][0]
