"""Files of predictions: every format, pipes, runs that are killed, runs that processes share, and how much memory."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.cli import main, prediction
from seqclass.ensemble import join_bundles
from seqclass.errors import BundleError, OutputExistsError, SeqclassError, UnknownNameError
from seqclass.models import create_model
from seqclass.predict import FORMATS, portions, predict, run, write_predictions
from seqclass.targets import Target

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def random_records(count: int, alphabet: str = "ACGT", seed: int = 0, shortest: int = 8) -> list[tuple[str, str]]:
    """Of many lengths; every third is one that was there before."""
    generator = np.random.default_rng(seed)
    found: list[tuple[str, str]] = []
    for number in range(count):
        length = int(generator.integers(shortest, 90))
        again = found[int(generator.integers(len(found)))][1] if number % 3 == 2 else None
        found.append((f"s{number}", again or "".join(generator.choice(list(alphabet), length))))
    return found


def write_fasta(path: Path, named: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f">{name} of somewhere\n{letters}\n" for name, letters in named))
    return path


@pytest.fixture
def bundle(make_bundle: Callable[..., Bundle], tmp_path: Path) -> Bundle:
    """Of any length, calibrated, with classes and a yes-or-no target, and three places to be uncertain of."""
    made = make_bundle(pool="centre-max")
    made.targets = [Target("kind, one", "kind"), Target("flag"), Target("kind two", "kind")]
    made.exclusive = ["kind"]
    made.calibration = Calibration([1.5], [0.2], [0.5], {"kind": 0.8}, {"kind": 0.5})
    made.save(tmp_path / "bundle")
    return Bundle.load(tmp_path / "bundle")


@pytest.fixture
def in_portions_of_7(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "_STRETCHES", 7)


def tsv(path: Path, separator: str = "\t") -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream, delimiter=separator))


# Formats


@pytest.mark.usefixtures("in_portions_of_7")
def test_every_format_tells_the_same(bundle: Bundle, tmp_path: Path) -> None:
    named = random_records(40)
    fasta = write_fasta(tmp_path / "in.fa", named)
    surest = [max(one.probabilities[0], one.probabilities[2]) for one in predict(bundle, named)]
    assert bundle.calibration is not None
    bundle.calibration = replace(bundle.calibration, abstain_below={"kind": float(np.median(surest))})
    expected = list(predict(bundle, named))
    for name in ("out.tsv", "out.csv", "out.jsonl", "out.h5"):
        assert write_predictions(bundle, fasta, tmp_path / name) == 40
    for rows in (tsv(tmp_path / "out.tsv"), tsv(tmp_path / "out.csv", ",")):
        for row, one in zip(rows, expected, strict=True):
            assert (row["id"], int(row["start"]), int(row["end"])) == (one.id, one.start, one.end)
            np.testing.assert_allclose([float(row[name]) for name in one.targets], one.probabilities, rtol=1e-4)
            assert (row["calls"], row["abstained"]) == (";".join(one.calls or []), "yes" if one.abstained else "no")
            assert row["model"] == one.model
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for line, one in zip(lines, expected, strict=True):
        assert line["id"] == one.id
        np.testing.assert_allclose(list(line["scores"].values()), one.probabilities, rtol=1e-4)
        assert line["abstained"] == one.abstained
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["id"].asstr()[:].tolist() == [one.id for one in expected]
        np.testing.assert_allclose(file["probabilities"][:], [one.probabilities for one in expected], rtol=1e-4)
        assert file["calls"].asstr()[:].tolist() == [";".join(one.calls or []) for one in expected]
        assert file["abstained"][:].tolist() == [one.abstained for one in expected]
        assert file["end"][:].tolist() == [len(letters) for _, letters in named]
        assert file["targets"].asstr()[:].tolist() == expected[0].targets
        assert file.attrs["model"] == expected[0].model
    assert {one.abstained for one in expected} == {True, False}


def test_top_k_tells_of_the_most_probable_only(bundle: Bundle, tmp_path: Path) -> None:
    named = random_records(5)
    fasta = write_fasta(tmp_path / "in.fa", named)
    write_predictions(bundle, fasta, tmp_path / "out.tsv", top_k=2)
    write_predictions(bundle, fasta, tmp_path / "out.jsonl", top_k=2)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for row, line, one in zip(tsv(tmp_path / "out.tsv"), lines, predict(bundle, named), strict=True):
        assert [row["label_1"], row["label_2"]] == [label.name for label in one.top(2)]
        assert [each["label"] for each in line["top"]] == [label.name for label in one.top(2)]
        assert float(row["probability_1"]) == pytest.approx(one.top(1)[0].probability, rel=1e-5)
        assert not set(one.targets) & row.keys()
    with pytest.raises(SeqclassError, match="--top-k be at least 1"):
        write_predictions(bundle, fasta, tmp_path / "none.tsv", top_k=0)


def test_an_ensemble_tells_its_spread_in_every_format(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    joint = join_bundles([make_bundle(), make_bundle()])
    fasta = write_fasta(tmp_path / "in.fa", [("a", "ACGT" * 16)])
    (one,) = predict(joint, fasta)
    assert one.spread is not None
    for name in ("out.tsv", "out.jsonl", "out.h5"):
        write_predictions(joint, fasta, tmp_path / name)
    (row,) = tsv(tmp_path / "out.tsv")
    np.testing.assert_allclose([float(row[f"t{i}:spread"]) for i in range(3)], one.spread, rtol=1e-4)
    np.testing.assert_allclose(
        list(json.loads((tmp_path / "out.jsonl").read_text())["spread"].values()), one.spread, 1e-4
    )
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_allclose(file["spread"][:], [one.spread], rtol=1e-4)


def test_an_ending_that_says_nothing_is_refused_before_anything_is_read(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(SeqclassError, match=r"ending of 'out\.doc'.*\.tsv, \.csv, \.jsonl, \.h5"):
        write_predictions(bundle, tmp_path / "nothing.fa", tmp_path / "out.doc")
    with pytest.raises(UnknownNameError, match="format"):
        write_predictions(bundle, tmp_path / "nothing.fa", tmp_path / "out.tsv", format="xml")
    with pytest.raises(SeqclassError, match="HDF5 cannot be written into a pipe"):
        write_predictions(bundle, tmp_path / "nothing.fa", "-", format="h5")


# The beta-lactamase pipeline


def proteins(names: list[str], group: str) -> Bundle:
    torch.manual_seed(0)
    model = create_model("protcnn", num_targets=len(names), channels=16, bottleneck=8, dilations=(1,))
    exclusive = [group] if group else []
    return Bundle(model.eval(), [Target(name, group) for name in names], [1] * len(names), exclusive=exclusive)


PIPELINE = ["protein_id", "predicted_label", "confidence_score", "prob_betalactamase"]


def test_of_classes_and_none_a_beta_lactamase_is_what_is_not_none(tmp_path: Path) -> None:
    bundle = proteins(["A", "B", "None", "C"], "ambler_class")
    named = random_records(20, "ACDEFGHIKLMNPQRSTVWY")
    fasta = write_fasta(tmp_path / "in.fa", named)
    assert write_predictions(bundle, fasta, tmp_path / "out.csv", format="beta-lactamase") == 20
    rows = tsv(tmp_path / "out.csv", ",")
    assert list(rows[0]) == PIPELINE
    for row, one in zip(rows, predict(bundle, named), strict=True):
        best = max(one.scores, key=lambda name: one.scores[name])
        assert (row["protein_id"], row["predicted_label"]) == (one.id, best)
        assert float(row["confidence_score"]) == pytest.approx(one.scores[best], rel=1e-5)
        assert float(row["prob_betalactamase"]) == pytest.approx(1 - one.scores["None"], rel=1e-4)
    bundle.calibration = Calibration([], [], [], {"ambler_class": 1.0}, {"ambler_class": 1.1})
    write_predictions(bundle, fasta, tmp_path / "out.csv", format="beta-lactamase", force=True)
    assert {row["predicted_label"] for row in tsv(tmp_path / "out.csv", ",")} == {"abstained"}


@pytest.mark.parametrize("threshold", [None, 0.0, 1.1])
def test_of_one_yes_or_no_target_a_beta_lactamase_is_what_carries_it(tmp_path: Path, threshold: float | None) -> None:
    bundle = proteins(["beta-lactamase"], "")
    if threshold is not None:
        bundle.calibration = Calibration([1.0], [0.0], [threshold], {}, {})
    named = random_records(20, "ACDEFGHIKLMNPQRSTVWY")
    write_predictions(bundle, write_fasta(tmp_path / "in.fa", named), tmp_path / "out.csv", format="beta-lactamase")
    for row, one in zip(tsv(tmp_path / "out.csv", ","), predict(bundle, named), strict=True):
        (share,) = one.probabilities.tolist()
        called = share >= (0.5 if threshold is None else threshold)
        assert row["predicted_label"] == ("beta-lactamase" if called else "none")
        assert float(row["prob_betalactamase"]) == pytest.approx(share, rel=1e-4)
        assert float(row["confidence_score"]) == pytest.approx(share if called else 1 - share, rel=1e-4)


def test_a_bundle_that_cannot_say_what_is_a_beta_lactamase_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "in.fa", [("a", "MKV")])
    for other, told in (
        (proteins(["A", "B"], "kind"), r"2 targets \(A, B\)"),
        (proteins(["A", "none"], ""), "2 targets"),
    ):
        with pytest.raises(BundleError, match=f"one of which is 'none'.*{told}"):
            write_predictions(other, fasta, tmp_path / "out.csv", format="beta-lactamase")
    with pytest.raises(SeqclassError, match="one row a protein"):
        write_predictions(bundle, fasta, tmp_path / "out.csv", format="beta-lactamase", length_policy="tile")
    assert not (tmp_path / "out.csv").exists()


# Runs that are killed


def unfinished(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.unfinished"))


def interrupt_after(monkeypatch: pytest.MonkeyPatch, count: int, calls: list[int]) -> None:
    score = run.score_portion

    def interrupted(portion: portions.Portion, *rest: Any) -> portions.Rows:
        calls.append(len(portion.tokens))
        if len(calls) > count:
            raise KeyboardInterrupt
        return score(portion, *rest)

    monkeypatch.setattr(run, "score_portion", interrupted)


@pytest.mark.usefixtures("in_portions_of_7")
@pytest.mark.parametrize("name", ["out.tsv", "out.jsonl", "out.h5"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(portions, "_REMEMBERED", 20)
    fasta, whole, out = write_fasta(tmp_path / "in.fa", random_records(60)), tmp_path / f"whole-{name}", tmp_path / name
    write_predictions(bundle, fasta, whole)
    assert not unfinished(tmp_path)
    first: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 4, first)
        with pytest.raises(KeyboardInterrupt):
            write_predictions(bundle, fasta, out)
    assert not out.exists()
    assert len(unfinished(tmp_path)) == 1
    second: list[int] = []
    interrupt_after(monkeypatch, 99, second)
    assert write_predictions(bundle, fasta, out, resume=True) == 60
    assert out.read_bytes() == whole.read_bytes()
    assert len(first) - 1 + len(second) == 9, "portions that were kept are not scored again"
    assert not unfinished(tmp_path)


@pytest.mark.usefixtures("in_portions_of_7")
def test_an_unfinished_run_is_gone_on_with_on_request_and_only_if_it_is_the_same(
    bundle: Bundle, tmp_path: Path
) -> None:
    fasta, out = write_fasta(tmp_path / "in.fa", random_records(30)), tmp_path / "out.tsv"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 2, [])
        with pytest.raises(KeyboardInterrupt):
            write_predictions(bundle, fasta, out)
    with pytest.raises(SeqclassError, match=r"left unfinished\. Pass --resume to go on with it, or --force"):
        write_predictions(bundle, fasta, out)
    with pytest.raises(SeqclassError, match="begun with another length_policy"):
        write_predictions(bundle, fasta, out, resume=True, length_policy="tile")
    with pytest.raises(SeqclassError, match="begun with another model"):
        write_predictions(bundle, fasta, out, resume=True, calibrated=False)
    write_fasta(tmp_path / "other.fa", random_records(30, seed=1))
    with pytest.raises(SeqclassError, match="begun with another sequences"):
        write_predictions(bundle, tmp_path / "other.fa", out, resume=True)
    assert not out.exists()
    write_predictions(bundle, fasta, out, force=True)
    assert not unfinished(tmp_path)
    with pytest.raises(OutputExistsError):
        write_predictions(bundle, fasta, out, resume=True)


def test_resume_begins_where_there_is_nothing_to_go_on_with(bundle: Bundle, tmp_path: Path) -> None:
    assert (
        write_predictions(bundle, write_fasta(tmp_path / "in.fa", random_records(3)), tmp_path / "o", resume=True) == 3
    )


@pytest.mark.usefixtures("in_portions_of_7")
def test_a_damaged_portion_and_an_input_that_changed_are_told(bundle: Bundle, tmp_path: Path) -> None:
    fasta, out = write_fasta(tmp_path / "in.fa", random_records(30)), tmp_path / "out.tsv"
    merge = run._merge
    for spoil, told in (
        (lambda file: file.write_bytes(file.read_bytes()[:-4]), "damaged"),
        (lambda file: np.save(file, np.zeros((1, 3), np.float32)), "changed while it was scored"),
    ):

        def spoilt(*given: Any, spoil: Callable[[Path], object] = spoil) -> int:
            spoil(sorted(unfinished(tmp_path)[0].glob("*.npy"))[1])
            return merge(*given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "_merge", spoilt)
            with pytest.raises(SeqclassError, match=told):
                write_predictions(bundle, fasta, out, force=True)
        assert not out.exists()


# Processes

SCRIPT = """
import os, signal, sys
from seqclass.cli import main
from seqclass.predict import portions, run
portions._STRETCHES = 7
save, saved = run.Unfinished.save, []
def counted(self, *given):
    save(self, *given)
    saved.append(1)
    if len(saved) == int(os.environ.get("KILL_AFTER", "-1")):
        os.kill(os.getpid(), signal.SIGKILL)
