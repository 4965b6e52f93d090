import os
import struct
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from deepsea_files import as_rows, one_hot, other_strand, random_split
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqclass.data.simulate.matlab_files import write_version_5, write_version_73
from seqclass.data.sources import deepsea, matlab
from seqclass.data.sources.deepsea import deepsea_targets, import_deepsea
from seqclass.data.sources.matlab import find_array, list_arrays
from seqclass.data.store import SPLITS
from seqclass.data.tape import read_samples
from seqclass.errors import OutputExistsError, SourceError, StoreError

WINDOW, TARGETS = 30, 11

in_tmp_path = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def both_strands(rng, pairs, window=WINDOW, targets=TARGETS):
    """Tokens `(samples, window)` with unknown bases and labels `(samples, targets)`; the second half is paired."""
    tokens = rng.integers(0, 5, (pairs, window)).astype(np.uint8)
    labels = (rng.random((pairs, targets)) < 0.3).astype(np.uint8)
    return np.concatenate([tokens, other_strand(tokens)]), np.concatenate([labels, labels])


def save(path, name, tokens, labels, *, version=7.3, chunks=(None, None), onehot=None):
    onehot = one_hot(tokens) if onehot is None else onehot
    if version == 7.3:
        write_version_73(path, [as_rows(f"{name}xdata", onehot), as_rows(f"{name}data", labels)], chunks)
    else:
        scipy.io.savemat(path, {f"{name}xdata": onehot, f"{name}data": labels}, do_compression=version == "5z")
    return path


def all_tokens(store):
    return np.stack([read_samples(store, [sample])[0][0] for sample in range(len(store))])


def all_labels(store):
    return store.labels(np.arange(len(store)))


@pytest.fixture
def rng():
    return np.random.default_rng(20150823)


@pytest.fixture
def small_blocks(monkeypatch):
    """Memory so tight that every file takes many blocks and slabs."""
    monkeypatch.setattr(deepsea, "_ONEHOT_BLOCK_BYTES", 4 * WINDOW * 7)
    monkeypatch.setattr(deepsea, "_LABEL_BLOCK_BYTES", TARGETS * 9)
    monkeypatch.setattr(matlab, "_SLAB_BYTES", 100)


