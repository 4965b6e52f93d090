import pickle
import resource
import runpy
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqclass.alphabets import DNA, PROTEIN, reverse_complement
from seqclass.data.labels import LabelLayout, pack_labels, unpack_labels
from seqclass.data.loader import Batch
from seqclass.data.store import FORMAT, VERSION, Store, Views
from seqclass.data.tape import Tape, extent, read_samples
from seqclass.data.writer import VectorForm, write_store
from seqclass.errors import SeqclassError, StoreError, UnknownNameError
from seqclass.targets import Target

GOLDEN = Path(__file__).with_name("golden")

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
        assert DNA.decode(read_samples(store, [sample])[0][0]) == spelt_out(store, sample)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99), count=st.integers(1, 60), read_bytes=st.sampled_from([1, 50, 500, 1 << 20]))
def test_windows_do_not_depend_on_which_others_are_held_nor_on_how_they_are_read(
    make_store: Callable[..., Store], seed: int, count: int, read_bytes: int
) -> None:
    store = make_store(seed=seed % 3)
    generator = np.random.default_rng(seed)
    samples = generator.permutation(len(store))[:count]
    flip = generator.integers(0, 2, count).astype(bool)
    expected = [read_samples(store, [sample])[0][0] for sample in samples]
    expected = [reverse_complement(row) if other else row for row, other in zip(expected, flip, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqclass.data.tape._READ_BYTES", read_bytes)
        tape = Tape(store, store.views[samples])
    rows, mask = tape.read(store.views[samples].flipped(flip))
    assert mask is None
    assert (rows == np.stack(expected)).all()
    covered = np.zeros(store.num_residues, dtype=bool)
    for begin, end in zip(*extent(store, store.views[samples]), strict=True):
        covered[begin:end] = True
    assert len(tape.residues) == covered.sum()


def test_labels_come_back_in_the_order_asked_for(make_store: Callable[..., Store]) -> None:
    store = make_store(num_samples=50, num_targets=11)
    everything = store.labels(np.arange(50))
    samples = np.random.default_rng(1).permutation(50)[:20]
    assert (store.labels(samples) == everything[samples]).all()
    positives, known, labelled = store.label_counts("train")
    train = everything[store.samples("train")]
    assert (positives == train.sum(axis=0)).all()
    assert labelled == train.any(axis=1).sum()
    assert (known == len(train)).all()


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
    assert (read_samples(large, samples)[0] == read_samples(small, samples)[0]).all()


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
    assert (read_samples(again, [3])[0][0] == read_samples(store, [3])[0][0]).all()


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
        from seqclass.data.writer import VectorForm, write_store
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


def test_a_store_of_the_first_version_opens() -> None:
    old = Store(GOLDEN / "store_version_1.h5")
    made = runpy.run_path(str(GOLDEN / "make_store_version_1.py"))
    assert (old.version, old.alphabet, old.window, old.input_kind) == (1, DNA, made["LENGTH"], "tokens")
    assert list(old.targets) == made["TARGETS"]
    assert (old.labels(np.arange(8)) == made["labels"]()).all()
    assert old.present(np.arange(8)).all()
    assert old.split.tolist() == made["SPLIT"]
    assert old.names(np.arange(8)) == ["chrI"] * 5 + ["chrII"] * 3
    assert (old.groups, old.group_names, list(old.layout.exclusive)) == (None, [], [])
    for sample in range(8):
        assert DNA.decode(read_samples(old, [sample])[0][0]) == spelt_out(old, sample)
    # What the first version's own code found, which reports of that time hold.
    assert old.checksum() == "07ab851129389a25c1b6cb6a82490841872d8e9aedada0d6b3c5102666e2700d"


MIXED = [Target("A", "place"), Target("soluble"), Target("B", "place"), Target("acid", "pI"), Target("base", "pI")]


@given(seed=st.integers(0, 999), count=st.integers(1, 40), missing=st.booleans())
def test_labels_of_every_kind_come_back_as_they_were_packed(seed: int, count: int, missing: bool) -> None:
    generator = np.random.default_rng(seed)
    layout = LabelLayout([*MIXED, *(Target(f"t{i}") for i in range(9))], ("pI", "place"), missing)
    binary = generator.integers(-1 if missing else 0, 2, (count, 10)).astype(np.int8)
    classes = generator.integers(-1, 2, (count, 2)).astype(np.int32)
    rows = layout.pack(binary, classes)
    assert rows.shape == (count, layout.row_bytes)
    dense = np.empty((count, 14), dtype=np.int8)
    dense[:, [1, *range(5, 14)]] = binary
    for column, members in ((0, [3, 4]), (1, [0, 2])):
        one_hot = np.eye(2, dtype=np.int8)[classes[:, column]]
        dense[:, members] = np.where(classes[:, [column]] < 0, -1, one_hot)
    assert (layout.known_labels(rows) == dense).all()
    assert (layout.labels(rows) == (dense == 1)).all()
    assert (layout.present(rows) == (dense >= 0)).all()
    assert (layout.classes(rows) == classes).all()
    positives, known, labelled = layout.count(rows)
    assert positives.tolist() == (dense == 1).sum(axis=0).tolist()
    assert known.tolist() == (dense >= 0).sum(axis=0).tolist()
    assert labelled == (dense == 1).any(axis=1).sum()
    batch = Batch(torch.zeros(count, 1), None, torch.from_numpy(rows), torch.arange(count), 1.0)
    assert (batch.classes(layout).numpy() == classes).all()
    assert (batch.binary(layout).numpy() == (binary == 1)).all()
    present = batch.present(layout)
    assert (present is None) != missing
    assert present is None or (present.numpy() == (binary >= 0)).all()


@pytest.mark.parametrize("kind", ["tokens", "float16", "float32"])
def test_ragged_samples_groups_and_mixed_labels_come_back_from_a_store(tmp_path: Path, kind: str) -> None:
    generator = np.random.default_rng(5)
    lengths = generator.integers(1, 40, 30)
    if kind == "tokens":
        tape, vectors = generator.integers(0, 21, lengths.sum()).astype(np.uint8), None
    else:
        tape, vectors = generator.normal(size=(lengths.sum(), 6)).astype(kind), VectorForm(6, kind)
    binary, classes = generator.integers(-1, 2, (30, 1)), generator.integers(-1, 2, (30, 2))
    path = tmp_path / "ragged.h5"
    with write_store(path, PROTEIN, vectors=vectors) as writer:
        cut = int(lengths[:11].sum())
        writer.add_contigs([f"P{i}" for i in range(11)], tape[:cut], lengths[:11])
        writer.add_contigs([f"P{i}" for i in range(11, 30)], tape[cut:], lengths[11:])
        writer.set_targets(MIXED, exclusive=("place", "pI"), missing=True)
        writer.add_labels(writer.layout.pack(binary, classes))
        views = Views(np.arange(30), np.zeros(30, int), lengths, np.ones(30, int))
        writer.set_samples(views, np.zeros(30), (np.arange(30) // 7, [f"g{i}" for i in range(5)]))
        writer.finish({"notes": []})
    store = Store(path)
    assert store.input_kind == ("tokens" if kind == "tokens" else "vectors")
    samples = generator.permutation(30)
    inputs, mask = read_samples(store, samples)
    assert mask is not None
    assert inputs.dtype == tape.dtype
    begins = np.cumsum(lengths) - lengths
    for row, sample in enumerate(samples):
        length = lengths[sample]
        assert mask[row].tolist() == [True] * length + [False] * (mask.shape[1] - length)
        assert (inputs[row, :length] == tape[begins[sample] : begins[sample] + length]).all()
        assert (inputs[row, length:] == (PROTEIN.unknown_token if kind == "tokens" else 0)).all()
    assert (store.classes(samples) == classes[samples]).all()
    assert (store.present(samples)[:, 1] == (binary[samples, 0] >= 0)).all()
    assert store.groups is not None
    assert [store.group_names[group] for group in store.groups] == [f"g{i // 7}" for i in range(30)]
    assert store.names(samples) == [f"P{sample}" for sample in samples]