run.Unfinished.save = counted
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_process_and_two_that_share_a_run_leave_the_bytes_of_one(bundle: Bundle, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    write_fasta(tmp_path / "in.fa", random_records(80))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "_STRETCHES", 7)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        write_predictions(bundle, tmp_path / "in.fa", tmp_path / "one.tsv")
        torch.set_num_threads(threads)
    command = [str(script), "predict", "bundle", "in.fa", "--out"]

    def ended(words: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=ENVIRONMENT | more, capture_output=True, text=True, check=False
        )

    killed = ended([*command, "killed.tsv"], KILL_AFTER="5")
    assert killed.returncode == -9
    assert not (tmp_path / "killed.tsv").exists()
    assert len(list(unfinished(tmp_path)[0].glob("*.npy"))) == 5
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    shared = ended([*torchrun, *command, "killed.tsv", "--resume"])
    assert shared.returncode == 0, shared.stderr
    assert shared.stderr.count("wrote killed.tsv: rows 80") == 1
    assert (tmp_path / "killed.tsv").read_bytes() == (tmp_path / "one.tsv").read_bytes()
    assert not unfinished(tmp_path)


# Pipes


def test_a_pipe_is_read_and_written_as_it_comes(bundle: Bundle, tmp_path: Path) -> None:
    named = random_records(12)
    fasta = write_fasta(tmp_path / "in.fa", named)
    write_predictions(bundle, fasta, tmp_path / "out.csv")
    command = [sys.executable, "-m", "seqclass", "predict", "bundle", "-", "--out", "-", "--format", "csv"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, input=fasta.read_text(), capture_output=True, text=True, check=True
    )
    rows, expected = csv.DictReader(io.StringIO(ended.stdout)), tsv(tmp_path / "out.csv", ",")
    for row, other in zip(rows, expected, strict=True):
        assert row["id"] == other["id"]
        assert float(row["flag"]) == pytest.approx(float(other["flag"]), rel=1e-4)
    assert ended.stderr == ""
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "in.fa", "out.csv"}


