import hashlib
import multiprocessing
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from truth import Truth, proteins, whole, write_truth

from seqclass.data.loader import StoreLoader
from seqclass.data.sources.deeploc import import_deeploc
from seqclass.data.sources.pfam import import_pfam
from seqclass.data.store import Store, Views
from seqclass.data.tape import Tape
from seqclass.errors import TrainingError

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that others than its owner may enter, as those of pytest may not be."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


def make_truth(folder: Path) -> Truth:
    contigs = proteins(300)
    return write_truth(folder / "proteins.h5", contigs, whole(contigs))


def read_all(truth: Truth, **options: int) -> list[int]:
    """The samples of a shuffled and streamed epoch, each of which is compared with what it should be."""
    visited = []
    with patch("seqclass.data.loader._BLOCK_SAMPLES", 16):
        loader = StoreLoader(truth.store, np.arange(len(truth.store)), 8, shuffle=True, memory=2_000, **options)
    assert loader.streams
    for batch in loader:
        truth.check(batch)
        visited.extend(batch.samples.tolist())
    return visited


def in_forked_process(work: Callable[[], list[int]]) -> list[int]:
    """What a function returns in a process that shares all that is open here."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(work()))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def test_a_store_that_may_not_be_written_streams_and_stays_as_it_was(folder: Path) -> None:
    truth = make_truth(folder)
    before = hashlib.sha256(truth.store.path.read_bytes()).digest()
    truth.store.path.chmod(0o444)
    folder.chmod(0o555)

    def read_without_permission_to_write() -> list[int]:
        # Permissions do not bind the superuser.
        if os.geteuid() == 0:
            os.setuid(NOBODY)
        for forbidden in (truth.store.path, folder / "other"):
            with pytest.raises(PermissionError):
                forbidden.open("ab")
        Store(truth.store.path)
        return read_all(truth)

    assert sorted(in_forked_process(read_without_permission_to_write)) == list(range(300))
    assert hashlib.sha256(truth.store.path.read_bytes()).digest() == before
    assert os.listdir(folder) == ["proteins.h5"]


def test_many_read_a_store_at_once(folder: Path) -> None:
    truth = make_truth(folder)
    context = multiprocessing.get_context("spawn")
    with truth.store.open() as held, context.Pool(2) as pool:
        epochs = [pool.apply_async(read_all, (truth,), {"seed": seed}) for seed in (0, 1)]
        own = read_all(truth, seed=2)
        epochs = [*(epoch.get() for epoch in epochs), own]
        assert held["tokens"].shape == (truth.store.num_residues,)
    assert all(sorted(epoch) == list(range(300)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_loader_in_the_midst_of_an_epoch_survives_a_fork(folder: Path) -> None:
    truth = make_truth(folder)
    with truth.store.open() as held:
        first = held["tokens"][:10].tolist()
        loader = StoreLoader(truth.store, np.arange(300), 8, shuffle=True, memory=2_000)
        batches = iter(loader)
        samples = next(batches).samples.tolist()
        state = loader.state_dict()

        def go_on() -> list[int]:
            other = pickle.loads(pickle.dumps(loader))
            other.load_state_dict(state)
            return [sample for batch in other for sample in batch.samples.tolist()]

        forked = in_forked_process(go_on)
        for batch in batches:
            truth.check(batch)
            samples.extend(batch.samples.tolist())
        assert samples[-len(forked) :] == forked
        assert sorted(samples) == list(range(300))
        assert held["tokens"][:10].tolist() == first
    assert len(read_all(truth, num_workers=2)) == 300


def test_forked_workers_share_what_is_held_in_memory(folder: Path) -> None:
    truth = make_truth(folder)
    parent = os.getpid()

    def read_by_the_parent(store: Store, views: Views) -> Tape:
        assert os.getpid() == parent, "a worker reads the store"
        return Tape(store, views)

    loader = StoreLoader(truth.store, np.arange(300), 8, shuffle=True, num_workers=2, start_method="fork")
    with patch("seqclass.data.loader.Tape", read_by_the_parent):
        for _ in range(2):
            for batch in loader:
                truth.check(batch)


@pytest.mark.parametrize("ragged", [True, False])
def test_fewer_samples_than_processes_is_an_error(folder: Path, ragged: bool) -> None:
    contigs = ["MKV", "MK" if ragged else "MKL", "AAA"]
    truth = write_truth(folder / "few.h5", contigs, whole(contigs))
    with pytest.raises(TrainingError, match=r"3 samples cannot be shared by 4 processes\. Use fewer processes\."):
        StoreLoader(truth.store, np.arange(3), 8, world_size=4)
    with pytest.raises(TrainingError, match="in batches of at least 2"):
        StoreLoader(truth.store, np.arange(3), 8, world_size=2, fewest=2)
    assert len(StoreLoader(truth.store, np.arange(3), 8, world_size=3)) == 1


def padding(store: Store, **options: int) -> float:
    """The share of padding in all tokens of a shuffled epoch of train."""
    real = total = 0
    for batch in StoreLoader(store, store.samples("train"), 128, fewest=2, shuffle=True, **options):
        real += batch.inputs.numel() if batch.mask is None else int(batch.mask.sum())
        total += batch.inputs.numel()
    return 1 - real / total


@pytest.fixture(scope="module")
def real_data() -> Path:
    if "SEQCLASS_REAL_DATA" not in os.environ:
        pytest.skip("SEQCLASS_REAL_DATA, the folder of real data sets, is not set")
    return Path(os.environ["SEQCLASS_REAL_DATA"])


def test_padding_is_below_8_percent_on_pfam(real_data: Path, tmp_path: Path) -> None:
    store = import_pfam(real_data / "pfam" / "random_split", tmp_path / "pfam.h5")
    assert len(store.samples("train")) > 30_000
    assert padding(store) < 0.08
    assert padding(store, world_size=2, rank=1, memory=1 << 20) < 0.08


def test_padding_is_below_8_percent_on_deeploc(real_data: Path, tmp_path: Path) -> None:
    store = import_deeploc(real_data / "deeploc" / "deeploc_data.fasta", tmp_path / "deeploc.h5")
    assert len(store.samples("train")) > 8_000
    assert padding(store) < 0.08
