"""Embeddings come through bit by bit, in the layouts in which tools write them; what is no embedding is named."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_table_source import known, write

from seqclass.data.sources.embeddings import import_embeddings
from seqclass.data.sources.records import Policies
from seqclass.data.store import Store
from seqclass.errors import SeqclassError, SourceError

Vectors = Mapping[str, NDArray[Any]]

TABLE = "id,label,part,family\na,x,train,f\nb,y,train,f\nc,x,test,g\n"


def proteins(dtype: str = "float16", *, whole: bool = False, size: int = 8) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(4)
    shapes = [(size,)] * 3 if whole else [(length, size) for length in (5, 1, 9)]
    return {name: generator.normal(size=shape).astype(dtype) for name, shape in zip("abc", shapes, strict=True)}


def write_prottrans(path: Path, vectors: Vectors) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in vectors.items():
            file[name] = array
    return path


def write_biotrainer(path: Path, vectors: Vectors) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["embedder"] = "prot_t5"
        for name, array in vectors.items():
            key = hashlib.sha256(name.encode()).hexdigest()
            file.create_dataset(key, data=array, compression="gzip", chunks=True)
            file[key].attrs["original_id"] = name
    return path


def read_back(store: Store) -> dict[str, NDArray[Any]]:
    """The vectors of each contig, by name."""
    with store.open() as file:
        tape = file["vectors"][:]
    return dict(zip(store.contig_names, np.split(tape, np.cumsum(store.contig_length)[:-1]), strict=True))


@pytest.mark.parametrize("writer", [write_prottrans, write_biotrainer])
@pytest.mark.parametrize("whole", [False, True], ids=["a vector a residue", "a vector a protein"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_vectors_labels_splits_and_groups_come_through(tmp_path, writer, whole, dtype):
    vectors = proteins(dtype, whole=whole)
    store = import_embeddings(
        writer(tmp_path / "e.h5", vectors),
        tmp_path / "s.h5",
        labels_table=write(tmp_path / "t.csv", TABLE),
        split="part",
        group="family",
    )
    back = read_back(store)
    assert store.dtype == dtype
    assert store.vector_size == 8
    assert back.keys() == vectors.keys()
    for name, array in vectors.items():
        np.testing.assert_array_equal(back[name], array.reshape(-1, 8))
    assert {name: labels["x"] for name, labels in known(store).items()} == {"a": True, "b": False, "c": True}
    assert store.names(store.samples("test")) == ["c"]
    assert store.groups is not None
    assert {name: store.group_names[g] for name, g in zip(store.contig_names, store.groups, strict=True)} == {
        "a": "f",
        "b": "f",
        "c": "g",
    }
    assert store.provenance["vectors"] == {"of": "protein" if whole else "residue", "size": 8, "dtype": dtype}
    if writer is write_biotrainer:
        assert store.provenance["files"] == {"e.h5": {"embedder": "prot_t5"}}


def test_each_file_is_a_class_named_by_its_stem(tmp_path):
    vectors = proteins()
    files = [
        write_prottrans(tmp_path / "kinase.h5", {"a": vectors["a"], "c": vectors["c"]}),
        write_biotrainer(tmp_path / "toxin.hdf5", {"b": vectors["b"]}),
    ]
    store = import_embeddings(files, tmp_path / "s.h5")
    labels = {name: {each for each, true in told.items() if true} for name, told in known(store).items()}
    assert labels == {"a": {"kinase"}, "b": {"toxin"}, "c": {"kinase"}}


@pytest.mark.parametrize("dtype", ["float64", ">f4", ">f2"])
def test_other_types_become_those_of_a_store_and_a_loss_is_told(tmp_path, dtype):
    vectors = proteins(dtype)
    store = import_embeddings(
        write_prottrans(tmp_path / "e.h5", vectors), tmp_path / "s.h5", labels_table=write(tmp_path / "t.csv", TABLE)
    )
    kept = "float16" if dtype == ">f2" else "float32"
    assert store.dtype == kept
    for name, array in read_back(store).items():
        np.testing.assert_array_equal(array, vectors[name].astype(kept))
    rounded = "3 embeddings in float64 were rounded to float32."
    assert (rounded in store.provenance["notes"]) == (dtype == "float64")


def test_half_and_single_precision_together_become_single(tmp_path):
    half, single = proteins("float16"), proteins("float32")
    vectors = {"a": half["a"], "b": single["b"], "c": half["c"]}
    store = import_embeddings(
        write_prottrans(tmp_path / "e.h5", vectors), tmp_path / "s.h5", labels_table=write(tmp_path / "t.csv", TABLE)
    )
    for name, array in read_back(store).items():
        np.testing.assert_array_equal(array, vectors[name].astype("float32"))
    assert "2 embeddings in float16 were kept as float32, like the others." in store.provenance["notes"]


def test_proteins_without_a_row_are_refused_or_dropped(tmp_path):
    path = write_prottrans(tmp_path / "e.h5", proteins())
    table = write(tmp_path / "t.csv", "id,label\na,x\nc,y\n")
    with pytest.raises(SourceError, match=r"'b' has no row in .*t\.csv") as caught:
        import_embeddings(path, tmp_path / "s.h5", labels_table=table)
    assert caught.value.file == path
    store = import_embeddings(path, tmp_path / "s.h5", labels_table=table, unlabelled="drop")
    assert store.contig_names == ["a", "c"]


def test_long_proteins_keep_both_ends(tmp_path):
    vectors = proteins()
    store = import_embeddings(
        write_prottrans(tmp_path / "e.h5", vectors),
        tmp_path / "s.h5",
        labels_table=write(tmp_path / "t.csv", TABLE),
        policies=Policies(max_length=5),
    )
    np.testing.assert_array_equal(read_back(store)["c"], np.concatenate([vectors["c"][:3], vectors["c"][-2:]]))


shapes = st.tuples(st.lists(st.integers(1, 30), min_size=2, max_size=12), st.integers(1, 5))


@settings(max_examples=40, deadline=None)
@given(shapes, st.sampled_from(["float16", "float32"]), st.integers(0, 2**32 - 1))
def test_any_embeddings_read_back_equal(tmp_path_factory, shapes, dtype, seed):
    lengths, size = shapes
    generator = np.random.default_rng(seed)
    vectors = {f"p{i}": generator.normal(size=(length, size)).astype(dtype) for i, length in enumerate(lengths)}
    folder = tmp_path_factory.mktemp("e")
    table = write(folder / "t.csv", "id,label\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(vectors)))
    store = import_embeddings(write_biotrainer(folder / "e.h5", vectors), folder / "s.h5", labels_table=table)
    back = read_back(store)
    assert back.keys() == vectors.keys()
    for name, array in vectors.items():
        np.testing.assert_array_equal(back[name], array)


def never_written(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", shape=(5, 8), dtype="f4")


def nested(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["train/a"] = np.ones((5, 8), "f4")


def unnamed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["k"] = np.ones((5, 8), "f4")
        file["k"].attrs["original_id"] = 7


def dangling(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"] = h5py.SoftLink("/nothing")


def without_content(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"] = h5py.Empty("f4")


def holding(**vectors: object) -> Any:
    return lambda path: write_prottrans(path, {name: np.asarray(array) for name, array in vectors.items()})


ONES = np.ones((5, 8), "float32")
GAP = np.where(np.arange(5)[:, None] == 3, np.nan, ONES).astype("float32")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "this is no file"),
        (lambda path: path.write_text(">a\nMKL\n"), "this is not HDF5"),
        (lambda path: path.write_bytes(b""), "this is not HDF5"),
        (lambda path: h5py.File(path, "w").close(), "this file holds no embedding"),
        (holding(a=ONES, b=ONES[:, :4]), "'b': a vector of 4 numbers a residue, where 'a' has one of 8 a residue"),
        (holding(a=ONES, b=ONES[0]), "'b': a vector of 8 numbers a protein, where 'a' has one of 8 a residue"),
        (holding(a=GAP, b=ONES), "'a': the vector of residue 4 has numbers that are NaN, infinite"),
        (holding(a=GAP[3], b=ONES[0]), "'a': the vector of the protein has numbers"),
        (holding(a=ONES * np.float64(1e300)), "too large for float32"),
        (holding(a=np.ones((5, 8), int)), r"'a': an array \(5, 8\) of int64, where"),
        (holding(a=np.ones((5, 8), complex)), "of complex128"),
        (holding(a=np.ones((2, 5, 8), "f4")), r"an array \(2, 5, 8\) of float32, where"),
        (holding(a=np.float32(1)), r"an array \(\) of float32, where"),
        (holding(a=np.ones((0, 8), "f4")), r"'a': an empty array \(0, 8\)"),
        (holding(a=b"MKL"), "'a': an array"),
        (without_content, "'a': an array None of float32"),
        (never_written, "of which 0 bytes were written"),
        (nested, "'train': this is no data set"),
        (unnamed, "'k': its attribute original_id is .*7"),
        (dangling, "truncated or damaged"),
    ],
)
def test_what_is_no_embedding_is_refused_and_nothing_is_left(tmp_path, make, complaint):
    table, path = write(tmp_path / "t.csv", TABLE), tmp_path / "e.h5"
    make(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SourceError, match=complaint) as caught:
        import_embeddings(path, tmp_path / "s.h5", labels_table=table)
    assert caught.value.file == path
    assert caught.value.remedy
    assert sorted(tmp_path.iterdir()) == before


def test_a_name_in_two_files_is_refused(tmp_path):
    files = [write_prottrans(tmp_path / f"{name}.h5", {"a": ONES}) for name in ("x", "y")]
    with pytest.raises(SourceError, match=r"y\.h5.*'a' names two records.*x\.h5"):
        import_embeddings(files, tmp_path / "s.h5")


def test_a_store_is_told_apart_from_embeddings(tmp_path):
    store = import_embeddings(
        write_prottrans(tmp_path / "e.h5", proteins()), tmp_path / "s.h5", labels_table=write(tmp_path / "t.csv", TABLE)
    )
    with pytest.raises(SourceError, match="this is a store already"):
        import_embeddings(store.path, tmp_path / "new.h5", labels_table=tmp_path / "t.csv")


def test_damaged_files_are_imported_or_refused_without_a_trace(tmp_path):
    chance = random.Random(9)
    table = write(tmp_path / "t.csv", TABLE)
    vectors = proteins()
    wholes = [
        write_prottrans(tmp_path / "e.h5", vectors).read_bytes(),
        write_biotrainer(tmp_path / "e.h5", vectors).read_bytes(),
    ]
    imported = refused = 0
    for number in range(400):
        data = bytearray(wholes[number % 2])
        for _ in range(chance.randint(0, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        path = write(tmp_path / "e.h5", bytes(data))
        try:
            store = import_embeddings(path, tmp_path / "s.h5", labels_table=table, unlabelled="drop")
        except SeqclassError:
            refused += 1
        else:
            imported += 1
            assert set(store.contig_names) <= {"a", "b", "c"}
            store.path.unlink()
        assert sorted(each.name for each in tmp_path.iterdir()) == ["e.h5", "t.csv"]
    assert imported > 50
    assert refused > 100


def test_memory_does_not_grow_with_the_number_of_proteins(tmp_path):
    array = np.ones((200, 1024), "float16")
    path = tmp_path / "e.h5"
    with h5py.File(path, "w") as file:
        for number in range(300):
            file[f"p{number:04}"] = array
    table = write(tmp_path / "t.csv", "id,label\n" + "".join(f"p{i:04},{i % 2}\n" for i in range(300)))
    tracemalloc.start()
    store = import_embeddings(path, tmp_path / "s.h5", labels_table=table)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert store.num_residues * store.residue_bytes == 300 * array.nbytes
    assert peak < 0.4 * 300 * array.nbytes
