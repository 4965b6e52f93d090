import pickle
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqclass.alphabets import DNA, reverse_complement
from seqclass.data.store import FORMAT, VERSION, Store, Tape, Views, extent, pack_labels, unpack_labels
from seqclass.data.writer import write_store
from seqclass.errors import SeqclassError, StoreError, UnknownNameError
from seqclass.targets import Target

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def spelt_out(store: Store, sample: int) -> str:
    """A sample's letters, cut from its contig by plain string slicing."""
    views = store.views
    contig, start, length = int(views.contig[sample]), int(views.start[sample]), int(views.length[sample])
    with store.open() as file:
        begin = int(store.contig_start[contig])
        text = DNA.decode(file["tokens"][begin : begin + int(store.contig_length[contig])])
    letters = "".join(text[i] if 0 <= i < len(text) else "N" for i in range(start, start + length))
    return letters if views.strand[sample] > 0 else letters[::-1].translate(COMPLEMENT)


def test_a_view_reads_its_contig_and_never_the_neighbour(make_store: Callable[..., Store]) -> None:
    store = make_store()
    outside = (store.views.start < 0) | (store.views.start + 64 > store.contig_length[store.views.contig])
    assert 10 < outside.sum() < len(store)
    for sample in range(len(store)):
        assert DNA.decode(store.tokens(sample)) == spelt_out(store, sample)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99), count=st.integers(1, 60), read_bytes=st.sampled_from([1, 50, 500, 1 << 20]))
