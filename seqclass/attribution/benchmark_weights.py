"""A model whose weights are lost from the head down: a map that does not change does not explain the model.

Adebayo et al. 2018, "Sanity checks for saliency maps" (NeurIPS; arXiv:1810.03292), cascading randomisation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from seqclass.attribution.layers import layers
from seqclass.blocks import build
from seqclass.models import Classifier

_STREAM = 1810


def stages(model: Classifier) -> dict[str, list[str]]:
    """The names of what is randomised in turn, from the head to the embedding, and of each the keys of its weights.

    Head is all that is no layer. What a stem or encoder has outside its parts goes with the lowest of them, under the
    block's own name. Stages without weights, such as a one-hot embedding, are left out.
    """
    table = layers(model)
    places: dict[str, set[str]] = {}
    for block in ("encoder", "stem", "embedding"):
        parts = [name for name in reversed(table) if name.startswith(f"{block}.")]
        places |= {name: {layer.path for layer in table[name]} for name in parts[:-1]}
        lowest = [layer for name in (*parts[-1:], block) for layer in table.get(name, ())]
        places[block] = {layer.encoder or layer.path for layer in lowest} | {layer.path for layer in lowest}
    found: dict[str, list[str]] = {"head": [], **{name: [] for name in places}}
    for key in model.state_dict():
        # Of a part and the block around it, the part comes first.
        holders = (name for name, paths in places.items() if any(key.startswith(f"{path}.") for path in paths))
        found[next(holders, "head")].append(key)
    return {name: keys for name, keys in found.items() if keys}


def cascade(model: Classifier, seed: int = 0) -> Iterator[tuple[str, Classifier]]:
    """After each stage of `stages`, its name and the model without what was learned from there up.

    The weights, and running statistics, are those of a model built afresh. It is one copy that loses more and more; the
    model itself is left as it is.
    """
    with torch.random.fork_rng(devices=[]):
        # A run's own seed would bring back the weights that the model began with.
        torch.manual_seed(int(np.random.default_rng([seed, _STREAM]).integers(1 << 62)))
        fresh = build(model.config()).state_dict()
        lost = build(model.config()).to(next(model.parameters()).device)
    lost.load_state_dict(model.state_dict())
    lost.eval()
    weights = lost.state_dict()
    for name, keys in stages(model).items():
        with torch.no_grad():
            for key in keys:
                weights[key].copy_(fresh[key])
        yield name, lost
