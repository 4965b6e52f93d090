"""Batches of sequences of like length, and the samples of a store, through a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from seqclass.alphabets import Tokens
from seqclass.bundle import Bundle
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Indices, Store
from seqclass.errors import StoreError
from seqclass.predict.judge import evaluating
from seqclass.predict.memory import Judge, batch_size
from seqclass.predict.stretches import what_is_read
from seqclass.progress import Advance, track


def score_samples(bundle: Bundle, store: Store, samples: Indices, *, calibrated: bool = True) -> NDArray[np.float32]:
    """Probabilities of samples of a store, `(samples, targets)`, in the order given.

    Args:
        bundle: The model.
        store: Its alphabet, window and targets are those of the bundle.
        samples: Indices of samples.
        calibrated: Whether the bundle's calibration is applied, if it has one.

    Raises:
        StoreError: The store's alphabet, window or targets are not those of the bundle, or there are no samples.
    """
    check_fits(bundle, store)
    bundle = bundle if calibrated else replace(bundle, calibration=None)
    longest = int(store.views.length[samples].max(initial=1))
    most = batch_size(bundle, longest)
    loader = StoreLoader(store, samples, most, batch_residues=most * longest)
    scores = np.empty((len(samples), store.num_targets), dtype=np.float32)
    order = np.argsort(samples, kind="stable")
    rising = samples[order]
    with evaluating(bundle.model) as device:
        judge = Judge(bundle, device)
        for batch in track(loader, "Scoring", len(loader), "batches"):
            rows = order[np.searchsorted(rising, batch.samples.numpy())]
            scores[rows] = judge(batch.inputs, batch.mask)[0].numpy()
    return scores


def check_fits(bundle: Bundle, store: Store) -> None:
    """Makes sure that a store asks what the bundle answers.

    Raises:
        StoreError: What it holds, its alphabet, targets or window differ.
    """
    asked, held = (
        what_is_read(bundle.model.input_kind, bundle.model.vector_size),
        what_is_read(store.input_kind, store.vector_size),
    )
    if asked != held:
        raise StoreError(
            f"the store holds {held}, and the model reads {asked}",
            remedy=f"Give a store of {asked}",
            file=store.path,
        )
    if store.alphabet is not bundle.alphabet:
        found = f"the store holds {store.alphabet.name}, and the model reads {bundle.alphabet.name}"
        raise StoreError(found, remedy="Give a store of the model's alphabet", file=store.path)
    ours, theirs = [target.name for target in bundle.targets], [target.name for target in store.targets]
    if ours != theirs:
        differing = sorted(set(ours) ^ set(theirs)) or ["the order"]
        raise StoreError(
            f"the store's {len(theirs)} targets are not the model's {len(ours)} (differing: {', '.join(differing[:5])}"
            + (", ...)" if len(differing) > 5 else ")"),
            remedy="Import the data with the targets of the model",
            file=store.path,
        )
    if set(store.layout.exclusive) != set(bundle.exclusive):
        raise StoreError(
            f"just one target is true of the store's groups {list(store.layout.exclusive)}, and of the model's "
            f"{list(bundle.exclusive)}",
            remedy="Import the data with the questions of the model",
            file=store.path,
        )
    if bundle.length is not None and store.window != bundle.length:
        raise StoreError(
            f"the store's windows are of {store.window} residues, and the model takes {bundle.length}",
            remedy=f"Import the data with --window {bundle.length}",
            file=store.path,
        )


def score_tokens(
    sequences: Sequence[Tokens], bundle: Bundle, device: torch.device, advance: Advance
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """What `judge` says of sequences of any lengths; neighbours in length share a batch.

    Args:
        sequences: Tokens of each.
        bundle: The model, in a block of `evaluating`.
        device: Where it is.
        advance: Is told how many more are scored.

    Returns:
        The probabilities, `(sequences, targets)`, and of an ensemble the members' standard deviation, else None.
    """
    scores = np.empty((len(sequences), len(bundle.targets)), dtype=np.float32)
    spread = np.empty_like(scores) if bundle.model.has_spread else None
    judge = Judge(bundle, device)
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    while order:
        longest = len(sequences[order[-1]])
        size = batch_size(bundle, longest)
        batch, order = order[-size:], order[:-size]
        lengths = np.array([len(sequences[i]) for i in batch])
        tokens = np.full((len(batch), longest), bundle.alphabet.unknown_token, dtype=np.uint8)
        for row, i in enumerate(batch):
            tokens[row, : lengths[row]] = sequences[i]
        mask = None
        if (lengths < longest).any():
            mask = torch.from_numpy(np.arange(longest) < lengths[:, None])
        joint, apart = judge(torch.from_numpy(tokens), mask)
        scores[batch] = joint.numpy()
        if spread is not None and apart is not None:
            spread[batch] = apart.numpy()
        advance(len(batch))
    return scores, spread
