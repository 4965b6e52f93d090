"""The command line: the whole job on small data, and one clear line for every bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
import torch
from deepsea_files import random_split
from matplotlib.image import imread
from rich.console import Console

from seqclass import __version__
from seqclass import progress as progress_module
from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.data.simulate.matlab_files import RowArray, write_version_5, write_version_73
from seqclass.data.sources.peaks import import_peaks
from seqclass.data.store import Store
from seqclass.errors import SeqclassError, SequenceError
from seqclass.models import create_model
from seqclass.predict import LENGTH_POLICIES
from seqclass.terminal import plain_errors

HEAVY = ("torch", "pytorch_lightning", "transformers", "captum", "matplotlib")
WINDOW, BIN = 64, 32


class Ended(NamedTuple):
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `seqclass` in this process with the words of a line."""

    def run(line: str) -> Ended:
        code = 0
        try:
            main(line.split())
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bundle: Callable[..., Bundle]) -> Path:
    """A folder to work in, with a genome, peaks, their store, a bundle for its targets and sequences to score."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)

    def letters(length: int) -> str:
        return "".join(generator.choice(list("ACGT"), length))

    write("genome.fa", *(f">chr{i}\n{letters(2000)}" for i in (1, 2, 3)))
    Path("peaks").mkdir()
    for target in ("Reb1", "Rap1", "Gcn4"):
        starts = generator.integers(0, 1900, 40)
        write(f"peaks/{target}.bed", *(f"chr{1 + i % 3}\t{start}\t{start + 50}" for i, start in enumerate(starts)))
    splits = {"valid_chroms": ["chr2"], "test_chroms": ["chr3"]}
    store = import_peaks("store.h5", genome="genome.fa", peaks="peaks", window=WINDOW, bin=BIN, **splits)
    replace(make_bundle(), targets=store.targets).save("bundle")
    write("good.fa", *(f">s{i}\n{letters(WINDOW)}" for i in range(3)))
    write("long.fa", ">s0", letters(WINDOW), ">s1", letters(WINDOW + 5))
    write("foreign.fa", ">s0", letters(WINDOW), ">s1", "ACGJ" * (WINDOW // 4))
    write("empty.fa")
    return tmp_path


def write(path: str, *lines: str) -> None:
    Path(path).write_text("".join(line + "\n" for line in lines))


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def seqclass(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from seqclass.cli import main; main()", *words],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


# What users do


def test_the_whole_job_from_raw_data_to_pictures(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bundle: Callable[..., Bundle]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("data simulate peaks --out raw").code == 0
    ended = run(
        "data import peaks --genome raw/genome.fa --peaks raw/peaks --out sim.h5 --window 64 --bin 32 "
        "--valid-chroms chr5 --test-chroms chr6 --keep ratio:1"
    )
    assert (ended.code, ended.out) == (0, "")
    store = Store("sim.h5")
    assert f"wrote sim.h5: {len(store):,} samples, 5 targets" in ended.err

    ended = run("data info sim.h5")
    assert (ended.code, ended.err) == (0, "")
    assert store.checksum() in ended.out
    assert all(target.name in ended.out for target in store.targets)

    replace(make_bundle(num_targets=5), targets=store.targets).save("bundle")
    ended = run("evaluate bundle sim.h5 --split test --out report --no-baselines")
    assert ended.code == 0
    assert "AUROC" in ended.out
    assert {path.name for path in Path("report").iterdir()} >= {"metrics.json", "per_target.tsv", "curves.png"}

    sequences = ["ACGTTGCA" * 8, "ACGTNGCA" * 7, "ACCTTGCA" * 20]
    write("q.fa", *(f">{name}\n{letters}" for name, letters in zip(("a", "b/c", "b:c"), sequences, strict=True)))
    assert run("predict bundle q.fa --out scores.tsv --length-policy centre").code == 0
    with open("scores.tsv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["id"] for row in rows] == ["a", "b/c", "b:c"]
    assert all(0 <= float(row[target.name]) <= 1 for row in rows for target in store.targets)

    ended = run("explain bundle q.fa --target gc --method hirescam --out pictures --length-policy centre")
    assert ended.code == 0
    assert "3 pictures" in ended.err
    with open("pictures/saliency.tsv", encoding="utf-8") as file:
        saliency = list(csv.DictReader(file, delimiter="\t"))
    assert Counter(row["id"] for row in saliency) == {"a": 64, "b/c": 64, "b:c": 64}
    assert "".join(row["letter"] for row in saliency[:64]) == sequences[0]
    assert [int(row["position"]) for row in saliency[64:128]] == list(range(-4, 60))
    assert [int(row["position"]) for row in saliency[128:]] == list(range(48, 112))
    assert any(float(row["saliency"]) != 0 for row in saliency)
    pictures = sorted(Path("pictures").glob("*.png"))
    assert [picture.name for picture in pictures] == ["a.png", "b_c.png", "b_c_2.png"]
    assert all(imread(picture).std() > 0 for picture in pictures)


def test_a_model_is_trained_by_name_and_used(run: Run, work: Path) -> None:
    small = "--model.channels=8 --model.widths=[8,16] --model.strides=[2,2] --model.expansion=2 --model.layers=1"
    line = f"fit --model WRN_T {small} --data.store store.h5 --out mine --trainer.max_epochs 1"
    ended = run(line)
    assert ended.code == 0, ended.err
    assert run("predict mine/bundle good.fa --out scores.tsv").code == 0
    assert len(Path("scores.tsv").read_text().splitlines()) == 4
    before = contents(work)
    ended = run(line)
    assert ended.code == 2
    assert "mine: this exists already. Pass --force" in ended.err
    assert contents(work) == before


def test_force_replaces_what_exists(run: Run, work: Path) -> None:
    for line, out in (
        ("predict bundle good.fa --out scores.tsv", "scores.tsv"),
        ("explain bundle good.fa --target reb --out pictures", "pictures/saliency.tsv"),
        ("evaluate bundle store.h5 --out report --no-baselines", "report/metrics.json"),
        (f"data import peaks --genome genome.fa --peaks peaks --out new.h5 --window {WINDOW} --bin {BIN}", "new.h5"),
    ):
        assert run(line).code == 0
        Path(out).write_text("old")
        assert run(f"{line} --force").code == 0
        assert Path(out).read_bytes() != b"old"


def test_a_target_is_found_by_a_prefix_in_any_case(run: Run, work: Path) -> None:
    assert run("explain bundle good.fa --target REB --out by_prefix --max-plots 1").code == 0
    assert run("explain bundle good.fa --target Reb1 --out by_name --max-plots 1").code == 0
    tables = [Path(folder, "saliency.tsv").read_text() for folder in ("by_prefix", "by_name")]
    assert tables[0] == tables[1]
    assert [path.name for path in Path("by_name").glob("*.png")] == ["s0.png"]


def test_an_option_given_twice_adds_to_itself(run: Run, work: Path) -> None:
    for name, splits in (("once", "--valid-chroms chr2 chr3"), ("twice", "--valid-chroms chr2 --valid-chroms chr3")):
        line = PEAKS.replace("new.h5", f"{name}.h5").replace("--peaks peaks", "--peaks peaks/Reb1.bed")
        assert run(f"{line} {splits} --peaks peaks/Rap1.bed").code == 0
    once, twice = Store("once.h5"), Store("twice.h5")
    assert len(once.samples("valid")) > len(once.samples("train"))
    assert once.checksum() == twice.checksum()
    assert {target.name for target in twice.targets} == {"Reb1", "Rap1"}


def test_the_report_says_what_it_was_made_with(run: Run, work: Path) -> None:
    assert run("evaluate bundle store.h5 --out report --no-baselines").code == 0
    provenance = json.loads(Path("report/metrics.json").read_text())["provenance"]
    expected = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    assert provenance["device"] == expected
    assert provenance["versions"]["h5py"] == h5py.__version__
    assert provenance["versions"]["numpy"] == np.__version__


# What goes wrong


def truncate(path: str) -> None:
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) * 2 // 3])


def newer_store() -> None:
    with h5py.File("store.h5", "r+") as file:
        file.attrs["version"] = 99


def foreign_hdf5() -> None:
    with h5py.File("store.h5", "w") as file:
        file["x"] = [1, 2]


def store_of(name: str, **options: object) -> Callable[[], object]:
    settings: dict[str, object] = {"window": WINDOW, "bin": BIN, "test_chroms": ["chr3"]}
    return lambda: import_peaks(name, genome="genome.fa", peaks="peaks", **settings | options)


def attentive() -> None:
    """Gives the bundle a model that takes any length, its stem in steps of 4."""
    bundle = Bundle.load("bundle")
    small = {"channels": 8, "widths": (8, 16), "strides": (2, 2), "expansion": 2, "layers": 1, "hidden": 16}
    model = create_model(
        "wrn_transformer_xl", num_targets=len(bundle.targets), length=WINDOW, pool="centre-max", **small
    )
    replace(bundle, model=model).save("bundle", force=True)


def deepsea_version_5(cut: bool = False) -> None:
    write_version_5(Path("valid.mat"), random_split("valid", 40, 64, 7))
    if cut:
        truncate("valid.mat")


def deepsea_version_73(cut: bool = False) -> None:
    write_version_73(Path("train.mat"), random_split("train", 40, 64, 7), [None, None])
    if cut:
        truncate("train.mat")


def deepsea_shapes() -> None:
    windows, _ = random_split("valid", 40, 64, 7)
    _, labels = random_split("valid", 38, 64, 7)
    write_version_5(Path("valid.mat"), [windows, labels])


def deepsea_channels() -> None:
    _, labels = random_split("valid", 40, 64, 7)
    windows = RowArray("validxdata", (64, 5, 40), lambda _: np.zeros((5, 40), np.uint8))
    write_version_5(Path("valid.mat"), [windows, labels])


def deepsea_labels() -> None:
    windows, labels = random_split("valid", 40, 64, 7)
    rows = {3: np.where(np.arange(40) == 5, 2, 0).astype(np.uint8)}
    write_version_5(
        Path("valid.mat"), [windows, RowArray(labels.name, labels.shape, lambda row: rows.get(row, labels.row(row)))]
    )


def nothing() -> None:
    pass


PEAKS = f"data import peaks --genome genome.fa --peaks peaks --out new.h5 --window {WINDOW} --bin {BIN}"
FIT = "fit --model wrn_transformer_xl"

BAD_INPUT: dict[str, tuple[Callable[[], object], str, str]] = {
    "sequences missing": (nothing, "predict bundle none.fa --out new.tsv", "none.fa: there is no such file"),
    "sequences empty": (nothing, "predict bundle empty.fa --out new.tsv", "empty.fa: the file is empty. Give"),
    "sequences a folder": (nothing, "predict bundle peaks --out new.tsv", "peaks: this is a folder"),
    "sequence too long": (
        nothing,
        "predict bundle long.fa --out new.tsv",
        "long.fa, line 3, record 's1': 69 residues, where the model takes exactly 64. Pass --length-policy",
    ),
    "sequence too long to explain": (
        nothing,
        "explain bundle long.fa --target reb1 --out new",
        "long.fa, line 3, record 's1': 69 residues, where the model takes exactly 64. Pass --length-policy",
    ),
    "foreign letter": (
        nothing,
        "predict bundle foreign.fa --out new.tsv",
        "foreign.fa, line 3, record 's1': letter 'J' at position 4 is not DNA",
    ),
    "foreign letter to explain": (
        nothing,
        "explain bundle foreign.fa --target reb1 --out new",
        "foreign.fa, line 3, record 's1': letter 'J' at position 4 is not DNA",
    ),
    "length policy unknown": (
        nothing,
        "predict bundle long.fa --out new.tsv --length-policy center",
        "there is no length policy 'center' among 3. Did you mean centre?",
    ),
    "too long for attention": (
        lambda: attentive() or write("huge.fa", ">s0", "ACGT" * 5000),
        "explain bundle huge.fa --target reb1 --out new",
        "huge.fa, line 1, record 's0': 20000 residues, where the model's attention takes at most 16384 at once. Pass "
        "--length-policy tile (score every window of 64 residues)",
    ),
    "output replaces the sequences": (
        nothing,
        "predict bundle good.fa --out good.fa --force",
        "good.fa: this is what is to be read, so it is not replaced. Choose another place",
    ),
    "report replaces the bundle": (nothing, "evaluate bundle store.h5 --out bundle --force", "bundle: this is what is"),
    "report replaces a folder of inputs": (
        lambda: write("metrics.json"),
        "evaluate bundle store.h5 --out . --force",
        "bundle, which is to be read, so it is not replaced",
    ),
    "pictures replace another folder": (
        nothing,
        "explain bundle good.fa --target reb1 --out peaks --force",
        "peaks: this folder holds other things than saliency.tsv, so --force does not replace it. Choose",
    ),
    "table replaces a folder": (nothing, "predict bundle good.fa --out peaks --force", "peaks: this is a folder"),
    "table replaces a device": (
        nothing,
        "predict bundle good.fa --out /dev/null --force",
        "/dev/null: this is neither a file nor a folder",
    ),
    "bundle missing": (nothing, "predict none good.fa --out new.tsv", "none: this is not a bundle"),
    "bundle is a store": (nothing, "explain store.h5 good.fa --target x --out new", "store.h5: this is not a bundle"),
    "bundle damaged": (
        lambda: truncate("bundle/model.safetensors"),
        "evaluate bundle store.h5 --out new",
        "model.safetensors: the weights are not those that were saved: their checksum differs. Copy the bundle again",
    ),
    "output is there": (
        nothing,
        "predict bundle good.fa --out genome.fa",
        "genome.fa: this exists already. Pass --force to replace it",
    ),
    "output folder is there": (nothing, "explain bundle good.fa --target reb1 --out peaks", "peaks: this exists"),
    "report is there": (nothing, "evaluate bundle store.h5 --out peaks", "peaks: this exists already"),
    "store is there": (nothing, PEAKS.replace("new.h5", "store.h5"), "store.h5: this exists already"),
    "simulation is there": (nothing, "data simulate peaks --out peaks", "peaks: this exists already"),
    "output inside a file": (nothing, "predict bundle good.fa --out good.fa/x.tsv", "good.fa: the system refused"),
    "bad input under force": (nothing, "predict bundle foreign.fa --out genome.fa --force --format tsv", "record 's1'"),
    "target unknown": (
        nothing,
        "explain bundle good.fa --target rab1 --out new",
        "there is no target 'rab1' among 3. Did you mean ",
    ),
    "target ambiguous": (
        nothing,
        "explain bundle good.fa --target r --out new",
        "target 'r' is ambiguous: 2 names start so (Rap1, Reb1). Write more of the name",
    ),
    "method unknown": (
        nothing,
        "explain bundle good.fa --target reb1 --method grad-com --out new",
        "there is no method 'grad-com' among 17. Did you mean grad-cam or",
    ),
    "layer unknown": (
        nothing,
        "explain bundle good.fa --target reb1 --layer stim --out new",
        "there is no layer 'stim' among 6. Did you mean stem or",
    ),
    "split unknown": (nothing, "evaluate bundle store.h5 --split tset --out new", "no split 'tset' among 3. Did you"),
    "split empty": (
        store_of("other.h5", test_chroms=()),
        "evaluate bundle other.h5 --out new",
        "other.h5: the split 'test' has no samples. Choose --split train, or import",
    ),
    "store missing": (nothing, "data info none.h5", "none.h5: there is no such file. Make one with"),
    "store a folder": (nothing, "data info peaks", "peaks: this is a folder, where a store is expected"),
    "store is text": (nothing, "data info genome.fa", "genome.fa: this is not a store, or it is truncated"),
    "store of others": (foreign_hdf5, "data info store.h5", "this HDF5 file is not a seqclass store. Turn raw data"),
    "store truncated": (lambda: truncate("store.h5"), "data info store.h5", "store.h5: this is not a store, or it is"),
    "store newer": (
        newer_store,
        "evaluate bundle store.h5 --out new",
        "store.h5: this store has format version 99, newer than version 2 that is understood here. Install a newer",
    ),
    "store of other targets": (
        lambda: Path("peaks/Gcn4.bed").unlink() or store_of("other.h5")(),
        "evaluate bundle other.h5 --out new",
        "other.h5: the store's 2 targets are not the model's 3 (differing: Gcn4). Import the data with",
    ),
    "store of another window": (
        store_of("other.h5", window=80, bin=16),
        "evaluate bundle other.h5 --out new",
        "other.h5: the store's windows are of 80 residues, and the model takes 64. Import the data with --window 64",
    ),
    "genome missing": (lambda: Path("genome.fa").unlink(), PEAKS, "genome.fa: there is no such file"),
    "genome empty": (lambda: write("genome.fa"), PEAKS, "genome.fa: the file is empty"),
    "peaks missing": (nothing, PEAKS.replace("--peaks peaks", "--peaks none"), "none"),
    "peak outside its chromosome": (
        lambda: write("peaks/Reb1.bed", "chr1\t10\t60", "chr2\t1990\t2040"),
        PEAKS,
        "peaks/Reb1.bed, line 2: the interval 1990-2040 lies outside chromosome chr2, which has 2000 bp",
    ),
    "no chromosome in common": (
        lambda: [write(f"peaks/{name}.bed", "scaffold_9\t10\t60") for name in ("Reb1", "Rap1", "Gcn4")],
        PEAKS,
        "no chromosome in common with the genome; here: scaffold_9; in genome.fa: chr1, chr2, chr3",
    ),
    "BED with two columns": (
        lambda: write("peaks/Reb1.bed", "chr1\t10\t60", "chr1\t10"),
        PEAKS,
        "peaks/Reb1.bed, line 2: 2 columns",
    ),
    "BED with names for numbers": (
        lambda: write("peaks/Reb1.bed", "chr1\tReb1\t60"),
        PEAKS,
        "peaks/Reb1.bed, line 1: start and end are 'Reb1' and '60', where integers from 0 (of up to 18 digits) are",
    ),
    "label rule unknown": (nothing, f"{PEAKS} --label-rule peak", "--label-rule is 'peak'. Choose auto"),
    "valid chromosome unknown": (nothing, f"{PEAKS} --valid-chroms chr9", "chr9"),
    "no .mat given": (nothing, "data import deepsea --out new.h5", "no DeepSEA file was given. Give at least one"),
    ".mat missing": (nothing, "data import deepsea --test none.mat --out new.h5", "none.mat: there is no such file"),
    ".mat is text": (nothing, "data import deepsea --test genome.fa --out new.h5", "genome.fa: this is not a MATLAB"),
    ".mat 5 truncated": (
        lambda: deepsea_version_5(cut=True),
        "data import deepsea --valid valid.mat --out new.h5",
        "valid.mat: the file cannot be read, is damaged or cut short",
    ),
    ".mat 7.3 truncated": (
        lambda: deepsea_version_73(cut=True),
        "data import deepsea --train train.mat --out new.h5",
        "train.mat: the file cannot be read, is damaged or cut short",
    ),
    ".mat of the wrong split": (
        deepsea_version_5,
        "data import deepsea --test valid.mat --out new.h5",
        "valid.mat: there is no numeric array 'testxdata'; this file holds validxdata (40, 4, 64), validdata (40, 7)",
    ),
    ".mat with fewer labels": (
        deepsea_shapes,
        "data import deepsea --valid valid.mat --out new.h5",
        "valid.mat: validxdata holds 40 samples, validdata 38",
    ),
    ".mat with five channels": (
        deepsea_channels,
        "data import deepsea --valid valid.mat --out new.h5",
        "valid.mat, validxdata: its shape is (40, 5, 64) in MATLAB's order, where (samples, 4, window) is expected",
    ),
    "labels not 0 or 1": (
        deepsea_labels,
        "data import deepsea --valid valid.mat --out new.h5",
        "valid.mat, validdata, sample 5 (counted from 0): target 3 (target_3) is labelled 2, where 0 or 1 is expected",
    ),
    "model unknown": (nothing, "fit --model wrn_transfromer --data.store store.h5", "Did you mean wrn_transformer_xl"),
    "nothing to fit on": (nothing, f"{FIT} --data.store none.h5", "none.h5: there is no such file. Make one"),
    "nothing to validate on": (
        store_of("other.h5"),
        f"{FIT} --data.store other.h5",
        "other.h5: the store has no samples to validate on. Import it again with --valid-chroms",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_with_exit_code_2_and_nothing_is_written(run: Run, work: Path, case: str) -> None:
    spoil, line, told = BAD_INPUT[case]
    spoil()
    before = contents(work)
    ended = run(line)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert ended.err.endswith((".\n", "?\n"))
    assert told in ended.err
    assert contents(work) == before


@pytest.mark.parametrize(
    ("line", "out"),
    [
        ("predict bundle good.fa --out scores.tsv --force", ".scores.tsv.unfinished"),
        ("explain bundle good.fa --target reb1 --out pictures --force", "pictures"),
        ("evaluate bundle store.h5 --out report --no-baselines --force", "report"),
    ],
)
def test_a_full_disk_is_one_line_and_the_old_output_stands(work: Path, line: str, out: str) -> None:
    write("scores.tsv", "old")
    for folder, name in (("pictures", "saliency.tsv"), ("report", "metrics.json")):
        Path(folder).mkdir()
        write(f"{folder}/{name}", "old")
    before = contents(work)
    script = (
        "import resource\nfrom seqclass.cli import main\nresource.setrlimit(resource.RLIMIT_FSIZE, (128, 128))\nmain()"
    )
    ended = subprocess.run([sys.executable, "-c", script, *line.split()], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        f"error: {out}: this could not be written (File too large). "
        "Make room on the disk; what stood here before is untouched."
    )
    assert "Traceback" not in ended.stderr
    assert contents(work) == before


@pytest.mark.parametrize("case", ["foreign letter", "target unknown", "nothing to fit on", "output inside a file"])
def test_debug_lets_the_error_through_wherever_it_stands(work: Path, case: str) -> None:
    spoil, line, _ = BAD_INPUT[case]
    spoil()
    words = line.split()
    for place in (0, len(words)):
        with pytest.raises((SeqclassError, OSError)):
            main([*words[:place], "--debug", *words[place:]])


def test_debug_shows_a_traceback_and_nothing_else_does(work: Path) -> None:
    words = ("predict", "bundle", "foreign.fa", "--out", "new.tsv")
    plain, debug = seqclass(*words), seqclass(*words, "--debug")
    assert plain.returncode == 2
    assert plain.stderr.splitlines()[0].startswith("error: foreign.fa, line 3, record 's1': letter 'J'")
    assert len(plain.stderr.splitlines()) == 1
    assert debug.returncode not in (0, 2)
    assert debug.stderr.startswith("Traceback")
    assert not Path("new.tsv").exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("data", "the following arguments are required: COMMAND"),
        ("data import", "the following arguments are required: KIND"),
        ("predikt", "invalid choice: 'predikt'"),
        ("predict bundle good.fa", "required: --out"),
        ("predict bundle good.fa --out new.tsv --frce", "unrecognized arguments: --frce"),
        ("predict bundle good.fa more.fa --out new.tsv", "unrecognized arguments: more.fa"),
        ("explain bundle good.fa --out new", "--target is needed"),
        ("evaluate bundle store.h5 --out new --min-test-positives few", "invalid int value: 'few'"),
        (f"{PEAKS} --window wide", "invalid int value: 'wide'"),
        (f"{PEAKS} --win 64", "unrecognized arguments: --win 64"),
        ("fit", "--model NAME"),
        ("fit --data.store store.h5", "--model NAME"),
        (FIT, "data.store"),
        (f"{FIT} --data.store store.h5 --model.nonsense 3", "unrecognized arguments: --model.nonsense 3"),
        (f"{FIT} --data.store store.h5 --model.layers many", "many"),
        (f"{FIT} --data.store store.h5 --model.pool average", "average"),
    ],
)
def test_a_command_line_that_cannot_be_is_exit_code_2(run: Run, work: Path, line: str, told: str) -> None:
    before = contents(work)
    ended = run(line)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err
    assert contents(work) == before


def test_the_system_refusing_and_an_interruption_end_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    for error, code, told in (
        (OSError(28, "No space left on device"), 2, "error: the system refused (No space left on device). Check"),
        (PermissionError(13, "Permission denied", "x.tsv"), 2, "error: x.tsv: the system refused (Permission denied)."),
        (SequenceError("bad", file="x.fa", record=3, remedy="Mend it"), 2, "error: x.fa, line 3: bad. Mend it.\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ):
        with pytest.raises(SystemExit) as stop, plain_errors(debug=False):
            raise error
        assert stop.value.code == code
        assert capsys.readouterr().err.startswith(told)
        with pytest.raises(type(error)), plain_errors(debug=True):
            raise error


@pytest.mark.parametrize("option", ["--model.nonsense 3", "--model.layers many", "--config none.yaml"])
def test_a_wrong_option_of_fit_is_one_line(run: Run, work: Path, option: str) -> None:
    ended = run(f"{FIT} --data.store store.h5 {option}")
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert option.split()[-1] in ended.err
    assert ended.err.endswith("See --help for all options.\n")


def test_a_name_that_looks_like_a_formula_is_drawn_as_it_is(run: Run, work: Path) -> None:
    write("formula.fa", ">a$x_$", "ACGT" * 16)
    assert run("explain bundle formula.fa --target reb1 --out pictures").code == 0


# What it looks like


def test_nothing_is_wrapped_or_coloured_outside_a_terminal(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    folder = Path("with :dna: and [bold] spaces" + "-long" * 20, "b" * 90)
    folder.mkdir(parents=True)
    Path("store.h5").rename(folder / "store.h5")
    main(["data", "info", str(folder / "store.h5")])
    assert str(folder / "store.h5") in capsys.readouterr().out
    main(["predict", "bundle", "good.fa", "--out", str(folder / "[x].tsv")])
    assert capsys.readouterr().err == f"wrote {folder / '[x].tsv'}: rows 3\n"
    with pytest.raises(SystemExit):
        main(["predict", "bundle", str(folder / "[y].fa"), "--out", "new.tsv"])
    assert capsys.readouterr().err.startswith(f"error: {folder / '[y].fa'}: there is no such file. ")


def test_the_error_line_is_red_in_a_terminal(work: Path) -> None:
    ended = seqclass("data", "info", "none.h5", FORCE_COLOR="1", TERM="xterm-256color")
    assert ended.stderr.startswith("\x1b[31merror: none.h5")


def test_a_bar_appears_after_a_while_even_if_nothing_advances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_PATIENCE_SECONDS", 0.2)
    for terminal, seconds, told in ((True, 0.6, True), (True, 0, False), (False, 0.6, False)):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, width=80)
        monkeypatch.setattr(progress_module, "Console", lambda console=console, **_: console)
        with progress_module.progress("Waiting for the first"):
            time.sleep(seconds)
        assert ("Waiting for the first" in screen.getvalue()) == told
        before = screen.getvalue()
        time.sleep(0.3)
        assert screen.getvalue() == before, "nothing is drawn once the work is done"


# How light it is


@pytest.mark.parametrize(
    "line",
    ["", "--help", "--version", "data --help", "data import peaks --help", "predict --help", "explain --help"],
)
def test_help_is_fast_and_loads_nothing_heavy(line: str) -> None:
    script = (
        "import sys, time, seqclass\n"
        "from seqclass.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit as stop:\n"
        "    code = stop.code\n"
        "modules = {name.split('.')[0] for name in sys.modules}\n"
        "print('LOADED', *modules, 'CODE', code, 'SECONDS', time.process_time())\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, *line.split()], capture_output=True, text=True, check=True)
    loaded, _, rest = ended.stdout.rpartition("LOADED")[2].partition("CODE")
    code, _, seconds = rest.partition("SECONDS")
    assert not set(HEAVY) & set(loaded.split())
    assert int(code) == (0 if line.startswith("-") or line.endswith("--help") else 2)
    assert float(seconds) < 1


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, seqclass; print(*{name.split('.')[0] for name in sys.modules})"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {*HEAVY, "numpy", "h5py"} & set(ended.stdout.split())


def test_help_tells_of_every_command_and_the_version_is_the_package_s(run: Run) -> None:
    ended = run("--help")
    assert (ended.code, ended.err) == (0, "")
    assert all(command in ended.out for command in ("data", "fit", "evaluate", "predict", "explain", "--debug"))
    assert run("--version").out == f"{__version__}\n"


def test_the_length_policies_offered_are_those_that_there_are(run: Run) -> None:
    for command in ("predict", "explain"):
        told = run(f"{command} --help").out.split("--length-policy")[-1]
        assert all(policy in told for policy in LENGTH_POLICIES)