def test_standard_output_gets_nothing_of_a_file_with_a_bad_record(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fasta = write_fasta(tmp_path / "in.fa", [*random_records(9), ("bad", "ACGE")])
    with pytest.raises(SystemExit):
        main(["predict", str(tmp_path / "bundle"), str(fasta), "--out", "-"])
    told = capsys.readouterr()
    assert told.out == ""
    assert "record 'bad'" in told.err
    write_fasta(fasta, random_records(9))
    main(["predict", str(tmp_path / "bundle"), str(fasta), "--out", "-"])
    assert len(capsys.readouterr().out.splitlines()) == 10


def test_a_named_pipe_becomes_a_file_whole_or_not_at_all(bundle: Bundle, tmp_path: Path) -> None:
    pipe, fasta = tmp_path / "pipe", write_fasta(tmp_path / "in.fa", random_records(9))
    os.mkfifo(pipe)
    for letters, rows in ((fasta.read_text(), 9), (fasta.read_text() + ">bad\nACGE\n", None)):
        feeder = subprocess.Popen(["sh", "-c", f"cat > {pipe}"], stdin=subprocess.PIPE, text=True)
        assert feeder.stdin is not None
        feeder.stdin.write(letters)
        feeder.stdin.close()
        if rows:
            assert write_predictions(bundle, pipe, tmp_path / "out.h5") == rows
        else:
            with pytest.raises(SeqclassError, match="record 'bad'"):
                write_predictions(bundle, pipe, tmp_path / "other.h5")
        feeder.wait()
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "in.fa", "pipe", "out.h5"}
    with pytest.raises(SeqclassError, match="cannot be gone on with"):
        write_predictions(bundle, "-", tmp_path / "none.tsv", resume=True)


