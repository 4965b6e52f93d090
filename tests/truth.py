"""Stores whose every sample is known beforehand, as plain Python reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, PROTEIN
from seqclass.data.loader import Batch
from seqclass.data.store import Store, Views
from seqclass.data.writer import VectorForm, write_store
from seqclass.targets import Target

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


@dataclass(frozen=True)
class Truth:
    """A store, what each of its samples reads (letters, or vectors), and its labels: a class and two flags."""

    store: Store
    reads: list[Any]
    classes: NDArray[np.int32]
    flags: NDArray[np.int8]

    def check(self, batch: Batch) -> None:
        """Makes sure that a batch holds what its samples read, and nothing but padding besides."""
        layout, samples = self.store.layout, batch.samples.numpy()
        for row, sample in enumerate(samples.tolist()):
            length = len(self.reads[sample])
            inputs = batch.inputs[row].numpy()
            if self.store.vector_size:
                np.testing.assert_array_equal(inputs[:length], self.reads[sample])
                assert not inputs[length:].any()
            else:
                assert self.store.alphabet.decode(inputs[:length]) == self.reads[sample]
                assert (inputs[length:] == self.store.alphabet.unknown_token).all()
            if batch.mask is None:
                assert length == len(inputs)
            else:
                assert batch.mask[row].tolist() == [True] * length + [False] * (len(inputs) - length)
        assert batch.classes(layout)[:, 0].tolist() == self.classes[samples].tolist()
        present = batch.present(layout).numpy()
        assert (present == (self.flags[samples] >= 0)).all()
        assert (batch.binary(layout).numpy()[present] == self.flags[samples][present]).all()


def write_truth(path: Path, contigs: list[Any], views: Views, seed: int = 0) -> Truth:
    """Writes contigs and views on them, with labels drawn from the seed.

    Args:
        path: Where the store is to stand.
        contigs: DNA or protein letters, all of one kind; or vectors `(length, size)`.
        views: The samples.
        seed: Of the labels.
    """
    generator = np.random.default_rng(seed)
    classes = generator.integers(-1, 3, len(views)).astype(np.int32)
    flags = generator.integers(-1, 2, (len(views), 2)).astype(np.int8)
    vectors = None if isinstance(contigs[0], str) else VectorForm(contigs[0].shape[1], str(contigs[0].dtype))
    alphabet = DNA if vectors is None and set("".join(contigs)) <= set("ACGTN") else PROTEIN
    with write_store(path, alphabet, vectors=vectors, force=True) as writer:
        for number, contig in enumerate(contigs):
            writer.add_contigs([f"c{number}"], contig if vectors else alphabet.encode(contig))
        writer.set_targets([*(Target(name, "class") for name in "xyz"), Target("t"), Target("u")], ["class"], True)
        writer.add_labels(writer.layout.pack(flags, classes[:, None]))
        writer.set_samples(views, np.zeros(len(views), np.uint8))
        writer.finish({})
    reads = [_slice(contigs[view[0]], *view[1:]) for view in zip(*vars(views).values(), strict=True)]
    return Truth(Store(path), reads, classes, flags)


def whole(contigs: list[Any]) -> Views:
    """Each contig a sample."""
    number = len(contigs)
    lengths = np.array([len(contig) for contig in contigs], np.int32)
    return Views(np.arange(number, dtype=np.int32), np.zeros(number, np.int64), lengths, np.ones(number, np.int8))


def proteins(number: int, longest: int = 60, seed: int = 0) -> list[str]:
    """Proteins of 1 residue to `longest`."""
    generator = np.random.default_rng(seed)
    letters = np.array(list(PROTEIN.letters + "X"))
    return ["".join(generator.choice(letters, length)) for length in generator.integers(1, longest + 1, number)]


def _slice(contig: Any, start: int, length: int, strand: int) -> Any:
    if not isinstance(contig, str):
        return contig[start : start + length]
    read = "".join(contig[place] if 0 <= place < len(contig) else "N" for place in range(start, start + length))
    return read.translate(COMPLEMENT)[::-1] if strand < 0 else read
