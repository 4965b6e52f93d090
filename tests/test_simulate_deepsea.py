import csv

import h5py
import numpy as np
import pytest
import scipy.io

from seqclass.data.simulate.deepsea import simulate_deepsea
from seqclass.data.simulate.motifs import read_meme
from seqclass.data.sources.deepsea import deepsea_targets, import_deepsea
from seqclass.data.tape import read_samples
from seqclass.errors import SourceError

SIZES = {"train": 600, "valid": 40, "test": 200}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_deepsea(tmp_path_factory.mktemp("deepsea") / "data", **SIZES, targets=6)


@pytest.fixture(scope="module")
def arrays(folder):
    """One-hot windows and labels of each split in MATLAB's order, read without this library."""
    with h5py.File(folder / "train.mat") as file:
        found = {"train": (file["trainxdata"][:].T, file["traindata"][:].T)}
    for split in ("valid", "test"):
        loaded = scipy.io.loadmat(folder / f"{split}.mat")
        found[split] = (loaded[f"{split}xdata"], loaded[f"{split}data"])
    return found


@pytest.fixture(scope="module")
def sites(folder):
    with open(folder / "sites.tsv") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_shapes_are_deepseas(arrays):
    for split, (onehot, labels) in arrays.items():
        assert onehot.shape == (SIZES[split], 4, 1000)
        assert labels.shape == (SIZES[split], 6)
        assert onehot.dtype == labels.dtype == np.uint8
        assert (onehot.sum(axis=1) == 1).all()


def test_the_second_half_is_the_other_strand(arrays):
    for onehot, labels in arrays.values():
        half = len(onehot) // 2
        # In the channels A, G, C, T the complement is the reverse order of the channels, too.
        np.testing.assert_array_equal(onehot[half:], onehot[:half, ::-1, ::-1])
        np.testing.assert_array_equal(labels[half:], labels[:half])


def test_planted_sites_read_as_their_motif(folder, arrays, sites):
    ppms, _ = read_meme(folder / "motifs.meme")
    fits = []
    for row in sites:
        onehot = arrays[row["split"]][0][int(row["sample"]), :, int(row["start"]) : int(row["end"])]
        letters = np.array(list("AGCT"))[onehot.argmax(axis=0)]
        if row["strand"] == "-":
            letters = np.array([{"A": "T", "C": "G", "G": "C", "T": "A"}[letter] for letter in letters[::-1]])
        consensus = np.array(list("ACGT"))[ppms[row["target"]].argmax(axis=1)]
        fits.append(np.mean(letters == consensus))
    assert np.mean(fits) == pytest.approx(0.97, abs=0.01)


def test_labels_are_the_sites_in_the_central_bin(arrays, sites):
    labels = {split: np.zeros((size, 6), dtype=np.uint8) for split, size in SIZES.items()}
    for row in sites:
        inside = int(row["start"]) >= 400 and int(row["end"]) <= 600
        assert inside == (row["acts"] == "yes")
        assert inside or int(row["end"]) <= 400 or int(row["start"]) >= 600
        if inside:
            target = int(row["target"].removeprefix("target_"))
            labels[row["split"]][int(row["sample"]) :: SIZES[row["split"]] // 2, target] = 1
    for split, (_, written) in arrays.items():
        np.testing.assert_array_equal(written, labels[split])
    assert labels["train"].mean() == pytest.approx(0.05, abs=0.02)
    outside = sum(row["acts"] == "no" for row in sites)
    assert outside == pytest.approx(len(sites) / 2, rel=0.2)


def test_the_importer_reads_it(folder, arrays, tmp_path):
    store = import_deepsea(tmp_path / "d.h5", **{split: folder / f"{split}.mat" for split in SIZES})
    assert store.window == 1000
    for split, (onehot, labels) in arrays.items():
        samples = store.samples(split)
        np.testing.assert_array_equal(store.labels(samples), labels)
        channel_of_token = np.array(["AGCT".index(letter) for letter in store.alphabet.letters])
        tokens, _ = read_samples(store, samples)
        np.testing.assert_array_equal(channel_of_token[tokens], onehot.argmax(axis=1))
    assert store.provenance["reverse_complements_verified"] == dict.fromkeys(SIZES, True)


def test_with_919_targets_they_are_deepseas(tmp_path):
    folder = simulate_deepsea(tmp_path / "d", train=20, valid=2, test=2, targets=919, positives=0.01)
    assert import_deepsea(tmp_path / "d.h5", train=folder / "train.mat").targets == deepsea_targets()


def test_one_seed_gives_one_folder(tmp_path):
    def contents(name):
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        simulate_deepsea(tmp_path / name, train=20, valid=10, test=10, seed=seed)
    assert contents("a") == contents("b") != contents("c")


@pytest.mark.parametrize(
    "options", [{"train": 5}, {"test": 0}, {"targets": 0}, {"positives": 0}, {"positives": 0.6}, {"seed": -1}]
)
def test_sizes_that_cannot_be_are_refused(tmp_path, options):
    with pytest.raises(SourceError):
        simulate_deepsea(tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())
