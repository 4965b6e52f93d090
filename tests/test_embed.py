import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from language_model_files import LETTERS, LONGEST, SAVE, SIZE, SMALL, save_bert
from safetensors.torch import load_file, save_file

from seqclass.alphabets import DNA, PROTEIN
from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.data.sources.embeddings import import_embeddings
from seqclass.embed import Backbone, embed, load_backbone
from seqclass.embed.windows import join, windows
from seqclass.errors import BackboneError, OutputExistsError, SeqclassError, SequenceError
from seqclass.models import wrn_transformer_xl
from seqclass.unfinished import Unfinished

transformers = pytest.importorskip("transformers")

MODELS = {"bert": "BertModel", "esm": "EsmModel", "t5": "T5EncoderModel"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    return {family: save(tmp_path_factory.mktemp(family)) for family, save in SAVE.items()}


def plainly(folder: Path, family: str, sequence: str) -> np.ndarray:
    """Vectors of the residues of one sequence, by the checkpoint's own tokenizer and model, alone in its batch."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, MODELS[family]).from_pretrained(folder, dtype=torch.float32).eval()
    inputs = tokenizer(sequence if family == "esm" else " ".join(sequence), return_tensors="pt")
    with torch.inference_mode():
        hidden = model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask).last_hidden_state[0]
    kept = hidden[:-1] if family == "t5" else hidden[1:-1]
    assert len(kept) == len(sequence)
    return kept.numpy()


def write_fasta(path: Path, records: dict[str, str]) -> Path:
    path.write_text("".join(f">{name} text\n{letters}\n" for name, letters in records.items()))
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {data.attrs["original_id"]: data[:] for data in file.values()}


def random_records(count: int, longest: int, seed: int = 0) -> dict[str, str]:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, longest + 1, count)
    return {f"P{i}": "".join(generator.choice(list(LETTERS[:-1]), length)) for i, length in enumerate(lengths)}


@pytest.mark.parametrize("family", list(SAVE))
@pytest.mark.parametrize("per_residue", [False, True])
@pytest.mark.parametrize("batch_residues", [1, 90, 8192])
def test_vectors_are_those_of_the_checkpoint_for_one_sequence_at_a_time(
    checkpoints: dict[str, Path], tmp_path: Path, family: str, per_residue: bool, batch_residues: int
) -> None:
    records = random_records(25, LONGEST) | {"rare": "MKVUZOBXA", "lower": "mkvla", "stop": "MKVLA*", "same": "MKVLA"}
    fasta = write_fasta(tmp_path / "in.fasta", records)
    backbone = load_backbone(checkpoints[family])
    notes = embed(backbone, fasta, tmp_path / "out.h5", per_residue=per_residue, batch_residues=batch_residues)
    found = read(tmp_path / "out.h5")
    assert set(found) == set(records)
    for name, letters in records.items():
        cleaned = letters.upper().rstrip("*").translate(str.maketrans("UZOB", "XXXX"))
        expected = plainly(checkpoints[family], family, cleaned)
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected if per_residue else expected.mean(axis=0), atol=1e-5)
    told = " ".join(notes)
    assert "4 residues (B, O, U, Z) in 1 record mapped to X" in told
    assert "5 lower-case residues in 1 record read as upper case" in told
    assert "29 records hold 27 different sequences, each embedded once" in told


@pytest.mark.parametrize("family", ["bert", "esm"])
def test_long_proteins_are_embedded_in_windows_and_each_residue_where_it_sees_most(
    checkpoints: dict[str, Path], tmp_path: Path, family: str
) -> None:
    records = random_records(1, 1) | {"long": "".join(random_records(9, 30, 4).values())}
    backbone = load_backbone(checkpoints[family])
    assert backbone.longest == LONGEST
    options = {"per_residue": True, "max_length": 20, "overlap": 8}
    notes = embed(backbone, write_fasta(tmp_path / "in.fa", records), tmp_path / "out.h5", **options)
    found, letters = read(tmp_path / "out.h5")["long"], records["long"]
    assert found.shape == (len(letters), SIZE)
    starts = [window.start for window in windows(len(letters), 20, 8)]
    alone = {start: plainly(checkpoints[family], family, letters[start : start + 20]) for start in starts}
    for residue in range(len(letters)):
        margin = {start: min(residue - start, start + 19 - residue) for start in starts}
        # Two windows may see equally far.
        best = [start for start in starts if margin[start] >= max(margin.values()) - 1]
        if residue < 10 or residue >= len(letters) - 10:
            best = [min(starts) if residue < 10 else max(starts)]
        assert any(np.allclose(found[residue], alone[start][residue - start], atol=1e-5) for start in best)
    assert any("1 sequences longer than 20 residues were embedded in windows" in note for note in notes)


@given(st.integers(1, 300), st.integers(1, 60), st.data())
def test_windows_cover_every_residue_once_and_share_what_they_should(
    length: int, longest: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, longest - 1))
    found = windows(length, longest, overlap)
    assert found[0].start == 0
    assert found[-1].end == length
    for window in found:
        assert window.end - window.start == min(longest, length)
        assert window.start <= window.keep_start < window.keep_end <= window.end
    for here, there in pairwise(found):
        assert here.end - there.start >= overlap
        assert here.keep_end == there.keep_start
    vectors = np.arange(length, dtype=np.float32)[:, None]
    assert (join([vectors[w.start : w.end] for w in found], found) == vectors).all()


def test_the_layout_is_biotrainers_and_imports_as_a_store(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    records = random_records(12, 20)
    fasta = write_fasta(tmp_path / "in.fa", records)
    embed(load_backbone(checkpoints["t5"]), fasta, tmp_path / "out.h5", per_residue=True)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file.attrs["family"] == "t5"
        assert len(file.attrs["weights"]) == 64
        assert file.attrs["max_length"] == 4000
    table = "id\tlabel\n" + "".join(f"{name}\t{'ab'[i % 2]}\n" for i, name in enumerate(records))
    (tmp_path / "labels.tsv").write_text(table)
    store = import_embeddings([tmp_path / "out.h5"], tmp_path / "store.h5", labels_table=tmp_path / "labels.tsv")
    assert store.vector_size == SIZE
    lengths = dict(zip(store.names(np.arange(len(store))), store.views.length.tolist(), strict=True))
    assert lengths == {name: len(letters) for name, letters in records.items()}


def test_keys_are_biotrainers_hashes_of_the_letters_as_they_stand_in_the_file(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    records = {"plain": "MKVX", "again": "MKVX", "lower": "mkvx", "rare": "MKVU", "third": "MKVX"}
    embed(load_backbone(checkpoints["bert"]), write_fasta(tmp_path / "in.fa", records), tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        found = {data.attrs["original_id"]: key for key, data in file.items()}
        vectors = {name: file[key][:].tobytes() for name, key in found.items()}
    hashes = {
        name: hashlib.sha256(f"{letters}_{len(letters)}".encode()).hexdigest() for name, letters in records.items()
    }
    assert found == hashes | {"again": hashes["again"] + "-2", "third": hashes["third"] + "-3"}
    # The same to the model, all of them.
    assert len(set(vectors.values())) == 1


def test_a_checkpoint_without_a_length_of_its_own_is_given_windows_of_4000(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    fasta = write_fasta(tmp_path / "in.fa", {"a": "MKVLA" * 801})
    backbone = load_backbone(checkpoints["t5"])
    notes = embed(backbone, fasta, tmp_path / "windows.h5")
    assert any("1 sequences longer than 4,000 residues were embedded in windows" in note for note in notes)
    embed(backbone, fasta, tmp_path / "whole.h5", per_residue=True, max_length=4005)
    np.testing.assert_allclose(
        read(tmp_path / "whole.h5")["a"], plainly(checkpoints["t5"], "t5", "MKVLA" * 801), atol=1e-5
    )


SCRIPT = """
import sys, time
import seqclass.embed.extract as extract
from seqclass.embed import embed, load_backbone
extract._PORTION_RESIDUES = 60
backbone = load_backbone(sys.argv[1])
call = type(backbone).__call__
def slowly(self, sequences):
    time.sleep(0.05)
    return call(self, sequences)
type(backbone).__call__ = slowly
print("ready", flush=True)
embed(backbone, sys.argv[2], sys.argv[3], batch_residues=64)
"""


def test_a_run_that_is_killed_goes_on_and_ends_as_one_that_is_not(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta, out = write_fasta(tmp_path / "in.fa", random_records(60, 30)), tmp_path / "out.h5"
    backbone = load_backbone(checkpoints["bert"])
    monkeypatch.setattr("seqclass.embed.extract._PORTION_RESIDUES", 60)
    embed(backbone, fasta, tmp_path / "whole.h5", batch_residues=64)
    command = [sys.executable, "-c", SCRIPT, str(checkpoints["bert"]), str(fasta), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    folder = tmp_path / ".out.h5.unfinished"
    deadline = time.monotonic() + 30
    while len(list(folder.glob("0*.npy"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    done = len(list(folder.glob("0*.npy")))
    with pytest.raises(SeqclassError, match="begun with another per_residue"):
        embed(backbone, fasta, out, batch_residues=64, per_residue=True)
    calls = []
    monkeypatch.setattr(type(backbone), "__call__", counting(type(backbone).__call__, calls))
    notes = embed(backbone, fasta, out, batch_residues=64)
    assert any(note.startswith(f"{done} of ") and "from a run that did not end" in note for note in notes)
    assert 0 < sum(calls) < 60
    assert not folder.exists()
    whole, again = read(tmp_path / "whole.h5"), read(out)
    assert whole.keys() == again.keys()
    for name, vector in whole.items():
        np.testing.assert_allclose(again[name], vector, atol=1e-6)


def counting(call: Callable[..., list[np.ndarray]], calls: list[int]) -> Callable[..., list[np.ndarray]]:
    def counted(self: Backbone, sequences: list[np.ndarray]) -> list[np.ndarray]:
        calls.append(len(sequences))
        return call(self, sequences)

    return counted


def test_another_run_begins_anew_only_by_force(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    backbone, fasta = load_backbone(checkpoints["bert"]), write_fasta(tmp_path / "in.fa", {"a": "MKV"})
    out, folder = tmp_path / "out.h5", tmp_path / ".out.h5.unfinished"
    Unfinished(out, {"backbone": "another"}).save(0, np.zeros((1, SIZE)))
    with pytest.raises(
        SeqclassError, match=r"out\.h5: an unfinished run for this output was begun with another backbone"
    ):
        embed(backbone, fasta, out)
    embed(backbone, fasta, out, force=True)
    assert not folder.exists()
    np.testing.assert_allclose(read(out)["a"], plainly(checkpoints["bert"], "bert", "MKV").mean(axis=0), atol=1e-5)
    for damaged in ("", "7", "[1]", "{"):
        folder.mkdir()
        (folder / "run.json").write_text(damaged)
        with pytest.raises(SeqclassError, match=r"unfinished: this is not what a run leaves"):
            embed(backbone, fasta, out, force=True)
        shutil.rmtree(folder)


def test_a_portion_that_is_damaged_is_named(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path / "out.h5", {"run": 1})
    unfinished.save(0, np.ones((3, SIZE), np.float16))
    np.testing.assert_array_equal(Unfinished(tmp_path / "out.h5", {"run": 1}).load(0), np.ones((3, SIZE)))
    file = unfinished.folder / "000000.npy"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(SeqclassError, match=r"000000\.npy: what was done so far is damaged"):
        unfinished.load(0)


@pytest.mark.parametrize("kilobytes", [40, 1100])
def test_a_full_disk_is_one_error_and_the_run_goes_on_from_there(
    checkpoints: dict[str, Path], tmp_path: Path, kilobytes: int
) -> None:
    """A limit on the size of files, met by a portion, of 190 KB, or by the output."""
    fasta, out = write_fasta(tmp_path / "in.fa", random_records(1500, 30)), tmp_path / "out.h5"
    script = (
        "import resource, sys\nimport seqclass.embed.extract as extract\nfrom seqclass.cli import main\n"
        "extract._PORTION_RESIDUES = 3000\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes << 10}, {kilobytes << 10}))\nmain(sys.argv[1:])"
    )
    words = ["embed", "--backbone", str(checkpoints["esm"]), str(fasta), str(out), "--per-residue"]
    ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert "this could not be written (File too large). Make room on the disk" in line
    assert not out.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"in.fa", ".out.h5.unfinished"}
    subprocess.run([sys.executable, "-c", script.replace(str(kilobytes << 10), "-1"), *words], check=True)
    assert len(read(out)) == 1500


@pytest.mark.parametrize("alphabet", ["dna", "protein"])
def test_a_bundle_embeds_what_reaches_its_head(tmp_path: Path, alphabet: str) -> None:
    small = {"channels": 8, "widths": (8, 16), "layers": 1, "heads": 2, "head_size": 4, "inner": 16, "hidden": 8}
    model = wrn_transformer_xl(2, alphabet, None, None, strides=(2, 2), expansion=2, pool="centre-max", **small)
    kind = DNA if alphabet == "dna" else PROTEIN
    Bundle(model.eval(), make_targets(), [1, 1]).save(tmp_path / "bundle")
    backbone = load_backbone(tmp_path / "bundle")
    assert (backbone.family, backbone.size, backbone.longest) == ("bundle", 32, None)
    generator = np.random.default_rng(0)
    records = {f"s{i}": kind.decode(generator.integers(0, 4, n).astype(np.uint8)) for i, n in enumerate((9, 30, 17))}
    embed(backbone, write_fasta(tmp_path / "in.fa", records), tmp_path / "out.h5", per_residue=True)
    found = read(tmp_path / "out.h5")
    for name, letters in records.items():
        with torch.inference_mode():
            positions = model.features(torch.from_numpy(kind.encode(letters))[None])[0][0].numpy()
        for residue in range(len(letters)):
            nearest = min(range(len(positions)), key=lambda j: (abs(residue - 4 * j), -j))
            np.testing.assert_allclose(found[name][residue], positions[nearest], atol=1e-5)


def make_targets() -> list:
    from seqclass.targets import Target

    return [Target("a"), Target("b")]


def test_half_precision_is_kept_as_half(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "in.fa", {"a": "MKVLAGW"})
    for dtype in ("float32", "bfloat16"):
        embed(load_backbone(checkpoints["t5"], dtype=dtype), fasta, tmp_path / f"{dtype}.h5")
    full, half = read(tmp_path / "float32.h5")["a"], read(tmp_path / "bfloat16.h5")["a"]
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, full, atol=0.05 * np.abs(full).max())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_bundle_computes_in_half_precision_too(
    tmp_path: Path, dtype: str, make_bundle: Callable[..., Bundle]
) -> None:
    make_bundle().save(tmp_path / "bundle")
    fasta = write_fasta(tmp_path / "in.fa", {"a": "ACGTTGCAAC" * 6, "b": "ACGTTTNNAC" * 4})
    for each in ("float32", dtype):
        embed(load_backbone(tmp_path / "bundle", dtype=each), fasta, tmp_path / f"{each}.h5")
    full, half = read(tmp_path / "float32.h5"), read(tmp_path / f"{dtype}.h5")
    for name, vector in full.items():
        np.testing.assert_allclose(half[name], vector, atol=0.05 * np.abs(vector).max())


def test_vectors_that_overflow_are_refused_and_the_record_named(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta = write_fasta(tmp_path / "in.fa", {"a": "MKV", "b": "MKWVL"})
    backbone = load_backbone(checkpoints["bert"], dtype="bfloat16")
    call = type(backbone).__call__

    def huge(self: Backbone, sequences: list[np.ndarray]) -> list[np.ndarray]:
        return [each * (1e5 if len(each) == 5 else 1) for each in call(self, sequences)]

    monkeypatch.setattr(type(backbone), "__call__", huge)
    with pytest.raises(SeqclassError, match=r"in\.fa, record 'b': .* too large for float16\. Pass --dtype float32\."):
        embed(backbone, fasta, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_too_little_memory_is_one_error(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, fasta = load_backbone(checkpoints["bert"]), write_fasta(tmp_path / "in.fa", {"a": "MKV", "b": "MKVV"})

    def full(self: Backbone, sequences: list[np.ndarray]) -> list[np.ndarray]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(backbone), "__call__", full)
    with pytest.raises(SeqclassError, match=r"too small for 2 sequences of 4\. Pass --batch-residues 1"):
        embed(backbone, fasta, tmp_path / "out.h5")


def without(weight: str, folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors[weight]
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("family", list(SAVE))
def test_a_checkpoint_that_lacks_weights_is_refused(checkpoints: dict[str, Path], tmp_path: Path, family: str) -> None:
    copy = shutil.copytree(checkpoints[family], tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    lacking = next(key for key in weights if key.endswith(("o.weight", "output.dense.weight")))
    without(lacking, copy)
    with pytest.raises(BackboneError, match=f"lacks 1 of the model's arrays of weights, such as {lacking}"):
        load_backbone(copy)


def test_esm_needs_no_predictor_of_contacts(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoints["esm"], tmp_path / "copy")
    for weight in [key for key in load_file(copy / "model.safetensors") if key.startswith("contact_head.")]:
        without(weight, copy)
    tokens = [PROTEIN.encode("MKVLAGW")]
    np.testing.assert_array_equal(load_backbone(copy)(tokens)[0], load_backbone(checkpoints["esm"])(tokens)[0])


@pytest.mark.parametrize("family", list(SAVE))
def test_damaged_checkpoints_are_one_error(checkpoints: dict[str, Path], tmp_path: Path, family: str) -> None:
    chance = random.Random(7)
    refused = []
    for number in range(60):
        copy = shutil.copytree(checkpoints[family], tmp_path / str(number))
        file = chance.choice(sorted(copy.iterdir()))
        data = file.read_bytes()
        file.write_bytes(chance.choice([data[: chance.randrange(len(data))], b"", b"null", b"[]", b"\xff\xfe{", b"7"]))
        try:
            load_backbone(copy)
        except BackboneError as error:
            refused.append((error.file, copy))
    assert len(refused) > 30
    assert all(named == copy for named, copy in refused)


def test_real_checkpoints_layouts_are_read(tmp_path: Path) -> None:
    """ProtT5 comes as a sentencepiece model without tokenizer.json, ProtBert as a masked model without its class."""
    pieces = pytest.importorskip("sentencepiece.sentencepiece_model_pb2").ModelProto()
    for kind, piece in ((3, "<pad>"), (3, "</s>"), (2, "<unk>"), *((1, f"\u2581{letter}") for letter in LETTERS)):
        pieces.pieces.add(piece=piece, type=kind, score=-len(pieces.pieces))
    pieces.trainer_spec.model_type, pieces.trainer_spec.unk_id = 1, 2
    pieces.trainer_spec.pad_id, pieces.trainer_spec.eos_id, pieces.trainer_spec.bos_id = 0, 1, -1
    config = transformers.T5Config(vocab_size=64, d_model=SIZE, d_kv=8, d_ff=24, num_layers=2, num_heads=2)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    (tmp_path / "t5" / "spiece.model").write_bytes(pieces.SerializeToString())
    config = transformers.BertConfig(vocab_size=30, max_position_embeddings=40000, **SMALL)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]))
    (tmp_path / "bert" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    for family, longest in (("t5", None), ("bert", 39998)):
        backbone = load_backbone(tmp_path / family)
        assert backbone.longest == longest
        (found,) = backbone([PROTEIN.encode("MKVLXAGW")])
        np.testing.assert_allclose(found, plainly(tmp_path / family, family, "MKVLXAGW"), atol=1e-5)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"a": "MKV", "b": "XXUX"}, "record 'b': no residue of this sequence is known to the model"),
        ({"a": "MK-V"}, "record 'a'.*position 3"),
        ({"a": "MK4V"}, "record 'a'.*'4' at position 3"),
    ],
)
def test_sequences_that_mean_nothing_to_the_model_are_refused(
    checkpoints: dict[str, Path], tmp_path: Path, records: dict[str, str], message: str
) -> None:
    with pytest.raises(SequenceError, match=message):
        embed(load_backbone(checkpoints["bert"]), write_fasta(tmp_path / "in.fa", records), tmp_path / "out.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["in.fa"]


def test_two_records_of_one_name_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "in.fa").write_text(">a\nMKV\n>b\nMKV\n>a\nMMM\n")
    with pytest.raises(SequenceError, match="line 5: a second record is called 'a'; the first is in line 1"):
        embed(load_backbone(checkpoints["bert"]), tmp_path / "in.fa", tmp_path / "out.h5")


def test_what_is_no_language_model_of_residues_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="no model can be had under this name"):
        load_backbone(tmp_path / "nothing")
    with pytest.raises(BackboneError, match=r"reads .* tokens, .* of them unknown"):
        load_backbone(save_bert(tmp_path / "lower", LETTERS.lower()))
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=9)
    config.save_pretrained(tmp_path / "gpt")
    with pytest.raises(BackboneError, match="of the family 'gpt2', where one of t5, bert, esm is expected"):
        load_backbone(tmp_path / "gpt")
    with pytest.raises(SeqclassError, match="no precision 'float8'"):
        load_backbone(checkpoints["bert"], dtype="float8")


def test_a_name_that_cannot_be_downloaded_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match="a connection to it"):
        load_backbone("somebody/some-model")


def test_numbers_out_of_range_and_output_that_exists_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    backbone, fasta = load_backbone(checkpoints["bert"]), write_fasta(tmp_path / "in.fa", {"a": "MKV"})
    for options, message in (
        ({"max_length": 39}, "windows of 39 residues, where the backbone takes 1 to 38"),
        ({"max_length": 10, "overlap": 10}, "windows that share 10 residues of 10"),
        ({"batch_residues": 0}, "a batch of 0 residues"),
    ):
        with pytest.raises(SeqclassError, match=message):
            embed(backbone, fasta, tmp_path / "out.h5", **options)
    embed(backbone, fasta, tmp_path / "out.h5")
    with pytest.raises(OutputExistsError):
        embed(backbone, fasta, tmp_path / "out.h5")
    with pytest.raises(SeqclassError, match="this is what is to be read"):
        embed(backbone, fasta, fasta, force=True)


def test_the_command_embeds_and_tells_what_it_did(
    checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fasta = write_fasta(tmp_path / "in.fa", {"a": "MKVU", "b": "MKVLA" * 10})
    out = tmp_path / "out.h5"
    main(["embed", "--backbone", str(checkpoints["esm"]), str(fasta), str(out), "--max-length", "30"])
    told = capsys.readouterr().err
    assert "1 residue (U) in 1 record mapped to X" in told
    assert "windows that share at least 7" in told
    assert f"wrote {out}" in told
    assert set(read(out)) == {"a", "b"}


def test_importing_the_library_does_not_import_transformers() -> None:
    code = "import sys, json, seqclass, seqclass.embed; print(json.dumps('transformers' in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) is False
