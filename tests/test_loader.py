import pickle
import textwrap
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyfaidx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from truth import proteins, whole, write_truth

from seqclass.alphabets import DNA, reverse_complement
from seqclass.data.augment import Augmentation
from seqclass.data.batching import padded_length
from seqclass.data.labels import pack_labels
from seqclass.data.loader import Batch, StoreLoader
from seqclass.data.sampling import batch_sizes, cut, shuffled
from seqclass.data.store import Store, Views
from seqclass.data.tape import read_samples
from seqclass.data.writer import write_store
from seqclass.errors import StoreError, TrainingError, UnknownNameError
from seqclass.targets import Target

STREAMED = 2_000  # bytes: far less than the store, so that it is read in blocks


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 5))
def test_batches_share_an_epoch_without_loss_or_repetition(num_samples: int, batch_size: int, ranks: int) -> None:
    if num_samples < ranks:
        with pytest.raises(TrainingError, match=f"{num_samples} samples cannot be shared by {ranks} processes"):
            batch_sizes(num_samples, batch_size, ranks)
        return
    sizes = batch_sizes(num_samples, batch_size, ranks)
    assert sum(sizes) == num_samples
    assert len(sizes) % ranks == 0
    assert min(sizes) > 0
    assert max(sizes) <= batch_size or num_samples < len(sizes) + ranks
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_a_shuffle_is_a_permutation_that_keeps_to_its_groups(
    blocks: list[int], at_once: int, seed: int, epoch: int
) -> None:
    groups = list(shuffled(blocks, at_once, seed=seed, epoch=epoch))
    order = np.concatenate([order for _, order in groups])
    assert sorted(order) == list(range(sum(blocks)))
    block_of = np.repeat(np.arange(len(blocks)), blocks)
    for group, visited in groups:
        assert len(group) <= at_once
        assert set(block_of[visited]) == set(group)
    again = np.concatenate([order for _, order in shuffled(blocks, at_once, seed=seed, epoch=epoch)])
    assert (again == order).all()


