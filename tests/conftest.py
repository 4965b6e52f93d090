"""What several tests share: small stores, small models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from seqclass.alphabets import DNA
from seqclass.bundle import Bundle
from seqclass.data.labels import pack_labels
from seqclass.data.store import Store, Views
from seqclass.data.writer import write_store
from seqclass.models import create_model
from seqclass.targets import Target

# What is slow on a busy machine is not wrong.
settings.register_profile("seqclass", deadline=None)
settings.load_profile("seqclass")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Store]:
    """Writes a store of random contigs, views on either strand and labels."""

    def make(
        num_samples: int = 300,
        window: int = 64,
        contigs: tuple[int, ...] = (700, 900, 800),
        num_targets: int = 3,
        seed: int = 0,
        name: str = "store.h5",
    ) -> Store:
        generator = np.random.default_rng(seed)
        tokens = [generator.integers(0, 5, length).astype(np.uint8) for length in contigs]
        contig = np.sort(generator.integers(0, len(contigs), num_samples)).astype(np.int32)
        start = generator.integers(-window // 2, np.array(contigs)[contig] - window // 2)
        strand = generator.choice([-1, 1], num_samples).astype(np.int8)
        labels = generator.integers(0, 2, (num_samples, num_targets))
        split = np.resize(np.array([0, 0, 0, 1, 2], dtype=np.uint8), num_samples)
        path = tmp_path / name
        with write_store(path, DNA, force=True) as writer:
            for number, part in enumerate(tokens):
                writer.add_contigs([f"c{number}"], part)
            writer.set_targets([Target(f"t{number}") for number in range(num_targets)])
            writer.add_labels(pack_labels(labels[: num_samples // 3]))
            writer.add_labels(pack_labels(labels[num_samples // 3 :]))
            writer.set_samples(Views(contig, start, np.full(num_samples, window, np.int32), strand), split)
            writer.finish({"source": "test", "bin": window // 2, "notes": []})
        return Store(path)

    return make


@pytest.fixture
def make_bundle() -> Callable[..., Bundle]:
    """A small untrained model with batch-norm statistics that are not the initial ones."""

    def make(num_targets: int = 3, **options: object) -> Bundle:
        settings: dict[str, object] = {"length": 64, "channels": 8, "widths": (8, 16), "strides": (2, 2)}
        settings |= {"expansion": 2, "layers": 1, "heads": 2, "head_size": 4, "inner": 16, "hidden": 16, "bin": 16}
        model = create_model("wrn_transformer_xl", num_targets=num_targets, **settings | options)
        with torch.no_grad():
            for _ in range(3):
                model(torch.randint(0, 4, (16, 64)))
        model.eval()
        return Bundle(model, [Target(f"t{i}") for i in range(num_targets)], [1] * num_targets, 64, 32)

    return make
