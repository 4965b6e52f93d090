"""Made `store_version_1.h5`, with the first version of the writer (commit 4a21842). Kept to say what the file holds.

Run there as: python tests/golden/make_store_version_1.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqclass.targets import Target

CONTIGS = {"chrI": "ACGTNACGGT" * 7, "chrII": "TTGACA" * 5}
TARGETS = [Target(f"factor {number}", "TF" if number else "") for number in range(11)]
STARTS, LENGTH = [-4, 0, 3, 50, 62, 10, 10, 25], 12
STRANDS = [1, 1, -1, 1, -1, 1, -1, 1]
SPLIT = [0, 0, 0, 1, 1, 2, 2, 2]


def labels() -> np.ndarray:
    """`(8, 11)` zeros and ones."""
    return np.array([[(sample * 7 + target * 3) % 5 == 0 for target in range(11)] for sample in range(8)]).astype(int)


def main() -> None:
    """Writes the file."""
    # As they were in that commit.
    from seqclass.alphabets import DNA
    from seqclass.data.store import Views, pack_labels
    from seqclass.data.writer import write_store

    with write_store(Path(__file__).with_name("store_version_1.h5"), DNA, force=True) as writer:
        for name, letters in CONTIGS.items():
            writer.add_contigs([name], DNA.encode(letters))
        writer.set_targets(TARGETS)
        writer.add_labels(pack_labels(labels()))
        contig = np.array([0, 0, 0, 0, 0, 1, 1, 1], np.int32)
        length = np.full(len(STARTS), LENGTH, np.int32)
        views = Views(contig, np.array(STARTS, np.int64), length, np.array(STRANDS, np.int8))
        writer.set_samples(views, np.array(SPLIT, np.uint8))
        writer.finish({"source": "by hand", "bin": 4, "notes": ["a note"]})


if __name__ == "__main__":
    main()