class TestRoundTrip:
    def test_three_files_become_one_store_with_the_windows_labels_and_splits_they_hold(self, tmp_path, rng):
        made = {"train": both_strands(rng, 23), "valid": both_strands(rng, 4), "test": both_strands(rng, 9)}
        store = import_deepsea(
            tmp_path / "out.h5",
            train=save(tmp_path / "train.mat", "train", *made["train"], chunks=((7, 3, 10), (2, 13))),
            valid=save(tmp_path / "valid.mat", "valid", *made["valid"], version="5z"),
            test=save(tmp_path / "test.mat", "test", *made["test"], version=5),
        )
        np.testing.assert_array_equal(all_tokens(store), np.concatenate([tokens for tokens, _ in made.values()]))
        np.testing.assert_array_equal(all_labels(store), np.concatenate([labels for _, labels in made.values()]))
        expected = np.concatenate([[SPLITS.index(name)] * len(tokens) for name, (tokens, _) in made.items()])
        np.testing.assert_array_equal(store.split, expected)
        assert store.alphabet.name == "dna"
        assert store.window == WINDOW

    def test_the_second_half_is_stored_once_as_the_other_strand(self, tmp_path, rng):
        tokens, labels = both_strands(rng, 12)
        store = import_deepsea(tmp_path / "out.h5", train=save(tmp_path / "train.mat", "train", tokens, labels))
        assert store.num_residues == 12 * WINDOW
        assert store.contig_names == [f"train:{sample}" for sample in range(12)]
        np.testing.assert_array_equal(store.views.contig, np.tile(np.arange(12), 2))
        np.testing.assert_array_equal(store.views.strand, np.repeat([1, -1], 12))
        assert store.provenance["reverse_complements_verified"] == {"train": True}

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize(
        "chunks",
        [
            (None, None),
            ((1, 1, 41), (1, 41)),
            ((30, 4, 1), (11, 1)),
            ((30, 4, 41), (11, 41)),
            ((1, 4, 6), (3, 5)),
            ((9, 3, 7), (4, 8)),
            ((7, 2, 29), (11, 30)),
        ],
    )
    @pytest.mark.parametrize("broken", [False, True])
    def test_neither_chunking_nor_block_size_changes_the_store(self, tmp_path, rng, chunks, broken):
        tokens, labels = both_strands(rng, 21)
        if broken:
            tokens[-3, 5] = (tokens[-3, 5] + 1) % 5
        path = save(tmp_path / "valid.mat", "valid", tokens, labels, chunks=chunks)
        store = import_deepsea(tmp_path / "out.h5", valid=path)
        np.testing.assert_array_equal(all_tokens(store), tokens)
        np.testing.assert_array_equal(all_labels(store), labels)
        assert store.num_residues == WINDOW * (42 if broken else 21)

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("version", [5, "5z"])
    def test_version_5_gives_the_same_store_as_version_73(self, tmp_path, rng, version):
        made = both_strands(rng, 21)
        first = import_deepsea(tmp_path / "a.h5", test=save(tmp_path / "a.mat", "test", *made))
        second = import_deepsea(tmp_path / "b.h5", test=save(tmp_path / "b.mat", "test", *made, version=version))
        assert first.checksum() == second.checksum()

    @in_tmp_path
    @given(data=st.data())
    def test_any_split_is_read_back_as_it_was(self, tmp_path, data):
        num_samples, window, targets = (data.draw(st.integers(1, most)) for most in (9, 12, 10))
        tokens = data.draw(hnp.arrays(np.uint8, (num_samples, window), elements=st.integers(0, 4)))
        labels = data.draw(hnp.arrays(np.uint8, (num_samples, targets), elements=st.integers(0, 1)))
        if data.draw(st.booleans()):
            tokens, labels = np.concatenate([tokens, other_strand(tokens)]), np.concatenate([labels, labels])
        path = save(tmp_path / "test.mat", "test", tokens, labels, version=data.draw(st.sampled_from([5, "5z", 7.3])))
        store = import_deepsea(tmp_path / "out.h5", test=path, force=True)
        np.testing.assert_array_equal(all_tokens(store), tokens)
        np.testing.assert_array_equal(all_labels(store), labels)

    @pytest.mark.parametrize("dtype", ["bool", "i1", "i4", "f4", "f8"])
    @pytest.mark.parametrize("version", [5, 7.3])
    def test_the_numeric_type_does_not_matter(self, tmp_path, rng, dtype, version):
        tokens, labels = both_strands(rng, 5)
        path = tmp_path / "valid.mat"
        if version == 7.3:
            with h5py.File(path, "w") as file:
                file["validxdata"] = one_hot(tokens).T.astype(dtype)
                file["validdata"] = labels.T.astype(dtype)
        else:
            save(path, "valid", tokens, labels.astype(dtype), version=5, onehot=one_hot(tokens).astype(dtype))
        store = import_deepsea(tmp_path / "out.h5", valid=path)
        np.testing.assert_array_equal(all_tokens(store), tokens)
        np.testing.assert_array_equal(all_labels(store), labels)

    def test_the_targets_of_deepsea_are_named_and_others_numbered(self, tmp_path, rng):
        named = save(tmp_path / "a.mat", "valid", *both_strands(rng, 2, targets=919))
        assert import_deepsea(tmp_path / "a.h5", valid=named).targets == deepsea_targets()
        store = import_deepsea(tmp_path / "b.h5", valid=save(tmp_path / "b.mat", "valid", *both_strands(rng, 2)))
        assert [target.name for target in store.targets] == [f"target_{column}" for column in range(TARGETS)]
        assert "11 columns where DeepSEA has 919" in store.provenance["notes"][0]

    def test_the_provenance_says_what_was_read(self, tmp_path, rng):
        path = save(tmp_path / "test.mat", "test", *both_strands(rng, 3))
        provenance = import_deepsea(tmp_path / "out.h5", test=path).provenance
        assert provenance["source"] == "deepsea"
        assert provenance["files"] == {"test": {"path": str(path), "bytes": path.stat().st_size}}
        assert provenance["samples"] == {"test": 6}
        assert (provenance["window"], provenance["bin"]) == (WINDOW, 200)