# The command, and memory


def test_the_command_tells_of_letters_that_were_read_as_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proteins(["a", "none"], "kind").save(tmp_path / "bundle")
    write_fasta(tmp_path / "in.fa", [("a", "MKUO"), ("b", "MKV")])
    main(["predict", str(tmp_path / "bundle"), str(tmp_path / "in.fa"), "--out", str(tmp_path / "out.csv")])
    told = capsys.readouterr().err.splitlines()
    assert told == ["- 2 residues (O, U) in 1 record mapped to X.", f"wrote {tmp_path / 'out.csv'}: rows 2"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("predict b", "what is to be scored?"),
        ("predict b in.fa --genome g.fa", "what is to be scored?"),
        ("predict b in.fa --stride 5", "--stride is for --genome"),
        ("predict b --genome g.fa --top-k 3", "not for --genome"),
        ("predict b in.fa --format xml", "invalid choice: 'xml'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(line: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*line.split(), "--out", "o"])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


MEASURED = """
import resource, sys
import torch
from seqclass.bundle import Bundle
from seqclass.predict import portions, write_predictions
portions._STRETCHES, portions._REMEMBERED = 500, 2000
bundle = Bundle.load("bundle")
def peak(name):
    write_predictions(bundle, name, name + ".jsonl")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few = peak("few.fa")
print((peak("many.fa") - few) >> 10)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_sequences(tmp_path: Path) -> None:
    """Ten times as many, in a process of its own; a Python object for each would take at least 50 MB more."""
    proteins([f"t{i}" for i in range(20)], "").save(tmp_path / "bundle")
    generator = np.random.default_rng(0)
    table = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", dtype=np.uint8)
    for name, count in (("few.fa", 4000), ("many.fa", 40000)):
        with open(tmp_path / name, "wb") as file:
            for number, letters in enumerate(table[generator.integers(0, 20, (count, 30))]):
                file.write(b">s%d\n%s\n" % (number, letters.tobytes()))
    command = [sys.executable, "-c", MEASURED]
    ended = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 20, f"{ended.stdout} MB"
    with open(tmp_path / "many.fa.jsonl") as lines:
        assert sum(1 for _ in lines) == 40000


def test_the_formats_offered_are_those_that_there_are() -> None:
    assert prediction._FORMATS == FORMATS


def test_calibration_is_left_out_on_request(bundle: Bundle, tmp_path: Path) -> None:
    named = random_records(4)
    write_predictions(bundle, write_fasta(tmp_path / "in.fa", named), tmp_path / "raw.tsv", calibrated=False)
    for row, one in zip(tsv(tmp_path / "raw.tsv"), predict(replace(bundle, calibration=None), named), strict=True):
        assert float(row["flag"]) == pytest.approx(one.scores["flag"], rel=1e-4)
        assert "calls" not in row
