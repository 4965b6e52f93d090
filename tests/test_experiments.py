"""Experiments as a newcomer runs them: the demo, and every script's rehearsal on simulated files of the real layout."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from seqclass.bundle import Bundle
from seqclass.data.store import Store
from seqclass.errors import TrainingError
from seqclass.training import Rehearsal, run_experiment

ROOT = Path(__file__).parents[1]

# What they import; each stands for the raw layout of the data it is meant for.
SOURCES = {
    "beta_lactamase_embedding_mlp": "embeddings",
    "beta_lactamase_protcnn": "table",
    "deeploc": "deeploc",
    "deeploc_protbert": "deeploc",
    "deepsea_danq": "deepsea",
    "deepsea_reference": "deepsea",
    "deepsea_wrn_bilstm": "deepsea",
    "deepsea_wrn_txl": "deepsea",
    "pfam_protcnn": "pfam",
    "pfam_protenn": "pfam",
    "yeast_ablation": "peaks",
    "yeast_chip_exo": "peaks",
}


def script(name):
    return str(ROOT / "experiments" / f"{name}.py")


def rehearse(name, monkeypatch, folder, *options):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "fit", "--fast", *options])
    runpy.run_path(script(name), run_name="__main__")
    return Path("runs") / f"{name}-fast"


# These stand for the others in the quick tests: each rehearsal takes some five seconds.
QUICK = ("beta_lactamase_embedding_mlp", "beta_lactamase_protcnn", "pfam_protenn")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SOURCES]
)
def test_a_rehearsal_trains_and_judges_on_files_of_the_real_layout(name, tmp_path, monkeypatch):
    run = rehearse(name, monkeypatch, tmp_path)
    store = Store(Path("runs") / f"{name}-fast-data" / "store.h5")
    assert store.provenance["source"] == SOURCES[name]
    assert not {"raw", "store.h5"} - {each.name for each in store.path.parent.iterdir()}
    metrics = json.loads((run / "report" / "metrics.json").read_text())
    assert metrics["samples"] == len(store.distinct(store.samples("test"))) > 0
    assert metrics["provenance"]["model"]["experiment"] == f"{name}-fast"
    bundle = Bundle.load(run / "bundle")
    assert [target.name for target in bundle.targets] == [target.name for target in store.targets]
    assert not (Path("runs") / name).exists()


def test_every_script_that_trains_from_the_command_line_has_a_rehearsal():
    training = {path.stem for path in (ROOT / "experiments").glob("*.py") if "run_experiment(model" in path.read_text()}
    assert training == set(SOURCES)


def test_scripts_are_short_and_say_what_they_need():
    for name in SOURCES:
        text = Path(script(name)).read_text()
        assert len(text.splitlines()) < 80, name
        for heading in ("Data ", "Model ", "Expect ", f"python experiments/{name}.py fit --fast"):
            assert heading in text, (name, heading)


@pytest.mark.parametrize(
    ("name", "sizes", "parameters"),
    [
        ("deepsea_reference", {"num_targets": 919, "length": 1000}, 52_843_119),
        ("deepsea_danq", {"num_targets": 919, "length": 1000}, 46_929_039),
        ("deepsea_wrn_txl", {"num_targets": 919, "length": 1000}, 39_286_287),
        ("pfam_protcnn", {"num_targets": 17_929, "channels": 1100, "bottleneck": 550}, 50_213_679),
        ("beta_lactamase_embedding_mlp", {"num_targets": 5, "vector_size": 1024}, 295_941),
    ],
)
def test_models_have_as_many_parameters_as_published(name, sizes, parameters):
    build = runpy.run_path(script(name))["model"]
    with torch.device("meta"):
        assert sum(weight.numel() for weight in build(**sizes).parameters()) == parameters


def test_a_rehearsal_takes_options_and_replaces_only_with_force(tmp_path, monkeypatch):
    run = rehearse("beta_lactamase_embedding_mlp", monkeypatch, tmp_path, "--trainer.max_epochs=1")
    before = Bundle.load(run / "bundle").provenance
    assert before["epochs"] == 1
    with pytest.raises(SystemExit) as refused:
        rehearse("beta_lactamase_embedding_mlp", monkeypatch, tmp_path)
    assert refused.value.code == 2
    rehearse("beta_lactamase_embedding_mlp", monkeypatch, tmp_path, "--trainer.max_epochs=1", "--force")
    after = Bundle.load(run / "bundle").provenance
    assert after["data"]["sha256"] == before["data"]["sha256"]
    options = ["fit", "--config", str(run / "config.yaml"), "--out", "again"]
    module = runpy.run_path(script("beta_lactamase_embedding_mlp"))
    run_experiment(module["model"], name="again", arguments=options)
    assert Bundle.load("again/bundle").provenance["steps"] == after["steps"]


def test_a_rehearsal_does_not_touch_data_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = runpy.run_path(script("pfam_protcnn"))
    rehearsal = Rehearsal(module["simulate"])
    with pytest.raises(TrainingError, match=r"--fast simulates its data, and --data\.store names mine\.h5"):
        run_experiment(
            module["model"], name="x", rehearsal=rehearsal, arguments=["fit", "--fast", "--data.store=mine.h5"]
        )
    assert not list(tmp_path.iterdir())


def test_without_a_rehearsal_there_is_no_fast(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = runpy.run_path(script("pfam_protcnn"))
    with pytest.raises(TrainingError, match="--fast"):
        run_experiment(module["model"], name="x", arguments=["fit", "--fast", "--data.store=mine.h5"])


@pytest.mark.slow
def test_the_demo_learns_explains_and_says_what_it_wrote(tmp_path: Path) -> None:
    """That the k-mer baseline is beaten and the motifs are found is asserted by the demo itself."""
    command = [sys.executable, str(ROOT / "experiments" / "demo.py")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stderr
    run = tmp_path / "runs" / "demo"
    pictures = ("report/curves.png", "saliency.png", "grad-cam.png")
    for name in ("bundle", "report/metrics.json", "report/per_target.tsv", *pictures):
        assert (run / name).exists()
        assert f"runs/demo/{name}" in ended.stdout
    assert "tensorboard --logdir runs/demo/logs" in ended.stdout
    assert list((run / "logs").glob("events.out.tfevents.*"))
    metrics = json.loads((run / "report" / "metrics.json").read_text())
    precision = {name: each["average_precision"]["mean"] for name, each in metrics["baselines"].items()}
    assert precision["prevalence"] < precision["kmer_logistic"] < metrics["model"]["average_precision"]["mean"]
    assert metrics["model"]["average_precision"]["mean"] < precision["true_motifs"] + 0.02
    assert [row["name"] for row in metrics["per_target"]] == ["Cbf1", "Gcn4", "Rap1", "Reb1", "Reb1+Rap1"]
    for name in pictures:
        assert imread(run / name)[..., :3].std() > 0.05