class TestUnpairedHalves:
    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("pair", [0, 8, 17])
    def test_one_differing_base_keeps_the_split_forward_only_and_is_named(self, tmp_path, rng, pair):
        tokens, labels = both_strands(rng, 18)
        tokens[18 + pair, 4] = (tokens[18 + pair, 4] + 1) % 5
        store = import_deepsea(tmp_path / "out.h5", train=save(tmp_path / "train.mat", "train", tokens, labels))
        np.testing.assert_array_equal(all_tokens(store), tokens)
        np.testing.assert_array_equal(all_labels(store), labels)
        assert (store.views.strand == 1).all()
        assert store.contig_names[-1] == "train:35"
        assert f"sample {18 + pair} is not the reverse complement of sample {pair} " in store.provenance["notes"][-1]

    def test_one_differing_label_keeps_the_split_forward_only_and_is_named(self, tmp_path, rng):
        tokens, labels = both_strands(rng, 6)
        labels[8, 3] ^= 1
        store = import_deepsea(tmp_path / "out.h5", train=save(tmp_path / "train.mat", "train", tokens, labels))
        np.testing.assert_array_equal(all_tokens(store), tokens)
        np.testing.assert_array_equal(all_labels(store), labels)
        assert "sample 8 does not carry the labels of sample 2 " in store.provenance["notes"][-1]

    def test_an_odd_number_of_samples_is_stored_forward_only(self, tmp_path, rng):
        tokens, labels = (array[:-1] for array in both_strands(rng, 6))
        store = import_deepsea(tmp_path / "out.h5", train=save(tmp_path / "train.mat", "train", tokens, labels))
        np.testing.assert_array_equal(all_tokens(store), tokens)
        assert store.provenance["reverse_complements_verified"] == {"train": False}
        assert "odd number of samples" in store.provenance["notes"][-1]

    def test_one_unpaired_split_leaves_the_others_paired(self, tmp_path, rng):
        train, valid, test = both_strands(rng, 5), both_strands(rng, 4), both_strands(rng, 3)
        valid[0][0, 0] = (valid[0][0, 0] + 1) % 5
        store = import_deepsea(
            tmp_path / "out.h5",
            train=save(tmp_path / "train.mat", "train", *train),
            valid=save(tmp_path / "valid.mat", "valid", *valid),
            test=save(tmp_path / "test.mat", "test", *test),
        )
        assert store.provenance["reverse_complements_verified"] == {"train": True, "valid": False, "test": True}
        np.testing.assert_array_equal(all_tokens(store), np.concatenate([train[0], valid[0], test[0]]))


