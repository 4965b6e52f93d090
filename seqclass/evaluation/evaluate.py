"""A bundle judged on a split of a store: scores, baselines, report."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from seqclass import __version__
from seqclass.alphabets import DNA
from seqclass.atomic import check_free
from seqclass.bundle import Bundle
from seqclass.data.store import SPLITS, Indices, Store
from seqclass.errors import EvaluationError, find_name
from seqclass.evaluation.abstention import measure_abstention
from seqclass.evaluation.baselines import compute_baselines
from seqclass.evaluation.baselines.homology import Homology, compute_homology
from seqclass.evaluation.blocks import blocks_of
from seqclass.evaluation.calls import THRESHOLD
from seqclass.evaluation.multilabel import MIN_POSITIVES, Baseline, Scores
from seqclass.evaluation.report import MARKER, write_report
from seqclass.evaluation.strata import Strata, read_strata, stratify
from seqclass.predict import best_device, check_fits, score_samples


def evaluate(
    bundle: Bundle,
    store: Store,
    out: str | Path,
    *,
    split: str = "test",
    baselines: bool = True,
    homology: Sequence[str] = (),
    others: Mapping[str, NDArray[np.float32]] | None = None,
    strata: Sequence[str] = (),
    min_positives: int = MIN_POSITIVES,
    force: bool = False,
) -> dict[str, Any]:
    """Scores every locus of a split once, both strands averaged, and writes the report folder.

    Args:
        bundle: The model.
        store: Its targets and window must be those of the bundle.
        out: The folder to write.
        split: "train", "valid" or "test".
        baselines: Also fit the baselines on train and score them on the same samples.
        homology: Also hold it against "phmmer" or "family_hmm", which take long; proteins only. phmmer also tells how
            like the training set each sample is.
        others: Scores of the same loci to stand beside, by name, `(loci, targets)`; see `judged_samples`.
        strata: A table and columns of it: accuracy is also told by what stands there; see `read_strata`.
        min_positives: Targets with fewer positives in the split are listed and left out of means.
        force: Replace the report that stands at `out`.

    Returns:
        What `metrics.json` holds.

    Raises:
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands at `out` is no report or holds an input, or the disk is full.
        StoreError: The store does not fit the bundle.
        EvaluationError: The split is empty, or `homology` is asked of what holds no proteins.
        MissingPackageError: It is asked for without pyhmmer.
        UnknownNameError: It names no such baseline.
    """
    split = find_name("split", split, SPLITS)
    check_free(out, force, holding=MARKER, inputs=(bundle.path, store.path))
    check_fits(bundle, store)
    samples = judged_samples(store, split)
    table, columns = strata[:1], strata[1:]
    annotations = read_strata(table[0], columns, store.names(samples)) if table else {}
    aligned = compute_homology(store, samples, homology) if homology else Homology({}, None)
    scores = score_samples(bundle, store, samples)
    beside = compute_baselines(store, samples) if baselines else {}
    beside |= aligned.baselines
    beside |= {name: Baseline(values, {}) for name, values in (others or {}).items()}
    provenance = {
        "data": {"store": str(store.path), "sha256": store.checksum(), **store.provenance},
        "split": split,
        "strands": "mean of the probabilities of both strands" if store.alphabet is DNA else "none",
        "model": bundle.provenance,
        "versions": versions(),
        "device": _device_name(),
        "command": shlex.join(sys.argv),
    }
    return write_report(
        out,
        labels=store.known_labels(samples),
        scores=scores,
        targets=bundle.targets,
        train_positives=np.asarray(bundle.train_positives, dtype=np.int64),
        provenance=provenance,
        baselines=beside,
        exclusive=bundle.exclusive,
        thresholds=_thresholds(bundle),
        ids=sample_ids(store, samples),
        blocks=blocks_of(store, samples),
        strata=_strata(
            store,
            samples,
            {"model": scores, **{name: each.scores for name, each in beside.items()}},
            aligned.identity,
            annotations,
        ),
        abstention=_abstention(bundle, store, samples, scores),
        min_positives=min_positives,
        force=force,
    )


def judged_samples(store: Store, split: str) -> Indices:
    """The samples that a split is judged on: each locus once, whichever strands of it the store holds.

    Raises:
        EvaluationError: There are none.
    """
    samples = store.distinct(store.samples(split))
    if not len(samples):
        having = [name for name in SPLITS if len(store.samples(name))]
        raise EvaluationError(
            f"the split '{split}' has no samples",
            remedy=f"Choose --split {' or '.join(having)}, or import the data again with samples in this one",
            file=store.path,
        )
    return samples


def _thresholds(bundle: Bundle) -> NDArray[np.float64] | None:
    """`(targets,)`, from which probability on a target is called, as validation said; None where nothing was fitted."""
    if bundle.calibration is None:
        return None
    thresholds = np.full(len(bundle.targets), THRESHOLD)
    thresholds[bundle.binary] = bundle.calibration.threshold
    return thresholds


def _abstention(bundle: Bundle, store: Store, samples: Indices, scores: Scores) -> dict[str, dict[str, Any]]:
    """What `measure_abstention` finds, by exclusive group of which validation gave a threshold."""
    if bundle.calibration is None:
        return {}
    labels, counts = store.known_labels(samples), np.asarray(bundle.train_positives, dtype=np.int64)
    unlabelled_is_unknown = store.provenance.get("policies", {}).get("unseen") == "unknown"
    return {
        group: measure_abstention(
            labels[:, columns],
            scores[:, columns],
            counts[columns],
            bundle.calibration.abstain_below[group],
            unlabelled_is_unknown=unlabelled_is_unknown,
        )
        for group, columns in bundle.groups.items()
        if bundle.calibration.abstain_below[group] > 0
    }


def _strata(
    store: Store,
    samples: Indices,
    scorers: Mapping[str, Scores],
    identity: NDArray[np.float64] | None,
    annotations: Mapping[str, Strata],
) -> dict[str, dict[str, Any]]:
    """What `stratify` finds of each scorer, by exclusive group and by the scorer's name."""
    found = {
        name: stratify(store, samples, scores, identity=identity, annotations=annotations)
        for name, scores in scorers.items()
    }
    return {group: {name: each[group] for name, each in found.items()} for group in found["model"]}


def sample_ids(store: Store, samples: Indices) -> list[str]:
    """What samples are called: contig:start-end, 0-based and half-open."""
    views = store.views[samples]
    starts, ends = views.start.tolist(), (views.start + views.length).tolist()
    return [f"{name}:{start}-{end}" for name, start, end in zip(store.names(samples), starts, ends, strict=True)]


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "seqclass": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "machine": platform.machine(),
    }


def _device_name() -> str:
    """What samples are scored on: "CPU", or the GPU's name."""
    device = best_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
