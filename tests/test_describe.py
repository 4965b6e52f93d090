from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from seqclass.alphabets import PROTEIN
from seqclass.data.describe import describe
from seqclass.data.store import Store, Views
from seqclass.data.writer import VectorForm, write_store
from seqclass.targets import Target


def text(store: Store) -> str:
    console = Console(width=200, record=True, file=StringIO())
    console.print(describe(store))
    return console.export_text()


@pytest.mark.parametrize("vectors", [None, VectorForm(3, "float16")])
def test_a_store_of_ragged_samples_groups_and_missing_labels_is_told_in_words(
    tmp_path: Path, vectors: VectorForm | None
) -> None:
    lengths = np.array([2, 5, 11])
    tape = np.zeros(18, np.uint8) if vectors is None else np.zeros((18, 3), np.float16)
    with write_store(tmp_path / "store.h5", PROTEIN, vectors=vectors) as writer:
        writer.add_contigs(["a", "b", "c"], tape, lengths)
        writer.set_targets([Target("x", "family"), Target("y", "family"), Target("acid")], ["family"], missing=True)
        writer.add_labels(writer.layout.pack(np.array([[1], [-1], [0]]), np.array([[0], [1], [-1]])))
        views = Views(np.arange(3), np.zeros(3, int), lengths, np.ones(3, int))
        writer.set_samples(views, np.array([0, 0, 2]), (np.array([0, 0, 1]), ["g", "h"]))
        writer.finish({"source": "by hand", "notes": ["a note"]})
    found = text(Store(tmp_path / "store.h5"))
    assert "3 of 2 to 11 (mean 6) residues" in found
    assert ("18 protein letters" if vectors is None else "18 vectors of 3 float16 numbers") in found
    assert "just one target is true in each of: family" in found
    assert "2 groups, for splits" in found
    assert "strand" not in found
    (train,) = (line.split("\u2502") for line in found.splitlines() if "train" in line)
    assert [cell.strip() for cell in train[2:-1]] == ["2", "2 (100.0%)", "1.5", "0", "1"]
    (test,) = (line.split("\u2502") for line in found.splitlines() if " test " in line)
    assert [cell.strip() for cell in test[2:-1]] == ["1", "0 (0.0%)", "-", "3", "2"]
    assert "a note" in found


def test_a_store_without_samples_is_told_too(tmp_path: Path) -> None:
    with write_store(tmp_path / "store.h5", PROTEIN) as writer:
        writer.add_contigs(["a"], np.zeros(4, np.uint8))
        writer.set_targets([Target("x")])
        writer.set_samples(Views(*(np.zeros(0, int) for _ in range(4))), np.zeros(0))
        writer.finish({"notes": []})
    assert "0 of no residues" in text(Store(tmp_path / "store.h5"))