class TestBadInput:
    def check_refused(self, out, *parts, **files):
        with pytest.raises(SourceError) as caught:
            import_deepsea(out, **files)
        message = str(caught.value)
        for part in parts:
            assert part in message
        assert list(out.parent.glob(f"*{out.name}*")) == []

    @pytest.mark.parametrize("version", [5, "5z", 7.3])
    @pytest.mark.parametrize(
        ("column", "found"),
        [([0, 1, 1, 0], "0, 1, 1, 0"), ([0, 2, 0, 0], "0, 2, 0, 0"), ([255, 1, 0, 1], "255, 1, 0, 1")],
    )
    def test_a_column_that_is_not_one_hot(self, tmp_path, rng, version, column, found):
        tokens, labels = both_strands(rng, 6)
        onehot = one_hot(tokens)
        onehot[7, :, 21] = column
        path = save(tmp_path / "train.mat", "train", tokens, labels, version=version, onehot=onehot)
        self.check_refused(tmp_path / "out.h5", str(path), "trainxdata, sample 7 ", "position 21 ", found, train=path)

    @pytest.mark.usefixtures("small_blocks")
    def test_half_a_base_in_a_later_block(self, tmp_path, rng):
        tokens, labels = both_strands(rng, 21)
        onehot = one_hot(tokens).astype("f8")
        onehot[17, :, 3] = 0.5, 0, 0, 0
        path = save(tmp_path / "train.mat", "train", tokens, labels, version=5, onehot=onehot)
        self.check_refused(tmp_path / "out.h5", "sample 17 ", "position 3 ", "0.5, 0, 0, 0 for A, G, C, T", train=path)

    @pytest.mark.parametrize("value", [2, -1, 0.5, np.nan])
    def test_a_label_that_is_neither_0_nor_1(self, tmp_path, rng, value):
        tokens, labels = both_strands(rng, 6)
        labels = labels.astype("f8")
        labels[9, 4] = value
        path = save(tmp_path / "test.mat", "test", tokens, labels, version=5)
        self.check_refused(
            tmp_path / "out.h5",
            str(path),
            "testdata, sample 9 ",
            "target 4 (target_4)",
            f"labelled {value:g}",
            test=path,
        )

    def test_a_missing_array_lists_those_that_are_there(self, tmp_path, rng):
        path = save(tmp_path / "valid.mat", "valid", *both_strands(rng, 3))
        self.check_refused(
            tmp_path / "out.h5",
            "no numeric array 'trainxdata'",
            "validxdata (6, 4, 30)",
            "validdata (6, 11)",
            train=path,
        )

    @pytest.mark.parametrize("version", [5, 7.3])
    def test_windows_in_another_order_of_axes(self, tmp_path, rng, version):
        tokens, labels = both_strands(rng, 3)
        path = tmp_path / "train.mat"
        save(path, "train", tokens, labels, version=version, onehot=one_hot(tokens).transpose(0, 2, 1))
        self.check_refused(
            tmp_path / "out.h5", "trainxdata", "(6, 30, 4)", "(samples, 4, window) is expected", train=path
        )

    def test_labels_of_another_number_of_samples(self, tmp_path, rng):
        tokens, labels = both_strands(rng, 3)
        path = save(tmp_path / "train.mat", "train", tokens, labels[:5])
        self.check_refused(tmp_path / "out.h5", "trainxdata holds 6 samples, traindata 5", train=path)

    @pytest.mark.parametrize(
        ("window", "targets", "said"), [(29, TARGETS, "window of 29"), (WINDOW, 7, "targets of 7")]
    )
    def test_files_that_do_not_fit_together(self, tmp_path, rng, window, targets, said):
        train = save(tmp_path / "train.mat", "train", *both_strands(rng, 3))
        test = save(tmp_path / "test.mat", "test", *both_strands(rng, 3, window, targets))
        self.check_refused(tmp_path / "out.h5", str(test), said, str(train), train=train, test=test)

    def test_no_samples(self, tmp_path):
        path = tmp_path / "train.mat"
        with h5py.File(path, "w") as file:
            file["trainxdata"] = np.zeros((WINDOW, 4, 0), np.uint8)
            file["traindata"] = np.zeros((TARGETS, 0), np.uint8)
        self.check_refused(tmp_path / "out.h5", "(0, 4, 30)", train=path)

    def test_no_file_at_all(self, tmp_path):
        self.check_refused(tmp_path / "out.h5", "at least one of train, valid and test")

    @pytest.mark.parametrize("content", [b"", b"short", b">chr1\nACGT\n" * 40])
    def test_a_file_that_is_not_matlab(self, tmp_path, content):
        path = tmp_path / "train.mat"
        path.write_bytes(content)
        self.check_refused(tmp_path / "out.h5", str(path), "not a MATLAB file of version 5 or 7.3", train=path)

    def test_a_missing_file_and_a_folder(self, tmp_path):
        self.check_refused(tmp_path / "out.h5", "no such file", train=tmp_path / "train.mat")
        self.check_refused(tmp_path / "out.h5", "this is a folder", train=tmp_path)

    @pytest.mark.parametrize("version", [5, "5z", 7.3])
    def test_every_truncation_is_refused(self, tmp_path, rng, version):
        path = save(tmp_path / "train.mat", "train", *both_strands(rng, 3), version=version)
        whole = path.read_bytes()
        for size in range(0, len(whole) - 8, len(whole) // 23):
            path.write_bytes(whole[:size])
            self.check_refused(tmp_path / "out.h5", str(path), train=path)

    @in_tmp_path
    @given(place=st.integers(0, 10**6), value=st.integers(1, 255), version=st.sampled_from([5, "5z"]))
    def test_a_changed_byte_is_refused_or_read_but_never_crashes(self, tmp_path, place, value, version):
        path = save(tmp_path / "train.mat", "train", *both_strands(np.random.default_rng(0), 3), version=version)
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= value
        path.write_bytes(content)
        try:
            blamed = import_deepsea(tmp_path / "out.h5", train=path, force=True).provenance["files"]["train"]["path"]
        except SourceError as error:
            blamed = error.file
        assert Path(blamed) == path

    def test_a_damaged_chunk_is_refused(self, tmp_path, rng):
        path = save(tmp_path / "train.mat", "train", *both_strands(rng, 8), chunks=((WINDOW, 4, 16), (TARGETS, 16)))
        with h5py.File(path) as file:
            _, chunk = file["trainxdata"].id.read_direct_chunk((0, 0, 0))
        content = bytearray(path.read_bytes())
        place = content.index(chunk)
        content[place + 20 : place + 60] = b"\xff" * 40
        path.write_bytes(content)
        self.check_refused(tmp_path / "out.h5", str(path), "trainxdata", "damaged", train=path)

    def test_chunks_too_large_for_bounded_memory(self, tmp_path, rng, monkeypatch):
        monkeypatch.setattr(deepsea, "_ONEHOT_BLOCK_BYTES", 1000)
        monkeypatch.setattr(matlab, "_LONGEST_CHUNK_BYTES", 1000)
        path = save(tmp_path / "train.mat", "train", *both_strands(rng, 8), chunks=((WINDOW, 4, 16), None))
        self.check_refused(tmp_path / "out.h5", "(30, 4, 16)", "h5repack", train=path)

    def test_what_stands_at_the_output_is_kept_without_force_and_upon_failure(self, tmp_path, rng):
        tokens, labels = both_strands(rng, 3)
        good = save(tmp_path / "train.mat", "train", tokens, labels)
        out = tmp_path / "out.h5"
        checksum = import_deepsea(out, train=good).checksum()
        with pytest.raises(OutputExistsError):
            import_deepsea(out, train=good)
        labels[0, 0] = 7
        bad = save(tmp_path / "bad.mat", "train", tokens, labels)
        with pytest.raises(SourceError):
            import_deepsea(out, train=bad, force=True)
        assert import_deepsea(tmp_path / "again.h5", train=good).checksum() == checksum
        assert sorted(path.name for path in tmp_path.iterdir()) == ["again.h5", "bad.mat", "out.h5", "train.mat"]

    def test_a_scratch_file_that_finds_no_room(self, tmp_path, rng, monkeypatch):
        def full(*args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(matlab.tempfile, "TemporaryFile", full)
        path = save(tmp_path / "test.mat", "test", *both_strands(rng, 3), version="5z")
        with pytest.raises(StoreError, match="No space left"):
            import_deepsea(tmp_path / "out.h5", test=path)
        assert [path.name for path in tmp_path.iterdir()] == ["test.mat"]


class TestMatlab:
    def whole(self, array, scratch):
        with array.open(scratch, 1 << 20) as slices:
            return slices.read(slice(0, array.shape[0]), slice(0, array.shape[-1]))

    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
    def test_version_5_agrees_with_scipy_for_every_numeric_type(self, tmp_path, rng, compressed, dtype):
        path = tmp_path / "file.mat"
        made = {
            "cube": (rng.random((5, 4, 7)) * 100).astype(dtype),
            "row": np.arange(1, 4, dtype=dtype)[None],
            "one": np.array([[5]], dtype),
            "a_name_of_a_single_variable_so_long": np.ones((2, 3), dtype),
        }
        others = {"text": "letters", "cell": np.array([1, "a"], object), "z": np.array([[1j]]), "st": {"f": 1.0}}
        scipy.io.savemat(path, made | others, do_compression=compressed)
        arrays = {array.name: array for array in list_arrays(path)}
        assert arrays.keys() == made.keys()
        loaded = scipy.io.loadmat(path)
        for name, array in arrays.items():
            assert array.matlab_shape == loaded[name].shape
            np.testing.assert_array_equal(self.whole(array, tmp_path), loaded[name].T)

    def test_big_endian_version_5_agrees_with_scipy(self, tmp_path):
        values = np.arange(24, dtype=">f8").reshape(2, 3, 4)
        extents = struct.pack(">3i", *values.shape) + b"\0" * 4
        body = struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">II", 5, 12) + extents
        body += struct.pack(">HH", 1, 1) + b"a\0\0\0" + struct.pack(">II", 9, 192) + values.tobytes(order="F")
        path = tmp_path / "big.mat"
        path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(body)) + body)
        loaded = scipy.io.loadmat(path)["a"]
        np.testing.assert_array_equal(loaded, values)
        np.testing.assert_array_equal(self.whole(find_array(path, "a"), tmp_path), loaded.T)

    @in_tmp_path
    @given(data=st.data())
    def test_any_slice_of_either_kind_is_that_slice_of_the_array(self, tmp_path, data):
        shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 40)))
        values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        chunks = tuple(data.draw(st.integers(1, extent)) for extent in shape)
        memory = data.draw(st.integers(1, 2000))
        write_version_73(tmp_path / "a.mat", [as_rows("a", values.T)], [chunks])
        write_version_5(tmp_path / "b.mat", [as_rows("a", values.T)], compressed=True)
        write_version_5(tmp_path / "c.mat", [as_rows("a", values.T)], compressed=False)
        rows, columns = (
            slice(*sorted(data.draw(st.tuples(st.integers(0, extent), st.integers(0, extent)), label="slice")))
            for extent in (shape[0], shape[-1])
        )
        for name in ("a.mat", "b.mat", "c.mat"):
            with find_array(tmp_path / name, "a").open(tmp_path, memory) as slices:
                np.testing.assert_array_equal(slices.read(rows, columns), values[rows, :, columns])

    def test_each_chunk_is_inflated_a_bounded_number_of_times(self, tmp_path, rng, monkeypatch):
        """Chunks are as long as half the array; blocks are a tenth of it."""
        tokens, labels = both_strands(rng, 200)
        path = save(tmp_path / "train.mat", "train", tokens, labels, chunks=((1, 4, 200), (1, 200)))
        monkeypatch.setattr(deepsea, "_ONEHOT_BLOCK_BYTES", 4 * WINDOW * 40)
        read = Counter()
        original = matlab._Hdf5Slices.get

        def counted(self, selection):
            values = original(self, selection)
            read[self.dataset.name] += values.size
            return values

        monkeypatch.setattr(matlab._Hdf5Slices, "get", counted)
        import_deepsea(tmp_path / "out.h5", train=path)
        # The labels' second half is read twice: to be compared with the first, and to be stored behind it.
        assert read == {"/trainxdata": 400 * 4 * WINDOW, "/traindata": 600 * TARGETS}

    def test_the_generator_of_these_tests_writes_what_scipy_reads(self, tmp_path):
        arrays = random_split("test", 10, WINDOW, TARGETS, unknown=0.1)
        for compressed in (False, True):
            write_version_5(tmp_path / "test.mat", arrays, compressed=compressed)
            loaded = scipy.io.loadmat(tmp_path / "test.mat")
            for array in arrays:
                expected = np.stack([array.row(index) for index in range(array.shape[0])])
                np.testing.assert_array_equal(loaded[array.name].T, expected)


