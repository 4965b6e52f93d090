"""The training summary that a bundle carries, made from the store that it was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seqclass.bundle import Bundle
from seqclass.data.store import Indices, Store
from seqclass.data.tape import read_samples
from seqclass.drift.observe import observe_samples
from seqclass.drift.traits import calls, letter_shares
from seqclass.training_summary import Floats, Integers, TrainingSummary

MOST_SAMPLES = 2000
"""So many training samples, and so many validation samples, are looked at."""

COMPONENTS = 8
"""Principal components that are kept of the embeddings."""


def summarise(bundle: Bundle, store: Store) -> Bundle:
    """The same bundle with a summary of a store's training and validation samples, drawn at random with a fixed seed.

    Raises:
        StoreError: The store does not fit the bundle, or a split is empty.
    """
    train, held_out = _draw(store, "train"), _draw(store, "valid")
    embeddings = observe_samples(bundle, store, train).embeddings
    mean, components, explained = _principal(embeddings)
    letters = np.zeros((len(train), 0), dtype=np.float32)
    if store.input_kind == "tokens":
        tokens, _ = read_samples(store, train)
        # Padding is unknown residues, which are not counted.
        letters = letter_shares(list(tokens), store.alphabet)
    probabilities, held_out_embeddings = observe_samples(bundle, store, held_out)
    held_out_calls = calls(bundle, probabilities)
    empty = np.zeros((0, components.shape[0]), dtype=np.float32), np.zeros(0, dtype=np.float32)
    summary = TrainingSummary(
        lengths=store.views.length[train].astype(np.int32),
        letters=letters,
        points=empty[0],
        labels=_labels(store, train),
        mean=mean,
        components=components,
        explained=explained,
        held_out_points=empty[0],
        held_out_norms=np.linalg.norm(held_out_embeddings, axis=1).astype(np.float32),
        held_out_residuals=empty[1],
        calls_each=held_out_calls.each,
        calls=held_out_calls.columns,
    )
    summary = replace(
        summary,
        points=summary.project(embeddings),
        held_out_points=summary.project(held_out_embeddings),
        held_out_residuals=summary.residuals(held_out_embeddings),
    )
    return replace(bundle, summary=summary)


def was_trained_on(bundle: Bundle, store: Store) -> bool:
    """Whether a store holds what the bundle, or any member of an ensemble, says it was trained on."""
    origins = bundle.provenance.get("members", [bundle.provenance])
    return store.checksum() in [each.get("data", {}).get("sha256") for each in origins]


def _draw(store: Store, split: str) -> Indices:
    samples = store.samples(split)
    if len(samples) > MOST_SAMPLES:
        samples = np.sort(np.random.default_rng(0).choice(samples, MOST_SAMPLES, replace=False))
    return store.distinct(samples)


def _principal(embeddings: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, principal components and the share of the variance along each."""
    mean: Floats = embeddings.mean(axis=0)
    number = min(COMPONENTS, len(embeddings) - 1, embeddings.shape[1])
    if number < 1 or not (embeddings != embeddings[0]).any():
        return mean, np.zeros((0, len(mean)), dtype=np.float32), np.zeros(0, dtype=np.float32)
    from sklearn.decomposition import PCA  # slow to import, and every training command imports this file

    found = PCA(number, svd_solver="randomized", random_state=0).fit(embeddings)
    return mean, found.components_.astype(np.float32), found.explained_variance_ratio_.astype(np.float32)


def _labels(store: Store, samples: Indices) -> Integers:
    """The column of a target that each sample carries: of its class in the first group, or else the first; -1: none."""
    if store.layout.exclusive:
        members = store.layout.members(store.layout.exclusive[0])
        classes = store.classes(samples)[:, 0]
        return np.where(classes < 0, -1, np.asarray(members)[classes]).astype(np.int32)
    labels = store.labels(samples)
    return np.where(labels.any(axis=1), labels.argmax(axis=1), -1).astype(np.int32)
