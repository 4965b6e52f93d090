"""What a model has to beat on the same samples, from chance to alignment.

- `prevalence`: the share of training samples that carry each target, a constant score. In an exclusive group it says
  the majority class.
- `composition`: L2-regularised logistic regression on length and composition, one for each target.
- `terminal_composition`: the same with the composition of either end by itself; proteins only.
- `kmer_logistic`: the same on k-mer counts.
- `shared_count`: ridge regression of a sample's number of labels on these counts, its prediction serving as the score
  of every target. It knows nothing of any one target, and yet ranks well where targets share hotspots. Not where each
  sample has one label of each kind, as its number is always the same then.
- `nearest_neighbour`: by the Jaccard index of k-mers, or by the cosine of vectors.

Those by alignment, `phmmer` and `family_hmm`, are in `homology`, as they take longer and need pyhmmer.

In DNA, a k-mer and its reverse complement count as the same (2,080 features for k = 6), so that both strands of a
sample score alike; in proteins the k-mers are pairs of residues. For vectors, there are the prevalence and the nearest
neighbour. A missing label counts as the target's prevalence in a regression, which says nothing for or against it.

What is labelled may be the centre of a much longer window: whether k-mers are counted in all of it or near its centre,
how far the ends of a protein reach and how strong the regularisation is, is decided by the mean average precision on
the validation split. The samples scored have no say in it.
"""

from __future__ import annotations

import numpy as np
import torch

from seqclass.alphabets import PROTEIN
from seqclass.blocks.kmers import K
from seqclass.data.store import Indices, Store
from seqclass.errors import EvaluationError
from seqclass.evaluation.baselines.composition import ENDS, composition
from seqclass.evaluation.baselines.kmers import count_kmers
from seqclass.evaluation.baselines.nearest import K as NEAREST_K
from seqclass.evaluation.baselines.nearest import nearest_by_cosine, nearest_by_kmers
from seqclass.evaluation.baselines.regression import Features, FeaturesOf, Regression
from seqclass.evaluation.multilabel import Baseline

MAX_TRAIN_SAMPLES = 100_000
"""More training samples than this are subsampled, which bounds memory: 2,080 counts in float32 are 8.3 kB a sample."""

SHARES = (1.0, 0.4, 0.2)
"""The central shares of a window among which validation decides; 400 and 200 of 1,000 bp."""


def compute_baselines(
    store: Store,
    samples: Indices,
    *,
    k: int | None = None,
    seed: int = 0,
    max_train_samples: int = MAX_TRAIN_SAMPLES,
) -> dict[str, Baseline]:
    """Fits the baselines on the training split and scores `samples` with each.

    Args:
        store: With training samples, and validation samples unless it holds vectors.
        samples: Indices of the samples to score.
        k: Length of the k-mers that are counted, in residues. Default: 6 for DNA, 2 for proteins.
        seed: Decides which samples are taken where there are too many.
        max_train_samples: The most training samples to fit on; a quarter as many validation samples are used at most.

    Raises:
        EvaluationError: Its training or validation split has nothing to learn from.
    """
    positives, known, _ = store.label_counts("train")
    prevalence = (positives / np.maximum(known, 1)).astype(np.float32)
    chance = np.broadcast_to(prevalence, (len(samples), store.num_targets))
    train = _subsample(store, "train", max_train_samples, seed)
    used = {"train_samples": len(train), "seed": seed}
    baselines = {"prevalence": Baseline(chance, {"train_samples": len(store.samples("train"))})}
    if store.vector_size:
        scores = nearest_by_cosine(store, train, samples, prevalence)
        return baselines | {"nearest_neighbour": Baseline(scores, used | {"similarity": "cosine"})}

    valid = _subsample(store, "valid", max(1, max_train_samples // 4), seed)
    used["valid_samples"] = len(valid)
    regression = Regression(store, train, valid, prevalence)
    k = K[store.alphabet.name] if k is None else k

    def kmers(chosen: Indices, share: float) -> Features:
        return count_kmers(store, chosen, k, share)

    def shares(chosen: Indices, ends: float) -> Features:
        return composition(store, chosen, int(ends))

    plans: list[tuple[str, FeaturesOf, str, tuple[float, ...]]] = [
        ("composition", shares, "ends", (0,)),
        ("kmer_logistic", kmers, "central_share", SHARES),
    ]
    if store.alphabet is PROTEIN:
        plans.insert(1, ("terminal_composition", shares, "ends", ENDS))
    for name, features_of, option, values in plans:
        fitted = regression.prepare(features_of, values, name)
        settings = used | {option: fitted.value} | ({"k": k} if features_of is kmers else {})
        logits, tuned = regression.logistic(fitted, samples, name)
        baselines[name] = Baseline(torch.sigmoid(logits).numpy(), settings | tuned)
        if features_of is kmers and not _all_exclusive(store):
            count, tuned = regression.number_of_labels(fitted, samples)
            baselines["shared_count"] = Baseline(np.broadcast_to(count.numpy(), chance.shape), settings | tuned)
    neighbours = nearest_by_kmers(store, train, samples, prevalence)
    similarity = f"Jaccard index of {NEAREST_K[store.alphabet.name]}-mers"
    baselines["nearest_neighbour"] = Baseline(neighbours, used | {"similarity": similarity})
    return baselines


def _all_exclusive(store: Store) -> bool:
    """Whether every sample has as many labels, whatever it is."""
    return {target.group for target in store.targets} <= set(store.layout.exclusive)


def _subsample(store: Store, split: str, most: int, seed: int) -> Indices:
    samples = store.samples(split)
    if not len(samples):
        raise EvaluationError(
            f"there are no {split} samples, which baselines need",
            file=store.path,
            remedy="Import with a training and a validation split",
        )
    if len(samples) > most:
        samples = np.sort(np.random.default_rng(seed).choice(samples, most, replace=False))
    return samples
