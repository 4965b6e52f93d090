"""Simulated embeddings whose best possible accuracy is known, in the HDF5 layouts of real ones.

A protein's vector is its class' mean plus unit Gaussian noise; the means of C classes are orthogonal and equally long,
so the best rule takes the nearest mean, and its accuracy is an integral over one variable: the chance that the
projection on the own mean beats C - 1 others. The residues of a protein scatter around its vector and have
it as their mean, so they tell no more than it does.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, get_args

import h5py
import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from seqclass.atomic import atomic_folder, check_free
from seqclass.data.seeds import seeded_generator
from seqclass.data.simulate.writing import write_table
from seqclass.data.store import SPLITS
from seqclass.errors import SourceError
from seqclass.progress import track

Layout = Literal["biotrainer", "prottrans", "classes"]

_MARK = "truth.json"
_SHARES = (0.7, 0.15, 0.15)
_SHORTEST, _LONGEST = 30, 120
_README = """\
Simulated embeddings: {proteins} proteins of {classes} classes, float16, {what}.

{files}
labels.tsv    id, label, split
truth.json    each class' mean vector, and the accuracy of the best possible rule, {accuracy:.4f}: take the nearest mean
              {of}

    seqclass data import embeddings {paths} --out store.h5
"""
_FILES = {
    "biotrainer": "embeddings.h5 a dataset a protein: the key a hash, attribute original_id the name (biotrainer)",
    "prottrans": "embeddings.h5 a dataset a protein: the key is the name (ProtTrans)",
    "classes": "by_class/*.h5 a file a class, a dataset a protein: the key is the name",
}


def simulate_embeddings(
    out: str | Path,
    *,
    proteins: int = 1000,
    classes: int = 3,
    dimensions: int = 64,
    accuracy: float = 0.9,
    residues: bool = False,
    layout: Layout = "biotrainer",
    seed: int = 0,
    force: bool = False,
) -> Path:
    """Writes a folder with embeddings of proteins, their labels, and the accuracy of the best possible classifier.

    The folder holds `embeddings.h5` (or `by_class/CLASS.h5`) of float16 vectors; `labels.tsv`; `truth.json`; and
    `README.txt`.

    Args:
        out: The folder to write.
        proteins: How many there are; classes are equally common.
        classes: How many.
        dimensions: Of a vector; at least one a class.
        accuracy: Of the best possible rule; the means are placed so that it comes out.
        residues: Write `(length, dimensions)` a protein, 30 to 120 residues, and not `(dimensions,)`.
        layout: "biotrainer" (hashed keys, names in the attribute `original_id`), "prottrans" (the keys are the names)
            or "classes" (as prottrans, one file a class).
        seed: Decides everything: equal arguments give equal files.
        force: Replace what stands at `out`, if it is empty or such a folder.

    Returns:
        The folder.

    Raises:
        SourceError: A size is too small, the accuracy out of reach, the layout unknown, or the seed negative.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is of another kind.
    """
    if not 2 <= classes <= min(proteins, dimensions):
        raise SourceError(
            f"{proteins} proteins with {dimensions} dimensions cannot be of {classes} classes",
            remedy="Take at least two classes, and no more than proteins or dimensions",
        )
    if not 1 / classes < accuracy <= 0.9999:
        raise SourceError(
            f"the best of rules cannot have the accuracy {accuracy} with {classes} classes",
            remedy=f"Choose a number above {1 / classes:.4g} and up to 0.9999",
        )
    if layout not in get_args(Layout):
        raise SourceError(f"there is no layout '{layout}'", remedy=f"Choose one of {', '.join(get_args(Layout))}")
    check_free(out, force, holding=_MARK)
    generator = seeded_generator(seed)
    distance = _distance_for(accuracy, classes)
    means = distance * np.linalg.qr(generator.standard_normal((dimensions, classes)))[0].T
    label = generator.permutation(np.arange(proteins) % classes)
    splits = generator.choice(SPLITS, size=proteins, p=_SHARES).tolist()
    names = [f"p{number:05d}" for number in range(1, proteins + 1)]
    class_names = [f"class_{number}" for number in range(1, classes + 1)]
    labels = [class_names[index] for index in label.tolist()]

    with atomic_folder(out, force=force, holding=_MARK) as folder:
        if layout == "classes":
            (folder / "by_class").mkdir()
            paths = [folder / "by_class" / f"{name}.h5" for name in class_names]
        else:
            paths = [folder / "embeddings.h5"] * classes
        files = {path: h5py.File(path, "w") for path in sorted(set(paths))}
        try:
            for name, index in track(zip(names, label.tolist(), strict=True), "Drawing", proteins, "proteins"):
                vectors = means[index] + generator.standard_normal(dimensions)
                if residues:
                    length = int(generator.integers(_SHORTEST, _LONGEST + 1))
                    scatter = generator.standard_normal((length, dimensions))
                    vectors = vectors + scatter - scatter.mean(axis=0)
                key = hashlib.sha256(name.encode()).hexdigest() if layout == "biotrainer" else name
                dataset = files[paths[index]].create_dataset(key, data=vectors.astype(np.float16))
                if layout == "biotrainer":
                    dataset.attrs["original_id"] = name
        finally:
            for file in files.values():
                file.close()
        write_table(folder / "labels.tsv", ("id", "label", "split"), zip(names, labels, splits, strict=True))
        truth = {
            "bayes_accuracy": _best_accuracy(distance, classes),
            "noise": 1.0,
            "means": dict(zip(class_names, means.tolist(), strict=True)),
        }
        (folder / _MARK).write_text(json.dumps(truth, indent=1) + "\n", encoding="ascii")
        text = _README.format(
            proteins=proteins,
            classes=classes,
            what=f"(length, {dimensions}) each" if residues else f"({dimensions},) each",
            files=_FILES[layout],
            paths="by_class/*.h5" if layout == "classes" else "embeddings.h5 --labels-table labels.tsv --split split",
            accuracy=truth["bayes_accuracy"],
            of="to the mean over the residues" if residues else "to the vector",
        )
        (folder / "README.txt").write_text(text, encoding="ascii")
    return Path(out)


def _best_accuracy(distance: float, classes: int) -> float:
    """The chance that one normal variable with mean `distance` exceeds `classes` - 1 others with mean 0."""

    def density(value: float) -> float:
        return float(norm.pdf(value - distance) * norm.cdf(value) ** (classes - 1))

    return float(quad(density, -9, distance + 9, limit=200)[0])


def _distance_for(accuracy: float, classes: int) -> float:
    return float(brentq(lambda distance: _best_accuracy(distance, classes) - accuracy, 0.0, 20.0))