def test_windows_do_not_depend_on_which_others_are_held_nor_on_how_they_are_read(
    make_store: Callable[..., Store], seed: int, count: int, read_bytes: int
) -> None:
    store = make_store(seed=seed % 3)
    generator = np.random.default_rng(seed)
    samples = generator.permutation(len(store))[:count]
    flip = generator.integers(0, 2, count).astype(bool)
    expected = [store.tokens(sample) for sample in samples]
    expected = [reverse_complement(row) if other else row for row, other in zip(expected, flip, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqclass.data.store._READ_BYTES", read_bytes)
        tape = Tape(store, samples)
    assert (tape.windows(samples, flip) == np.stack(expected)).all()
    covered = np.zeros(store.num_residues, dtype=bool)
    for begin, end in zip(*extent(store, samples), strict=True):
        covered[begin:end] = True
    assert len(tape.tokens) == covered.sum()


def test_labels_come_back_in_the_order_asked_for(make_store: Callable[..., Store]) -> None:
    store = make_store(num_samples=50, num_targets=11)
    everything = store.labels(np.arange(50))
    samples = np.random.default_rng(1).permutation(50)[:20]
    assert (store.labels(samples) == everything[samples]).all()
    positives, labelled = store.label_counts("train")
    train = everything[store.samples("train")]
    assert (positives == train.sum(axis=0)).all()
    assert labelled == train.any(axis=1).sum()


@given(st.integers(1, 20), st.integers(0, 99))
def test_packing_labels_loses_nothing(num_targets: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 2, (7, num_targets))
    assert (unpack_labels(pack_labels(labels), num_targets) == labels).all()


def test_distinct_keeps_one_strand_of_each_locus(make_store: Callable[..., Store]) -> None:
    store = make_store(num_samples=40)
    store.views.start[20:40] = store.views.start[0:20]
    store.views.contig[20:40] = store.views.contig[0:20]
    assert store.distinct(np.arange(40)).tolist() == list(range(20))
    assert store.distinct(np.array([25, 5, 30])).tolist() == [25, 30]


def test_the_checksum_tells_data_apart_and_ignores_how_it_was_written(make_store: Callable[..., Store]) -> None:
    assert make_store(name="a.h5").checksum() == make_store(name="b.h5").checksum()
    assert make_store(seed=1).checksum() != make_store(seed=2).checksum()


def test_portions_and_chunks_do_not_change_a_store(
    make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = make_store(name="small.h5")
    monkeypatch.setattr("seqclass.data.writer.TOKEN_CHUNK_BYTES", 64)
    monkeypatch.setattr("seqclass.data.writer.LABEL_CHUNK_BYTES", 16)
    large = make_store(name="large.h5")
    with h5py.File(small.path) as one, h5py.File(large.path) as other:
        assert one["tokens"].chunks is one["labels"].chunks is None
        assert (other["tokens"].chunks, other["labels"].chunks) == ((64,), (16, 1))
    assert large.checksum() == small.checksum()
    samples = np.random.default_rng(0).permutation(len(large))
    assert (large.labels(samples) == small.labels(samples)).all()
    assert (Tape(large, samples).windows(samples) == Tape(small, samples).windows(samples)).all()


def test_a_store_in_large_chunks_with_texts_of_any_length_opens(make_store: Callable[..., Store]) -> None:
    store = make_store()
    checksum = store.checksum()
    with h5py.File(store.path, "r+") as file:
        for name, chunks in (("tokens", (1 << 20,)), ("labels", (1 << 18, 1))):
            values = file[name][:]
            del file[name]
            file.create_dataset(name, data=values, chunks=chunks, maxshape=(None, *values.shape[1:]))
        for name in ("name", "group"):
            texts = list(file["targets"][name].asstr()[:])
            del file["targets"][name]
            file["targets"].create_dataset(name, data=texts, dtype=h5py.string_dtype())
    again = Store(store.path)
    assert (again.checksum(), again.targets) == (checksum, store.targets)
    assert (again.labels(np.arange(len(again))) == store.labels(np.arange(len(store)))).all()


@pytest.mark.parametrize(
    ("num_tokens", "num_samples", "num_targets"), [(80_000, 400, 3), (80_000, 400, 251), (10_490_000, 83_000, 251)]
)
def test_a_store_is_hardly_larger_than_what_it_holds(
    tmp_path: Path, num_tokens: int, num_samples: int, num_targets: int
) -> None:
    generator = np.random.default_rng(0)
    packed = generator.integers(0, 256, (num_samples, (num_targets + 7) // 8), dtype=np.uint8)
    zeros = np.zeros(num_samples, np.int32)
    with write_store(tmp_path / "store.h5", DNA) as writer:
        for portion in np.array_split(generator.integers(0, 4, num_tokens, dtype=np.uint8), 7):
            writer.add_contigs(["c"], portion)
        writer.set_targets([Target(f"target{number}") for number in range(num_targets)])
        for portion in np.array_split(packed, 3):
            writer.add_labels(portion)
        writer.set_samples(Views(zeros, zeros.astype(np.int64), zeros + 100, zeros.astype(np.int8)), zeros)
        writer.finish({})
    with h5py.File(tmp_path / "store.h5") as file:
        content = sum(part.nbytes for part in (file["tokens"], file["labels"], file["split"], *file["views"].values()))
    assert (tmp_path / "store.h5").stat().st_size <= 1.1 * content


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        ([], "there are no targets"),
        ([Target("a"), Target("")], "target 2 has the name ''"),
        ([Target("a\tb")], r"target 1 has the name 'a\\tb'"),
        ([Target("a\nb")], "target 1 has the name"),
        ([Target("a\udcff")], "target 1 has the name"),
        ([Target("a", "x\ty")], r"target 1 has the group 'x\\ty'"),
        ([Target("a"), Target("b"), Target("a", "x")], "2 targets are called 'a'"),
    ],
)
def test_targets_that_no_table_could_hold_are_refused(tmp_path: Path, targets: list[Target], problem: str) -> None:
    with pytest.raises(SeqclassError, match=problem), write_store(tmp_path / "store.h5", DNA) as writer:
        writer.set_targets(targets)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["A549|CTCF|None.2", "Rap1 + Reb1", "ARN polym\u00e9rase", "\u03b2-catenin", "$\\frac$"]
)
def test_target_names_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    one = np.zeros(1, np.int8)
    with write_store(tmp_path / "store.h5", DNA) as writer:
        writer.add_contigs(["c"], np.zeros(5, np.uint8))
        writer.set_targets([Target(name, "TF"), Target("x")])
        writer.add_labels(one.astype(np.uint8)[:, None])
        writer.set_samples(Views(one.astype(np.int32), one.astype(np.int64), one.astype(np.int32) + 5, one + 1), one)
        writer.finish({})
    assert Store(tmp_path / "store.h5").targets == [Target(name, "TF"), Target("x")]


def test_a_store_can_be_pickled(make_store: Callable[..., Store]) -> None:
    store = make_store()
    again = pickle.loads(pickle.dumps(store))
    assert (again.tokens(3) == store.tokens(3)).all()


def test_an_unknown_split_is_an_error(make_store: Callable[..., Store]) -> None:
    with pytest.raises(UnknownNameError, match="no split 'dev'"):
        make_store().samples("dev")


def test_what_is_no_store_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(StoreError, match=r"text.h5: this is not a store, or it is truncated"):
        Store(tmp_path / "text.h5")
    with pytest.raises(StoreError, match="not a seqclass store"):
        Store(tmp_path / "other.h5")
    with pytest.raises(StoreError, match="no such file"):
        Store(tmp_path / "none.h5")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_store_is_an_error(make_store: Callable[..., Store], share: float) -> None:
    path = make_store().path
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(StoreError, match="truncated"):
        Store(path)


def test_a_store_of_a_newer_version_asks_for_a_newer_library(make_store: Callable[..., Store]) -> None:
    path = make_store().path
    with h5py.File(path, "r+") as file:
        assert file.attrs["format"] == FORMAT
        file.attrs["version"] = VERSION + 1
    with pytest.raises(StoreError, match=f"version {VERSION + 1}, newer than version {VERSION}.*Install a newer"):
        Store(path)


def test_a_full_disk_leaves_the_old_store(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store()
    before = store.path.read_bytes()
    script = f"""
        import numpy as np
        from seqclass.alphabets import DNA
        from seqclass.data.writer import write_store
        from seqclass.errors import StoreError
        try:
            with write_store({str(store.path)!r}, DNA, force=True) as writer:
                for _ in range(16):
                    writer.add_contigs(["c"], np.zeros(1 << 20, np.uint8))
        except StoreError as error:
            print(error)
    """

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, preexec_fn=limit_file_size
    )
    assert "the store could not be written" in ended.stdout, ended.stderr
    assert store.path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["store.h5"]