class TestTargets:
    def test_there_are_919_targets_with_unique_names_in_their_groups(self):
        targets = deepsea_targets()
        assert len({target.name for target in targets}) == 919
        groups = [target.group for target in targets]
        assert groups == ["DNase"] * 125 + ["TF"] * 690 + ["histone"] * 104
        assert all(" " not in target.name and target.name.isascii() for target in targets)

    def test_repeated_experiments_are_numbered_in_column_order(self):
        names = [target.name for target in deepsea_targets()]
        repeats = [name for name in names if name.startswith("K562|CTCF|None")]
        assert repeats == ["K562|CTCF|None"] + [f"K562|CTCF|None.{number}" for number in range(2, len(repeats) + 1)]
        assert len(repeats) > 1

    def test_the_table_agrees_with_the_original_names(self):
        folder = os.environ.get("SEQCLASS_REAL_DATA")
        if not folder or not (Path(folder) / "deepsea/predictor.names").exists():
            pytest.skip("SEQCLASS_REAL_DATA does not hold deepsea/predictor.names")
        original = (Path(folder) / "deepsea/predictor.names").read_text(encoding="utf-8").splitlines()
        original = [name.replace("\xa0|", "|") for name in original if name]
        seen = Counter()
        for name, target in zip(original, deepsea_targets(), strict=True):
            seen[name] += 1
            assert target.name == (name if seen[name] == 1 else f"{name}.{seen[name]}")