def test_another_epoch_or_seed_is_another_order() -> None:
    orders = [next(shuffled([100], 1, seed=seed, epoch=epoch))[1] for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert not (orders[0] == orders[1]).all()
    assert not (orders[0] == orders[2]).all()
    strands = [Augmentation(random_strand=True).draw(1000, 0, epoch).strand for epoch in (0, 1)]
    assert not (strands[0] == strands[1]).all()
    assert 400 < strands[0].sum() < 600


def join(batches: Iterable[Batch]) -> Batch:
    """Batches of one length, one behind the other."""
    inputs, _, packed, samples, _ = zip(*batches, strict=True)
    return Batch(torch.cat(inputs), None, torch.cat(packed), torch.cat(samples), 1.0)


def collect(loader: StoreLoader) -> Batch:
    return join(loader)


@pytest.mark.parametrize("memory", [1 << 30, STREAMED])
@pytest.mark.parametrize("world_size", [1, 3])
def test_an_epoch_holds_each_sample_once_with_its_own_tokens_and_labels(
    make_store: Callable[..., Store], memory: int, world_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqclass.data.loader._BLOCK_SAMPLES", 16)
    store = make_store()
    samples = store.samples("train")
    ranks = [
        StoreLoader(store, samples, 7, shuffle=True, seed=5, rank=rank, world_size=world_size, memory=memory)
        for rank in range(world_size)
    ]
    assert ranks[0].streams == (memory == STREAMED)
    epochs = []
    for _ in range(2):
        parts = [collect(loader) for loader in ranks]
        epoch = join(parts)
        assert sorted(epoch.samples.tolist()) == samples.tolist()
        expected = read_samples(store, epoch.samples.numpy())[0]
        assert (epoch.inputs.numpy() == expected).all()
        assert (epoch.binary(store.layout).numpy() == store.labels(epoch.samples.numpy())).all()
        epochs.append(epoch.samples)
    assert not torch.equal(epochs[0], epochs[1])
    for loader in ranks:
        loader.set_epoch(0)
        assert len(list(loader)) == len(loader)


def test_streaming_in_order_keeps_the_order(make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqclass.data.loader._BLOCK_SAMPLES", 16)
    store = make_store()
    samples = np.random.default_rng(0).permutation(len(store))
    for memory in (1 << 30, STREAMED):
        batch = collect(StoreLoader(store, samples, 11, memory=memory))
        assert batch.samples.tolist() == samples.tolist()
        assert (batch.inputs.numpy() == read_samples(store, samples)[0]).all()


def test_random_strands_flip_about_half_and_follow_from_seed_and_epoch(make_store: Callable[..., Store]) -> None:
    store = make_store()
    samples = np.arange(len(store))
    plain = read_samples(store, samples)[0]

    def flipped(loader: StoreLoader) -> np.ndarray:
        batch = collect(loader)
        return (batch.inputs.numpy() != plain[batch.samples.numpy()]).any(axis=1)

    loader = StoreLoader(store, samples, 32, augmentation=Augmentation(random_strand=True), seed=1)
    first, second = flipped(loader), flipped(loader)
    assert 100 < first.sum() < 200
    assert (first != second).any()
    loader.set_epoch(0)
    assert (flipped(pickle.loads(pickle.dumps(loader))) == first).all()


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 100), st.integers(1, 20))
def test_parts_stay_within_both_limits(sizes: list[int], most: int, most_samples: int) -> None:
    bounds = cut(np.array(sizes, dtype=np.int64), most, most_samples).tolist()
    assert (bounds[0], bounds[-1]) == (0, len(sizes))
    for begin, end in pairwise(bounds):
        assert 0 < end - begin <= most_samples
        assert sum(sizes[begin : end - 1]) <= most
    for size, limits in ((3, (30, 10**6)), (0, (30, 10))):
        assert cut(np.full(1000, size), *limits).tolist() == [*range(0, 1001, 10)]


@pytest.fixture
def make_wide_store(tmp_path: Path) -> Callable[[int, int], Store]:
    """Windows of 1,000 bp at any distance from each other."""

    def make(num_samples: int, stride: int) -> Store:
        size = num_samples * stride + 1000
        with write_store(tmp_path / "wide.h5", DNA) as writer:
            for begin in range(0, size, 1 << 22):
                writer.add_contigs([f"c{begin}"], np.random.default_rng(begin).integers(0, 4, 1 << 22, dtype=np.uint8))
            writer.set_targets([Target("t")])
            writer.add_labels(pack_labels(np.ones((num_samples, 1))))
            contig, start = np.divmod(np.arange(num_samples) * stride, 1 << 22)
            length, strand = np.full(num_samples, 1000, np.int32), np.ones(num_samples, np.int8)
            writer.set_samples(Views(contig.astype(np.int32), start, length, strand), np.zeros(num_samples, np.uint8))
            writer.finish({})
        return Store(tmp_path / "wide.h5")

    return make


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("num_samples", "stride"), [(200, 150_000), (4_000, 7_000), (40_000, 200)])
def test_memory_is_bounded_however_far_apart_the_windows_lie(
    make_wide_store: Callable[[int, int], Store], num_samples: int, stride: int, shuffle: bool
) -> None:
    store = make_wide_store(num_samples, stride)
    tracemalloc.start()
    count = sum(
        len(batch.samples) for batch in StoreLoader(store, np.arange(num_samples), 16, shuffle=shuffle, memory=1 << 20)
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == num_samples
    # The budget, two reads of a mebibyte, and what is known of each sample.
    assert peak < 3.5 * 2**20 + 150 * num_samples


def test_windows_far_apart_are_held_at_once_where_they_fit(make_wide_store: Callable[[int, int], Store]) -> None:
    store = make_wide_store(200, 150_000)
    assert not StoreLoader(store, np.arange(200), 16, shuffle=True, memory=200 * 1001).streams
    assert StoreLoader(store, np.arange(200), 16, shuffle=True, memory=199 * 1001).streams


def test_nothing_to_load_is_an_error(make_store: Callable[..., Store]) -> None:
    with pytest.raises(StoreError, match="no samples to load"):
        StoreLoader(make_store(), np.array([], dtype=np.int64), 8)


def draw_views(data: st.DataObject, contigs: list[Any], beyond: bool) -> Views:
    rows = []
    for _ in range(data.draw(st.integers(1, 40))):
        contig = data.draw(st.integers(0, len(contigs) - 1))
        size = len(contigs[contig])
        if beyond:
            start = data.draw(st.integers(-20, size + 5))
            rows.append((contig, start, data.draw(st.integers(1, 40)), data.draw(st.sampled_from([-1, 1]))))
        else:
            start = data.draw(st.integers(0, size - 1))
            rows.append((contig, start, data.draw(st.integers(1, size - start)), 1))
    return Views(*(np.array(column) for column in zip(*rows, strict=True)))


def letters(alphabet: str) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=60)


CONTIGS = {
    "dna": st.lists(letters("ACGTN"), min_size=1, max_size=5),
    "protein": st.lists(letters("ACDEFGHIKLMNPQRSTVWYX"), min_size=1, max_size=30).map(lambda some: ["MKV", *some]),
    "vectors": st.lists(
        hnp.arrays(np.float16, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-9, 9, width=16)),
        min_size=1,
        max_size=20,
    ),
}


