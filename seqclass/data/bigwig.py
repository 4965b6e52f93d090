"""bigWig, which genome browsers open at any zoom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqclass.errors import MissingPackageError, SeqclassError


@contextmanager
def open_bigwig(path: Path, chromosomes: Mapping[str, int]) -> Iterator[Any]:
    """A new file of pyBigWig, which takes values in the order of the chromosomes, from left to right.

    Args:
        path: What stands there is replaced; see `seqclass.atomic`.
        chromosomes: Length of each chromosome of the genome, in bp.

    Raises:
        MissingPackageError: pyBigWig is not installed.
        SeqclassError: The file cannot be written (a full disk, say).
    """
    try:
        import pyBigWig
    except ImportError:
        raise MissingPackageError("Writing bigWig", "pyBigWig", "tracks") from None
    try:
        file = pyBigWig.open(str(path), "w")
        try:
            file.addHeader(list(chromosomes.items()))
            yield file
        finally:
            file.close()
    except RuntimeError as error:
        raise SeqclassError(
            f"this bigWig file could not be written ({error})", remedy="Make room on the disk", file=path
        ) from error
