"""What a model was trained on, in small: the yardstick for drift, and the map that new sequences are put on.

It stands in the bundle as `training_summary.safetensors`: of a sample of the training data lengths, composition and
where they lie among the model's embeddings; of a sample of the validation data, which the model has not learnt by
heart, where they lie and what the model calls them. The embedding of a sequence is the mean over its positions of what
reaches the model's head. `seqclass.drift` measures all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from seqclass.saved import damaged, write_tensors

FILE = "training_summary.safetensors"

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class TrainingSummary:
    """Samples of the training and of the validation data; N and M of them, at most `seqclass.drift.MOST_SAMPLES`.

    Args:
        lengths: `(N,)`, of training samples, in residues.
        letters: `(N, letters)`: the share of each letter among a training sample's known residues; `(N, 0)` for
            vectors.
        points: `(N, components)`: training samples among the principal components of their embeddings.
        labels: `(N,)`: the column of the first target that a training sample carries, -1 for none.
        mean: `(size,)`, of the training samples' embeddings; `(0,)` where the model has none.
        components: `(components, size)`: their principal components, each of length 1, the widest first.
        explained: `(components,)`: the share of the variance along each.
        held_out_points: `(M, components)`, of validation samples.
        held_out_norms: `(M,)`: lengths of their embeddings.
        held_out_residuals: `(M,)`: how far their embeddings lie from what the components span.
        calls_each: `(M,)`: how many targets are called of each validation sample.
        calls: Their columns, sample by sample; the number of targets stands for a group that was abstained from.
    """

    lengths: Integers
    letters: Floats
    points: Floats
    labels: Integers
    mean: Floats
    components: Floats
    explained: Floats
    held_out_points: Floats
    held_out_norms: Floats
    held_out_residuals: Floats
    calls_each: Integers
    calls: Integers

    def project(self, embeddings: Floats) -> Floats:
        """Where embeddings `(sequences, size)` lie among the training samples' components, `(sequences, components)`.

        Only matrix products, so a sequence lies where it lay when the summary was made.
        """
        return np.asarray((embeddings - self.mean) @ self.components.T, dtype=np.float32)

    def residuals(self, embeddings: Floats) -> Floats:
        """How far embeddings `(sequences, size)` lie from what the components span, `(sequences,)`."""
        centred = embeddings - self.mean
        beyond: Floats = np.linalg.norm(centred - (centred @ self.components.T) @ self.components, axis=1).astype(
            np.float32
        )
        return beyond

    def save(self, folder: Path) -> None:
        """Writes the file into an open folder.

        Raises:
            BundleError: It could not be written (a full disk, say).
        """
        write_tensors(
            folder / FILE, {field.name: torch.from_numpy(getattr(self, field.name)) for field in fields(self)}
        )

    @classmethod
    def load(cls, folder: Path, num_letters: int, num_targets: int) -> TrainingSummary | None:
        """The summary in a bundle's folder; None where there is none.

        Args:
            folder: Of the bundle.
            num_letters: Of its alphabet; 0 for vectors.
            num_targets: Of its model.

        Raises:
            BundleError: The file is damaged, or is another bundle's.
        """
        file = folder / FILE
        if not file.exists():
            return None
        try:
            found = cls(**{name: tensor.numpy() for name, tensor in load_file(file).items()})
        except (OSError, SafetensorError, TypeError) as error:
            raise damaged(file, f"this is no training summary ({error})") from error
        N, M, (size, components) = len(found.lengths), len(found.calls_each), found.components.shape[::-1]
        shapes = {
            "lengths": (N,), "letters": (N, num_letters), "points": (N, components), "labels": (N,), "mean": (size,),
            "explained": (components,), "held_out_points": (M, components), "held_out_norms": (M,),
            "held_out_residuals": (M,), "calls_each": (M,), "calls": (int(found.calls_each.sum()),),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(found, name).shape != shape:
                raise damaged(file, f"'{name}' has the shape {getattr(found, name).shape}, where {shape} is expected")
        if len(found.calls) and not 0 <= found.calls.min() <= found.calls.max() <= num_targets:
            raise damaged(file, f"a call is of none of {num_targets} targets")
        return found