@pytest.mark.parametrize("kind", list(CONTIGS))
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_reads_back_equal_and_once_an_epoch(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    contigs = data.draw(CONTIGS[kind])
    views = whole(contigs) if data.draw(st.booleans()) else draw_views(data, contigs, beyond=kind == "dna")
    truth = write_truth(tmp_path / "any.h5", contigs, views)
    ranks = data.draw(st.integers(1, min(4, len(views))))
    samples = np.array(data.draw(st.permutations(range(len(views)))))
    memory = data.draw(st.sampled_from([1, 100, 1000, 3000, 1 << 30]))
    options = {
        "batch_size": data.draw(st.integers(1, 9)),
        "batch_residues": data.draw(st.none() | st.integers(1, 300)),
        "shuffle": data.draw(st.booleans()),
        "seed": data.draw(st.integers(0, 9)),
    }
    with (
        patch("seqclass.data.loader._BLOCK_SAMPLES", data.draw(st.integers(1, 50))),
        patch("seqclass.data.loader._LARGE_SAMPLE_BYTES", data.draw(st.sampled_from([30, 1 << 16]))),
        patch("seqclass.data.loader._BEGUN_BYTES", data.draw(st.sampled_from([0, 1 << 26]))),
    ):
        loaders = [
            StoreLoader(truth.store, samples, **options, rank=rank, world_size=ranks, memory=memory)
            for rank in range(ranks)
        ]
        for _ in range(2):
            epochs = [list(loader) for loader in loaders]
            visited = [sample for epoch in epochs for batch in epoch for sample in batch.samples.tolist()]
            assert sorted(visited) == list(range(len(views)))
            assert {len(epoch) for epoch in epochs} == {len(loaders[0])}
            for step in zip(*epochs, strict=True):
                assert len({batch.inputs.shape[1] for batch in step}) == 1
                assert sum(batch.weight for batch in step) == pytest.approx(ranks)
                for batch in step:
                    truth.check(batch)
                    width = batch.inputs.shape[1]
                    assert width in {int(views.length[0]), *padded_length(views.length).tolist()}


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_bring_the_same_batches_in_the_same_order(start_method: str, tmp_path: Path) -> None:
    contigs = proteins(200)
    truth = write_truth(tmp_path / "proteins.h5", contigs, whole(contigs))
    options = {"batch_size": 4, "shuffle": True, "memory": 2_000, "rank": 1, "world_size": 2}
    with patch("seqclass.data.loader._BLOCK_SAMPLES", 16):
        alone = StoreLoader(truth.store, np.arange(200), **options)
        helped = StoreLoader(truth.store, np.arange(200), **options, num_workers=2, start_method=start_method)
    assert helped.streams
    for one, other in zip(alone, helped, strict=True):
        truth.check(other)
        assert torch.equal(one.samples, other.samples)
        assert torch.equal(one.inputs, other.inputs)
        assert one.weight == other.weight


@given(letters("ACGTN"), st.integers(0, 3))
def test_the_reverse_complement_of_the_reverse_complement_is_the_sequence(sequence: str, rows: int) -> None:
    tokens = np.tile(DNA.encode(sequence), (rows, 1))
    assert (reverse_complement(reverse_complement(tokens)) == tokens).all()


@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_views_within_contigs_equal_what_pyfaidx_reads_from_the_fasta(data: st.DataObject, tmp_path: Path) -> None:
    contigs = data.draw(CONTIGS["dna"])
    width = data.draw(st.integers(1, 80))
    (tmp_path / "genome.fa.fai").unlink(missing_ok=True)
    lines = [f">c{number}\n" + "\n".join(textwrap.wrap(contig, width)) for number, contig in enumerate(contigs)]
    (tmp_path / "genome.fa").write_text("\n".join(lines) + "\n")
    views = draw_views(data, contigs, beyond=False)
    views = views.flipped(np.array(data.draw(st.lists(st.booleans(), min_size=len(views), max_size=len(views)))))
    truth = write_truth(tmp_path / "any.h5", contigs, views)
    with pyfaidx.Fasta(str(tmp_path / "genome.fa"), rebuild=True) as fasta:
        for batch in StoreLoader(truth.store, np.arange(len(views)), 4, shuffle=True):
            for row, sample in enumerate(batch.samples.tolist()):
                start, length = int(views.start[sample]), int(views.length[sample])
                stretch = fasta[f"c{views.contig[sample]}"][start : start + length]
                expected = str(-stretch if views.strand[sample] < 0 else stretch)
                assert DNA.decode(batch.inputs[row, :length].numpy()) == expected


def test_a_store_that_went_to_another_process_still_knows_its_strands(make_store: Callable[..., Store]) -> None:
    store = pickle.loads(pickle.dumps(make_store()))
    samples = np.arange(len(store))
    loader = StoreLoader(store, samples, 32, augmentation=Augmentation(random_strand=True))
    assert sorted(collect(loader).samples.tolist()) == samples.tolist()


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 8, "batch_residues": 0}])
def test_an_empty_batch_is_refused(make_store: Callable[..., Store], options: dict[str, int]) -> None:
    with pytest.raises(TrainingError, match="a batch of 0 "):
        StoreLoader(make_store(), np.arange(9), **options)


def test_an_unknown_start_method_is_refused(make_store: Callable[..., Store]) -> None:
    with pytest.raises(UnknownNameError, match="no start method 'spoon'"):
        StoreLoader(make_store(), np.arange(9), 4, num_workers=1, start_method="spoon")
