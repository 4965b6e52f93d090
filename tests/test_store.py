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
from seqclass.data.store import FORMAT, VERSION, Store, Tape, pack_labels, unpack_labels
from seqclass.errors import StoreError, UnknownNameError

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
@given(cuts=st.lists(st.integers(1, 299), max_size=6), seed=st.integers(0, 99))
def test_windows_are_the_same_from_any_stretches_of_the_tape(
    make_store: Callable[..., Store], cuts: list[int], seed: int
) -> None:
    store = make_store(seed=seed % 3)
    begin = store.contig_start[store.views.contig] + np.clip(store.views.start, 0, None)
    order = np.argsort(begin, kind="stable")
    blocks = [block for block in np.split(order, sorted(set(cuts))) if len(block)]
    whole = Tape.cover(store, [np.arange(len(store))])
    generator = np.random.default_rng(seed)
    samples = generator.permutation(len(store))
    flip = generator.integers(0, 2, len(store)).astype(bool)
    expected = whole.windows(samples)
    expected[flip] = reverse_complement(expected[flip])
    assert (Tape.cover(store, blocks).windows(samples, flip) == expected).all()


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
        from seqclass.data.store import write_store
        from seqclass.errors import StoreError
        try:
            with write_store({str(store.path)!r}, DNA, force=True) as writer:
                for _ in range(4):
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
