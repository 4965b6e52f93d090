"""Small stores of classes that exclude each other."""

import numpy as np

from seqclass.alphabets import PROTEIN
from seqclass.data.store import Store, Views
from seqclass.data.writer import VectorForm, write_store
from seqclass.targets import Target

SPLITS = ("train", "valid", "test")


def make_classes(path, sequences, classes, split, alphabet=PROTEIN, missing=False):
    """Sequences, or arrays of vectors, each of one class (-1: missing) and in the split named."""
    vectors = None if isinstance(sequences[0], str) else VectorForm(sequences[0].shape[1], "float32")
    count = len(sequences)
    with write_store(path, alphabet, vectors=vectors) as writer:
        for number, sequence in enumerate(sequences):
            writer.add_contigs([f"s{number}"], sequence if vectors else alphabet.encode(sequence))
        writer.set_targets([Target(f"c{number}", "family") for number in range(max(classes) + 1)], ["family"], missing)
        writer.add_labels(writer.layout.pack(classes=np.array(classes, dtype=np.int32)[:, None]))
        views = Views(
            np.arange(count, dtype=np.int32),
            np.zeros(count, dtype=np.int64),
            np.array([len(sequence) for sequence in sequences], dtype=np.int32),
            np.ones(count, dtype=np.int8),
        )
        writer.set_samples(views, np.array([SPLITS.index(name) for name in split], dtype=np.uint8))
        writer.finish({})
    return Store(path)


def random_proteins(random, lengths):
    return ["".join(random.choice(list(PROTEIN.letters), length)) for length in lengths]
