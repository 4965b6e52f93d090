"""Exported files: the same answers as the bundle's, or one sentence that says why not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_registry import TINY, make, ragged
from test_registry import inputs as random_inputs

from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.cli import main
from seqclass.data.store import Store
from seqclass.errors import AssemblyError, BundleError, MissingPackageError, OutputExistsError, SeqclassError
from seqclass.export.check import check_same
from seqclass.export.onnx_export import export_onnx
from seqclass.export.torch_export import export_torch
from seqclass.onnx_file import METADATA, load_onnx, open_bundle
from seqclass.predict import judge, predict, score_samples, write_predictions
from seqclass.targets import Target

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

# Converting takes seconds a model: a few always, all of them among the slow tests.
QUICK = ("protcnn-dna", "embedding_mlp")
CONVERTED = [key if key in QUICK else pytest.param(key, marks=pytest.mark.slow) for key in TINY]


def calibrated(key: str) -> Bundle:
    """A small model with two exclusive targets and a yes-or-no one, whose calibration changes them all."""
    calibration = Calibration([1.4], [-0.3], [0.4], {"g": 1.7}, {"g": 0.36})
    targets = [Target("a", "g"), Target("b", "g"), Target("c")]
    return Bundle(make(key), targets, [5, 6, 7], None, None, ["g"], {"seed": 3}, calibration=calibration)


@pytest.mark.parametrize("key", CONVERTED)
def test_an_onnx_file_answers_as_the_bundle_does_at_any_shape(key: str, tmp_path: Path) -> None:
    bundle = calibrated(key)
    lstm = any(isinstance(part, torch.nn.LSTM) for part in bundle.model.modules())
    if lstm and bundle.length is None:
        with pytest.raises(AssemblyError, match=r"LSTM cannot be exported .*more than one length\. Pass --length N"):
            export_onnx(bundle, tmp_path / "x.onnx")
        assert not list(tmp_path.iterdir())
        return
    assert export_onnx(bundle, tmp_path / "x.onnx") <= 1e-5
    exported = load_onnx(tmp_path / "x.onnx")
    for lengths in ([60], [33, 60, 41, 60], [60, 60]):
        batch = random_inputs(bundle.model, len(lengths))
        mask = None if bundle.length or min(lengths) == 60 else ragged(lengths, 60)
        for ours, theirs in (
            (bundle, exported),
            (replace(bundle, calibration=None), replace(exported, calibration=None)),
        ):
            with torch.inference_mode():
                expected, found = judge(ours, batch, mask), judge(theirs, batch, mask)
            torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-5)
            assert (found[1] is None) == (expected[1] is None) == (not bundle.model.has_spread)
            if expected[1] is not None:
                torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("key", CONVERTED)
def test_a_program_of_torch_export_answers_as_the_bundle_does_at_any_shape(key: str, tmp_path: Path) -> None:
    bundle = calibrated(key)
    lstm = any(isinstance(part, torch.nn.LSTM) for part in bundle.model.modules())
    if lstm and bundle.length is None:
        with pytest.raises(AssemblyError, match="Pass --length N"):
            export_torch(bundle, tmp_path / "x.pt2")
        return
    assert export_torch(bundle, tmp_path / "x.pt2") <= 1e-5
    told = {f"{METADATA}.json": ""}
    program = torch.export.load(tmp_path / "x.pt2", extra_files=told).module()
    batch, mask = random_inputs(bundle.model, 4), None if bundle.length else ragged([33, 60, 41, 60], 60)
    with torch.inference_mode():
        found = program(batch, *(() if mask is None else (mask,)))[0]
        torch.testing.assert_close(found, judge(bundle, batch, mask)[0], rtol=0, atol=1e-5)
    assert [each["name"] for each in json.loads(told[f"{METADATA}.json"])["targets"]] == ["a", "b", "c"]


def test_an_lstm_is_exported_for_one_length(tmp_path: Path) -> None:
    bundle = calibrated("wrn_bilstm-any-length")
    export_onnx(bundle, tmp_path / "x.onnx", length=44)
    exported = load_onnx(tmp_path / "x.onnx")
    assert exported.length == 44
    batch = random_inputs(bundle.model, 5, 44)
    with torch.inference_mode():
        torch.testing.assert_close(judge(exported, batch)[0], judge(bundle, batch)[0], rtol=0, atol=1e-5)
    named = [("short", "ACGT" * 9), ("long", "ACGT" * 30)]
    assert [(one.start, one.end) for one in predict(exported, named, length_policy="centre")] == [(-4, 40), (38, 82)]


@pytest.fixture(scope="module")
def protein(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    torch.manual_seed(0)
    bundle = calibrated("protcnn")
    folder = tmp_path_factory.mktemp("protein")
    bundle.save(folder / "bundle")
    export_onnx(Bundle.load(folder / "bundle"), folder / "model.onnx")
    return bundle, folder


def test_all_that_predictions_need_is_in_the_file(protein: tuple[Bundle, Path]) -> None:
    bundle, folder = protein
    exported = open_bundle(folder / "model.onnx")
    for name in ("targets", "window", "bin", "length", "exclusive", "groups", "binary", "calibration", "provenance"):
        assert getattr(exported, name) == getattr(bundle, name), name
    assert exported.alphabet is bundle.alphabet
    assert exported.version == Bundle.load(folder / "bundle").version


def test_the_file_predicts_without_this_library(protein: tuple[Bundle, Path]) -> None:
    bundle, folder = protein
    script = (
        "import json, sys, numpy as np, onnxruntime\n"
        "session = onnxruntime.InferenceSession('model.onnx')\n"
        "told = json.loads(session.get_modelmeta().custom_metadata_map['seqclass'])\n"
        "letters = 'MKTAYIAKQRQISFVKSHFSRQ'\n"
        "tokens = np.array([[told['letters'].index(letter) for letter in letters]], np.uint8)\n"
        "answer = session.run(['probabilities'], {'tokens': tokens, 'mask': np.ones(tokens.shape, bool)})[0][0]\n"
        "print(json.dumps(dict(zip([each['name'] for each in told['targets']], answer.tolist()))))\n"
        "assert not {'seqclass', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    (expected,) = predict(bundle, [("x", "MKTAYIAKQRQISFVKSHFSRQ")])
    np.testing.assert_allclose(list(json.loads(done.stdout).values()), expected.probabilities, atol=1e-5)


@pytest.mark.parametrize("suffix", ["tsv", "jsonl"])
def test_predict_writes_the_same_table_from_the_onnx_file(
    protein: tuple[Bundle, Path], tmp_path: Path, suffix: str
) -> None:
    _, folder = protein
    generator = np.random.default_rng(0)
    named = [("".join(generator.choice(list("ACDEFGHIKLMNPQRSTVWY"), n))) for n in (30, 70, 44, 70, 12)]
    (tmp_path / "x.fa").write_text("".join(f">s{i}\n{each}\n" for i, each in enumerate(named)))
    for model in ("bundle", "model.onnx"):
        main(["predict", str(folder / model), str(tmp_path / "x.fa"), "--out", str(tmp_path / f"{model}.{suffix}")])
    ours, theirs = ((tmp_path / f"{each}.{suffix}").read_text() for each in ("bundle", "model.onnx"))
    for one, other in zip(ours.splitlines(), theirs.splitlines(), strict=True):
        numbers = [[float(x) for x in line.replace(",", " ").split() if _is_number(x)] for line in (one, other)]
        np.testing.assert_allclose(*numbers, atol=2e-5)
        assert len(one.split()) == len(other.split())


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "").isdigit()


def test_samples_of_a_store_score_the_same(
    make_store: Callable[..., Store], make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    store, bundle = make_store(), make_bundle()
    export_onnx(bundle, tmp_path / "x.onnx")
    samples = store.samples("test")
    found = score_samples(load_onnx(tmp_path / "x.onnx"), store, samples)
    np.testing.assert_allclose(found, score_samples(bundle, store, samples), atol=1e-5)


def test_the_check_refuses_a_graph_that_answers_differently() -> None:
    bundle = calibrated("kmer_logreg")

    def off(inputs: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        raw = judge(replace(bundle, calibration=None), inputs, mask)[0]
        return {"probabilities": judge(bundle, inputs, mask)[0] + 2e-5, "uncalibrated": raw}

    with (
        torch.inference_mode(),
        pytest.raises(AssemblyError, match=r"probabilities of 1 sequences of .* differ .*2\.0e-05"),
    ):
        check_same(bundle, None, off)


def test_a_mistaken_graph_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = calibrated("embedding_mlp")
    monkeypatch.setattr("seqclass.export.check.TOLERANCE", -1.0)
    for export, name in ((export_onnx, "x.onnx"), (export_torch, "x.pt2")):
        with pytest.raises(AssemblyError, match="nothing was written"):
            export(bundle, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_cut_short_or_of_another_kind_is_refused(
    protein: tuple[Bundle, Path], tmp_path: Path, share: float
) -> None:
    whole = (protein[1] / "model.onnx").read_bytes()
    (tmp_path / "x.onnx").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BundleError, match=r"x\.onnx: .*(damaged|does not say what it predicts)"):
        load_onnx(tmp_path / "x.onnx")
    (tmp_path / "y.onnx").write_text("thesis")
    with pytest.raises(BundleError, match="damaged"):
        load_onnx(tmp_path / "y.onnx")
    with pytest.raises(BundleError, match="there is no such file"):
        load_onnx(tmp_path / "z.onnx")


def test_an_onnx_file_of_another_origin_or_a_newer_version_says_so(
    protein: tuple[Bundle, Path], tmp_path: Path
) -> None:
    import onnx

    proto = onnx.load(protein[1] / "model.onnx")
    told = json.loads(proto.metadata_props[0].value)
    for value, found in (
        (json.dumps(told | {"format": 2}), "version 2, newer than version 1"),
        (json.dumps({key: told[key] for key in told if key != "targets"}), "damaged"),
        ("none", "does not say what it predicts"),
    ):
        proto.metadata_props[0].value = value
        onnx.save(proto, tmp_path / "x.onnx")
        with pytest.raises(BundleError, match=found):
            load_onnx(tmp_path / "x.onnx")


def test_an_export_cannot_be_exported_saved_or_asked_for_gradients(
    protein: tuple[Bundle, Path], tmp_path: Path
) -> None:
    exported = load_onnx(protein[1] / "model.onnx")
    with pytest.raises(AssemblyError, match="exported already"):
        export_onnx(exported, tmp_path / "x.onnx")
    with pytest.raises(BundleError, match="no bundle's model"):
        exported.save(tmp_path / "bundle")
    with pytest.raises(AssemblyError, match="neither logits nor gradients"):
        exported.model(torch.zeros(1, 20, dtype=torch.uint8))


def test_bad_requests_are_refused_before_any_work(tmp_path: Path) -> None:
    bundle = calibrated("deepsea")
    with pytest.raises(AssemblyError, match=r"end in \.onnx"):
        export_onnx(bundle, tmp_path / "model.bin")
    with pytest.raises(AssemblyError, match="residues, where the model takes 200"):
        export_onnx(bundle, tmp_path / "x.onnx", length=100)
    (tmp_path / "x.onnx").write_text("mine")
    with pytest.raises(OutputExistsError):
        export_onnx(bundle, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_text() == "mine"


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("seqclass.export.onnx_export.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r'pip install "seqclass\[onnx\]"'):
        export_onnx(calibrated("kmer_logreg"), tmp_path / "x.onnx")
    (tmp_path / "x.onnx").touch()
    with pytest.raises(MissingPackageError, match=r'pip install "seqclass\[onnx\]"'):
        load_onnx(tmp_path / "x.onnx")


def test_predictions_do_not_replace_the_onnx_file(protein: tuple[Bundle, Path], tmp_path: Path) -> None:
    file = tmp_path / "x.onnx"
    file.write_bytes((protein[1] / "model.onnx").read_bytes())
    (tmp_path / "x.fa").write_text(">s\nMKT\n")
    with pytest.raises(SeqclassError, match=r"not replaced|format|suffix"):
        write_predictions(load_onnx(file), tmp_path / "x.fa", file, force=True)
    assert file.read_bytes() == (protein[1] / "model.onnx").read_bytes()
