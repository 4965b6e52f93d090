import csv
import json

import h5py
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from seqclass.data.simulate.embeddings import simulate_embeddings
from seqclass.errors import SourceError


def read_labels(folder):
    with open(folder / "labels.tsv") as file:
        return {row["id"]: (row["label"], row["split"]) for row in csv.DictReader(file, delimiter="\t")}


def read_vectors(path):
    with h5py.File(path) as file:
        return {dataset.attrs.get("original_id", key): dataset[:] for key, dataset in file.items()}


def best_rule(folder, vectors):
    """Accuracy of taking the nearest true mean."""
    truth = json.loads((folder / "truth.json").read_text())
    names, means = list(truth["means"]), np.array(list(truth["means"].values()))
    labels = read_labels(folder)
    right = [
        names[np.square(means - vector.astype(float)).sum(axis=1).argmin()] == labels[name][0]
        for name, vector in vectors.items()
    ]
    return np.mean(right), truth["bayes_accuracy"]


@pytest.mark.parametrize(("classes", "accuracy"), [(2, 0.8), (3, 0.9), (10, 0.6)])
def test_the_nearest_mean_is_as_often_right_as_the_truth_says(tmp_path, classes, accuracy):
    folder = simulate_embeddings(tmp_path / "d", proteins=4000, classes=classes, dimensions=16, accuracy=accuracy)
    reached, promised = best_rule(folder, read_vectors(folder / "embeddings.h5"))
    assert promised == pytest.approx(accuracy, abs=1e-6)
    assert reached == pytest.approx(accuracy, abs=4 * np.sqrt(accuracy * (1 - accuracy) / 4000))


def test_for_two_classes_the_means_are_as_far_apart_as_the_error_function_says(tmp_path):
    """With two classes the best rule is right with probability Phi(distance / 2)."""
    folder = simulate_embeddings(tmp_path / "d", proteins=2, classes=2, accuracy=0.9772498680518208)
    first, second = (np.array(mean) for mean in json.loads((folder / "truth.json").read_text())["means"].values())
    assert np.linalg.norm(first - second) == pytest.approx(4.0, abs=1e-4)


def test_a_trained_classifier_comes_near_the_best_and_not_above(tmp_path):
    folder = simulate_embeddings(tmp_path / "d", proteins=4000, dimensions=32)
    vectors, labels = read_vectors(folder / "embeddings.h5"), read_labels(folder)

    def of(split):
        names = [name for name, (_, where) in labels.items() if where == split]
        return np.array([vectors[name] for name in names], dtype=float), [labels[name][0] for name in names]

    score = LogisticRegression(max_iter=500).fit(*of("train")).score(*of("test"))
    assert 0.85 < score < 0.9 + 4 * np.sqrt(0.09 / 600)


def test_residues_have_the_proteins_vector_as_their_mean(tmp_path):
    folder = simulate_embeddings(tmp_path / "d", proteins=1000, dimensions=16, residues=True)
    vectors = read_vectors(folder / "embeddings.h5")
    lengths = {len(vector) for vector in vectors.values()}
    assert min(lengths) >= 30
    assert len(lengths) > 50
    reached, promised = best_rule(folder, {name: v.astype(float).mean(axis=0) for name, v in vectors.items()})
    assert reached == pytest.approx(promised, abs=0.04)
    one, _ = best_rule(folder, {name: vector[0] for name, vector in vectors.items()})
    assert one < promised - 0.05


def test_vectors_are_half_precision_and_classes_equally_common(tmp_path):
    folder = simulate_embeddings(tmp_path / "d", proteins=90, dimensions=8)
    vectors = read_vectors(folder / "embeddings.h5")
    assert {(vector.shape, vector.dtype) for vector in vectors.values()} == {((8,), np.dtype(np.float16))}
    labels = [label for label, _ in read_labels(folder).values()]
    assert {label: labels.count(label) for label in labels} == {"class_1": 30, "class_2": 30, "class_3": 30}


def test_the_layouts_hold_the_same_vectors(tmp_path):
    folders = {
        layout: simulate_embeddings(tmp_path / layout, proteins=30, layout=layout)
        for layout in ("biotrainer", "prottrans", "classes")
    }
    labels = read_labels(folders["classes"])
    by_class = {}
    for path in (folders["classes"] / "by_class").iterdir():
        for name, vector in read_vectors(path).items():
            assert labels[name][0] == path.stem
            by_class[name] = vector
    with h5py.File(folders["biotrainer"] / "embeddings.h5") as file:
        assert not set(file) & set(labels)
    for layout in ("biotrainer", "prottrans"):
        vectors = read_vectors(folders[layout] / "embeddings.h5")
        assert vectors.keys() == by_class.keys() == labels.keys()
        for name, vector in vectors.items():
            np.testing.assert_array_equal(vector, by_class[name])


def test_one_seed_gives_one_folder(tmp_path):
    def contents(name):
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        simulate_embeddings(tmp_path / name, proteins=30, residues=True, seed=seed)
    assert contents("a") == contents("b") != contents("c")


@pytest.mark.parametrize(
    "options",
    [
        {"classes": 1},
        {"classes": 4, "dimensions": 3},
        {"proteins": 2},
        {"accuracy": 0.3},
        {"accuracy": 1.0},
        {"layout": "esm"},
        {"seed": -1},
    ],
)
def test_what_cannot_be_is_refused(tmp_path, options):
    with pytest.raises(SourceError):
        simulate_embeddings(tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())
