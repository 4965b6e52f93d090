"""The effects of many unremarkable variants, such as those common in a population, to tell what is extreme."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from seqclass.errors import SeqclassError
from seqclass.targets import Target

# 4 bytes a variant and target are held; more variants are thinned evenly, as E-values need no more steps.
_MOST = 100_000


class Background:
    """The products of background variants, target by target.

    Args:
        products: `(targets, variants)` float32, each row rising.
        targets: Names, in order.
        source: Where they come from: the file's name.

    Attributes:
        products: As given.
    """

    def __init__(self, products: NDArray[np.float32], targets: Sequence[str], source: str) -> None:
        self.products, self.targets, self.source = products, list(targets), source

    @classmethod
    def read(cls, path: str | Path, targets: Sequence[Target]) -> Background:
        """The background in a file: an HDF5 result of `seqclass variants`, or what was stored beside another result.

        Raises:
            SeqclassError: The file is missing or neither of both, has no variants, or its targets are others.
        """
        path = Path(path)
        remedy = "Give what 'seqclass variants ... --out background.h5' wrote for background variants with this bundle"
        try:
            with h5py.File(path, "r") as file:
                names = [str(name) for name in file["targets"].asstr()[:]]
                if "product" in file:
                    rows = file["product"]
                    step = -(-len(rows) // _MOST) or 1
                    products = np.sort(np.asarray(rows[::step], dtype=np.float32).T, axis=1)
                    source = path.name
                else:
                    products = np.asarray(file["background"][:], dtype=np.float32)
                    source = str(file["background"].attrs["source"])
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise SeqclassError(
                f"this cannot be read as effects of variants ({error})", remedy=remedy, file=path
            ) from None
        if products.size == 0:
            raise SeqclassError("there is no variant in this background", remedy=remedy, file=path)
        if names != [target.name for target in targets]:
            raise SeqclassError(
                f"the background's {len(names)} targets ({', '.join(names[:3])}, ...) are not the model's "
                f"{len(targets)} ({', '.join(target.name for target in targets[:3])}, ...)",
                remedy=remedy,
                file=path,
            )
        return cls(products, names, source)

    def evalues(self, products: NDArray[np.float32]) -> NDArray[np.float32]:
        """The share of the background with at least such products, for each of `(changes, targets)`."""
        out = np.empty_like(products)
        count = self.products.shape[1]
        for column, background in enumerate(self.products):
            out[:, column] = (count - np.searchsorted(background, products[:, column], side="left")) / count
        return out

    def store(self, file: h5py.File) -> None:
        """Adds itself to an open HDF5 file, as `read` finds it again."""
        file.create_dataset("background", data=self.products, compression="gzip", shuffle=True)
        file["background"].attrs["source"] = self.source
