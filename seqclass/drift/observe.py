"""What a model says of sequences, and where it sees them.

The embedding of a sequence is the mean over its positions of what reaches the model's head. Of DNA it is the mean of
both strands', so that it does not depend on which one is given; of an ensemble the members' stand side by side. It is
heard in passing, while probabilities are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqclass.alphabets import Tokens
from seqclass.bundle import Bundle
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Indices, Store
from seqclass.errors import BundleError
from seqclass.models import Ensemble, SequenceClassifier
from seqclass.predict import check_fits, evaluating, judge
from seqclass.predict.memory import batch_size
from seqclass.progress import progress, track
from seqclass.training_summary import Floats


class Observed(NamedTuple):
    """Of sequences, in the order given.

    Attributes:
        probabilities: `(sequences, targets)`, calibrated if the bundle is.
        embeddings: `(sequences, size)`; `(sequences, 0)` of a model that has no layers before its head.
    """

    probabilities: Floats
    embeddings: Floats


def place(bundle: Bundle, sequences: Sequence[Tokens]) -> Floats:
    """Where sequences lie on the map of the training samples, `bundle.summary.points`: `(sequences, components)`.

    Args:
        bundle: With a summary.
        sequences: `(length,)` tokens of each, of lengths that the model takes.

    Raises:
        BundleError: The bundle has no summary, or its model no embedding.
    """
    if bundle.summary is None or not len(bundle.summary.components):
        raise BundleError(
            "the bundle has no map of its training samples",
            remedy="Write one with 'seqclass calibrate BUNDLE STORE --out NEW', where STORE is what it was trained on; "
            "a model without layers before its head has none",
            file=bundle.path,
        )
    return bundle.summary.project(observe_sequences(bundle, sequences).embeddings)


def observe_sequences(bundle: Bundle, sequences: Sequence[Tokens]) -> Observed:
    """Judges sequences of `(length,)` tokens; neighbours in length share a batch."""
    order = np.argsort([-len(tokens) for tokens in sequences], kind="stable")
    found: list[Observed] = []
    with evaluating(bundle.model) as device, progress("Predicting", len(sequences), "sequences") as advance:
        done = 0
        while done < len(order):
            longest = len(sequences[order[done]])
            batch = order[done : done + batch_size(bundle, longest)]
            tokens = np.full((len(batch), longest), bundle.alphabet.unknown_token, dtype=np.uint8)
            lengths = np.array([len(sequences[i]) for i in batch])
            for row, i in enumerate(batch):
                tokens[row, : lengths[row]] = sequences[i]
            mask = torch.from_numpy(np.arange(longest) < lengths[:, None]) if (lengths < longest).any() else None
            found.append(_observe(bundle, torch.from_numpy(tokens), mask, device))
            advance(len(batch))
            done += len(batch)
    return _in_order(found, order)


def observe_samples(bundle: Bundle, store: Store, samples: Indices) -> Observed:
    """Judges samples of a store, none of them twice.

    Raises:
        StoreError: The store does not fit the bundle, or there are no samples.
    """
    check_fits(bundle, store)
    longest = int(store.views.length[samples].max(initial=1))
    most = batch_size(bundle, longest)
    loader = StoreLoader(store, samples, most, batch_residues=most * longest)
    found, seen = [], []
    with evaluating(bundle.model) as device:
        for batch in track(loader, "Summarising", len(loader), "batches"):
            found.append(_observe(bundle, batch.inputs, batch.mask, device))
            seen.append(batch.samples.numpy())
    order = np.argsort(samples, kind="stable")
    return _in_order(found, order[np.searchsorted(samples[order], np.concatenate(seen))])


def _observe(bundle: Bundle, inputs: Tensor, mask: Tensor | None, device: torch.device) -> Observed:
    """What there is to see of one batch."""
    with torch.inference_mode(), _listening(bundle.model) as heard:
        joint, _ = judge(bundle, inputs.to(device), None if mask is None else mask.to(device))
    each = [torch.stack(strands).mean(dim=0) for strands in heard]
    embeddings = torch.cat(each, dim=1) if each else torch.zeros(len(inputs), 0)
    return Observed(joint.float().cpu().numpy(), embeddings.cpu().numpy())


@contextmanager
def _listening(model: nn.Module) -> Iterator[list[list[Tensor]]]:
    """Within the block, what reaches each head, `(batch, size)`, is put down, strand by strand, model by model."""
    models = model.members if isinstance(model, Ensemble) else [model]
    heads = [each.head for each in models if isinstance(each, SequenceClassifier)]
    heard: list[list[Tensor]] = [[] for _ in heads]

    def listen(into: list[Tensor], hidden: Tensor, mask: Tensor | None = None) -> None:
        hidden = hidden.float()
        if mask is None:
            into.append(hidden.mean(dim=1))
        else:
            kept = mask.unsqueeze(-1)
            into.append(hidden.masked_fill(~kept, 0).sum(dim=1) / kept.sum(dim=1).clamp_min(1))

    hooks = [
        head.register_forward_pre_hook(lambda _, given, into=into: listen(into, *given))
        for head, into in zip(heads, heard, strict=True)
    ]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


def _in_order(found: Sequence[Observed], rows: Indices) -> Observed:
    """Batches one after the other, of which the n-th sequence belongs in row `rows[n]`."""
    place = np.argsort(rows, kind="stable")
    return Observed(*(np.concatenate(part)[place] for part in zip(*found, strict=True)))
