import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from seqclass.alphabets import PROTEIN
from seqclass.blocks import CentreMax, DenseHead, OneHotEmbedding, WideResNetStem
from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.data.labels import LabelLayout
from seqclass.data.loader import Batch
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks
from seqclass.data.store import Store, Views
from seqclass.data.tape import read_samples
from seqclass.data.writer import write_store
from seqclass.errors import AssemblyError, OutputExistsError, SeqclassError, StoreError, TrainingError
from seqclass.evaluation.text import sentences
from seqclass.metrics import rank_targets
from seqclass.models import SequenceClassifier, protbert, wrn, wrn_transformer_xl
from seqclass.predict import score_samples
from seqclass.targets import Target
from seqclass.training import Recipe, run_experiment
from seqclass.training.losses import LabelLoss
from seqclass.training.schedules import Schedule
from seqclass.training.task import ClassificationTask

SMALL = ["--model.channels=8", "--model.widths=[8,16]", "--model.strides=[2,2]", "--model.expansion=2"]
SMALL += ["--model.layers=1", "--model.heads=2", "--model.head_size=4", "--model.inner=16", "--model.hidden=16"]
SMALL += ["--model.pool=centre-max", "--data.batch_size=64"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("simulated")
    raw = simulate_peaks(folder / "raw", chromosomes=3, length=40_000)
    return import_peaks(
        folder / "store.h5",
        genome=raw / "genome.fa",
        peaks=raw / "peaks",
        window=200,
        valid_chroms=["chr2"],
        test_chroms=["chr3"],
    )


def fit(store: Store, out: Path, *options: str) -> dict[str, object]:
    arguments = ["fit", f"--data.store={store.path}", f"--out={out}", "--trainer.max_epochs=2", *SMALL, *options]
    return run_experiment(wrn_transformer_xl, name="test", arguments=arguments)


def test_a_run_leaves_all_it_promises(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    metrics = fit(store, out)
    assert "\n".join(sentences(metrics)) in capsys.readouterr().out
    for name in ("config.yaml", "checkpoints/best.ckpt", "bundle/config.json", "report/per_target.tsv", "logs"):
        assert (out / name).exists(), name
    assert list((out / "logs").glob("events.out.tfevents.*"))
    written = json.loads((out / "report" / "metrics.json").read_text())
    assert written["model"] == json.loads(json.dumps(metrics["model"]))
    provenance = written["provenance"]
    assert provenance["data"]["sha256"] == store.checksum()
    assert provenance["data"]["label_rule"] == "auto"
    assert provenance["data"]["keep"] == "all"
    assert provenance["split"] == "test"
    assert provenance["model"]["seed"] == 0
    assert {"seqclass", "torch", "numpy"} <= set(provenance["versions"])
    assert "strands" in provenance
    assert provenance["command"]


def test_the_same_seed_gives_the_same_metrics_to_the_last_digit(store: Store, tmp_path: Path) -> None:
    runs = [fit(store, tmp_path / name, f"--seed={seed}") for name, seed in (("a", 3), ("b", 3), ("c", 4))]
    assert runs[0]["model"] == runs[1]["model"]
    assert runs[0]["per_target"] == runs[1]["per_target"]
    assert runs[0]["model"] != runs[2]["model"]
    weights = [(tmp_path / name / "bundle" / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_a_saved_configuration_repeats_the_run(store: Store, tmp_path: Path) -> None:
    first = fit(store, tmp_path / "a", "--seed=5", "--recipe.learning_rate=0.002")
    config = ["fit", f"--config={tmp_path / 'a' / 'config.yaml'}", f"--out={tmp_path / 'b'}"]
    assert run_experiment(wrn_transformer_xl, name="test", arguments=config)["model"] == first["model"]
    # It says which model it is for, to the command that trains any of them.
    main([*config[:2], f"--out={tmp_path / 'c'}"])
    again = json.loads((tmp_path / "c" / "report" / "metrics.json").read_text())
    assert again["model"] == first["model"]


def test_a_configuration_for_another_model_is_refused(store: Store, tmp_path: Path) -> None:
    arguments = ["fit", f"--data.store={store.path}", f"--out={tmp_path / 'run'}", "--model_name=deepsea"]
    with pytest.raises(TrainingError, match="for the model 'deepsea', and this one is 'wrn'"):
        run_experiment(wrn, name="test", arguments=arguments)
    assert not (tmp_path / "run").exists()


def test_training_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    raw = simulate_peaks(tmp_path / "raw", chromosomes=2, length=400_000, sharpness=1)
    peaks = {"genome": raw / "genome.fa", "peaks": raw / "peaks", "window": 200}
    store = import_peaks(tmp_path / "store.h5", **peaks, valid_chroms=["chr2"])
    options = [
        "--trainer.max_epochs=6",
        "--recipe.learning_rate=0.004",
        "--model.channels=48",
        "--model.widths=[48,64]",
    ]
    assert fit(store, tmp_path / "run", *options, "--model.embedding=one-hot") == {}
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in bundle.model.state_dict().items():
        assert torch.equal(value, best[f"model.{name}"]), name
    samples = store.samples("valid")
    labels = store.labels(samples)
    precision = rank_targets(labels, score_samples(bundle, store, samples)).average_precision
    assert precision.mean() > 3 * labels.mean()
    assert bundle.provenance["valid_average_precision"] == pytest.approx(precision.mean(), abs=0.02)


def test_a_fresh_model_starts_from_the_prevalence_of_train(store: Store, tmp_path: Path) -> None:
    fit(store, tmp_path / "run", "--recipe.learning_rate=0.0", "--evaluate=false")
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    bias = torch.sigmoid(bundle.model.head.out.bias).detach().numpy()
    count = len(store.samples("train"))
    np.testing.assert_allclose(bias, (store.positives("train") + 0.5) / (count + 1), rtol=1e-4)
    assert list(bundle.train_positives) == store.positives("train").tolist()


def test_a_run_that_exists_is_kept_unless_forced(store: Store, tmp_path: Path) -> None:
    quick = ["--evaluate=false", "--trainer.max_epochs=1"]
    fit(store, tmp_path / "run", *quick)
    (tmp_path / "run" / "old").touch()
    with pytest.raises(OutputExistsError, match="--force"):
        fit(store, tmp_path / "run", *quick)
    missing = ["fit", "--data.store=none.h5", f"--out={tmp_path / 'run'}", "--force"]
    with pytest.raises(StoreError, match="no such file"):
        run_experiment(wrn_transformer_xl, name="test", arguments=missing)
    assert (tmp_path / "run" / "old").exists()
    fit(store, tmp_path / "run", "--force", *quick)
    assert not (tmp_path / "run" / "old").exists()


@pytest.mark.parametrize("option", ["--trainer.max_steps=1", "--trainer.fast_dev_run=true"])
def test_a_run_that_ends_before_its_first_validation_says_so(store: Store, tmp_path: Path, option: str) -> None:
    with pytest.raises(TrainingError, match="ended before its first validation"):
        fit(store, tmp_path / "run", option)


def test_force_replaces_nothing_but_runs(store: Store, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    with pytest.raises(SeqclassError, match=r"holds other things than config\.yaml"):
        fit(store, tmp_path / "thesis", "--force")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    inside = shutil.copy(store.path, tmp_path / "run" / "store.h5")
    with pytest.raises(SeqclassError, match="which is to be read, so it is not replaced"):
        fit(Store(inside), tmp_path / "run", "--force")
    assert (tmp_path / "thesis" / "chapter.tex").exists()
    assert (tmp_path / "run" / "store.h5").exists()


@pytest.mark.slow
def test_two_processes_share_the_epochs(store: Store, tmp_path: Path) -> None:
    script = tmp_path / "experiment.py"
    script.write_text(
        "from seqclass.models import wrn_transformer_xl\n"
        "from seqclass.training import run_experiment\n"
        "run_experiment(wrn_transformer_xl, name='two')\n"
    )
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu", "--trainer.max_epochs=1"]
    command = [sys.executable, str(script), "fit", f"--data.store={store.path}", *SMALL, *options]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stderr
    bundle = Bundle.load(tmp_path / "runs" / "two" / "bundle")
    # 200 training samples, 64 a step on each of two processes.
    assert bundle.provenance["steps"] == 2
    assert (tmp_path / "runs" / "two" / "report" / "metrics.json").exists()


def test_a_loss_that_is_no_number_stops_with_a_remedy(store: Store, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf).*learning_rate"):
        fit(store, tmp_path / "run", "--recipe.learning_rate=1e30", "--recipe.schedule.warmup_steps=0")


def test_a_run_that_fails_brings_back_the_one_it_was_to_replace(store: Store, tmp_path: Path) -> None:
    fit(store, tmp_path / "run", "--evaluate=false", "--trainer.max_epochs=1")
    before = (tmp_path / "run" / "bundle" / "model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="the loss became"):
        fit(store, tmp_path / "run", "--force", "--recipe.learning_rate=1e30", "--recipe.schedule.warmup_steps=0")
    assert (tmp_path / "run" / "bundle" / "model.safetensors").read_bytes() == before
    assert os.listdir(tmp_path) == ["run"]


def test_an_unregistered_block_is_refused_before_training(store: Store, tmp_path: Path) -> None:
    class Mine(CentreMax):
        pass

    def model(num_targets: int) -> SequenceClassifier:
        stem = WideResNetStem(4, 8, (8,), (2,), 2)
        return SequenceClassifier(OneHotEmbedding(), stem, None, DenseHead(8, num_targets, Mine(4), 8))

    with pytest.raises(AssemblyError, match="Mine is not registered"):
        run_experiment(model, name="test", arguments=["fit", f"--data.store={store.path}", f"--out={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()


def test_validation_may_be_rarer_than_epochs(store: Store, tmp_path: Path) -> None:
    fit(store, tmp_path / "run", "--trainer.check_val_every_n_epoch=2", "--evaluate=false")
    assert Bundle.load(tmp_path / "run" / "bundle").provenance["kept_epoch"] == 2


def task_of(bundle: Bundle, recipe: Recipe) -> ClassificationTask:
    return ClassificationTask(bundle, LabelLayout(bundle.targets), recipe)


def test_biases_and_norms_do_not_decay(make_bundle: Callable[..., Bundle]) -> None:
    task = task_of(make_bundle(), Recipe())
    task.trainer = SimpleNamespace(estimated_stepping_batches=10, precision="32-true")
    groups = task.configure_optimizers()["optimizer"].param_groups
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    decayed, others = ([names[id(parameter)] for parameter in group["params"]] for group in groups)
    assert [group["weight_decay"] for group in groups] == [0.01, 0]
    assert not [name for name in decayed if "bias" in name or "norm" in name]
    assert not [name for name in others if "bias" not in name and "norm" not in name]


def test_the_rate_rises_then_falls_to_nothing(make_bundle: Callable[..., Bundle]) -> None:
    task = task_of(make_bundle(), Recipe(learning_rate=0.5, schedule=Schedule(warmup_steps=10)))
    task.trainer = SimpleNamespace(estimated_stepping_batches=200, precision="32-true")
    configured = task.configure_optimizers()
    rates = []
    for _ in range(200):
        rates.append(configured["optimizer"].param_groups[0]["lr"])
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    assert np.argmax(rates) == 10
    assert max(rates) == pytest.approx(0.5)
    assert rates[:10] == pytest.approx([0.5 * step / 11 for step in range(1, 11)])
    middle = 0.25 * (1 + np.cos(np.pi * (105 - 10) / 190))
    assert rates[105] == pytest.approx(middle)
    assert configured["optimizer"].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_a_store_without_validation_samples_is_refused(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store()
    store.split[:] = 0
    with h5py.File(store.path, "r+") as file:
        file["split"][:] = 0
    with pytest.raises(TrainingError, match="no samples to validate on"):
        fit(store, tmp_path / "run")
    with h5py.File(store.path, "r+") as file:
        file["split"][:5] = 1
        file["labels"][:5] = 0
    with pytest.raises(TrainingError, match="no target has both positives and negatives"):
        fit(store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_target_that_train_never_has_is_named_and_the_run_goes_on(
    make_store: Callable[..., Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store()
    with h5py.File(store.path, "r+") as file:
        rows = np.flatnonzero(file["split"][:] == 0)
        packed = file["labels"][:]
        # The second target is the second-highest bit of a row's first byte.
        packed[rows, 0] &= 0b10111111
        file["labels"][:] = packed
    for balance in ("none", "positives", "effective-number"):
        options = [f"--recipe.loss.balance={balance}", "--evaluate=false", "--trainer.max_epochs=1", "--force"]
        fit(Store(store.path), tmp_path / "run", *options)
        assert "warning: 1 of 3 targets have no training example: t1\n" in capsys.readouterr().err
    Bundle.load(tmp_path / "run" / "bundle")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--data.batch_size=0", "a batch of 0 samples"),
        ("--model.heads=0", "1 layers of 16 channels, 0 heads of 4"),
        ("--model.widths=[8,0]", r"a stem of 8 and 8 channels, widths \[8, 0\]"),
        ("--trainer.accelerator=abacus", "the trainer cannot be set up so"),
        ("--seed=-1", "the seed is -1"),
        ("--trainer.limit_val_batches=0", "no epoch would be validated"),
    ],
)
def test_impossible_options_are_one_error_and_leave_no_run(
    store: Store, tmp_path: Path, option: str, message: str
) -> None:
    with pytest.raises(SeqclassError, match=message):
        fit(store, tmp_path / "run", option)
    assert not (tmp_path / "run").exists()


def test_an_experiment_script_prints_its_configuration() -> None:
    script = Path(__file__).parents[1] / "experiments" / "yeast_chip_exo.py"
    command = [sys.executable, str(script), "fit", "--data.store=none.h5", "--model.expansion=8", "--print_config"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "expansion: 8" in ended.stdout
    assert "max_epochs: " in ended.stdout
    assert "learning_rate: 0.001" in ended.stdout


def test_an_experiment_script_says_bad_input_in_one_line(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "experiments" / "yeast_chip_exo.py"
    command = [sys.executable, str(script), "fit", "--data.store=none.h5"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "error: none.h5: there is no such file. Make one with 'seqclass data import'.\n"
    assert os.listdir(tmp_path) == []


def test_the_loss_leaves_missing_labels_out_and_sums_the_questions() -> None:
    targets = [Target("A", "place"), Target("t"), Target("B", "place"), Target("u"), Target("C", "place")]
    layout = LabelLayout(targets, ("place",), missing=True)
    binary = np.array([[1, -1], [0, 1], [-1, -1], [1, 0]])
    classes = np.array([[2], [-1], [0], [1]])
    logits = torch.randn(4, 5, requires_grad=True)
    batch = Batch(torch.zeros(4, 1), None, torch.from_numpy(layout.pack(binary, classes)), torch.arange(4), 1.0)
    chances = torch.sigmoid(logits[:, [1, 3]])
    known = [(0, 0, 1), (1, 0, 0), (3, 0, 1), (1, 1, 1), (3, 1, 0)]
    each = [-(chances[row, column] if label else 1 - chances[row, column]).log() for row, column, label in known]
    shares = torch.softmax(logits[:, [0, 2, 4]], dim=1)
    of_class = [-shares[row, label].log() for row, label in ((0, 2), (2, 0), (3, 1))]
    expected = torch.stack(each).mean() + torch.stack(of_class).mean()
    torch.testing.assert_close(LabelLoss(layout)(logits, batch), expected)
    nothing = LabelLayout(targets, ("place",), missing=True).pack(np.full((4, 2), -1), np.full((4, 1), -1))
    unlabelled = batch._replace(packed=torch.from_numpy(nothing))
    assert LabelLoss(layout)(logits, unlabelled).item() == 0
    LabelLoss(layout)(logits, unlabelled).backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.fixture(scope="module")
def proteins(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Proteins of 8 to 60 residues: the class is the letter that abounds, the acid flag is mostly missing."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("proteins") / "store.h5"
    lengths = generator.integers(8, 60, 600)
    kind = generator.integers(0, 3, 600)
    acid = generator.integers(0, 2, 600)
    with write_store(path, PROTEIN) as writer:
        for number, length in enumerate(lengths):
            tokens = generator.integers(0, 20, length)
            tokens[generator.random(length) < 0.4] = kind[number]
            tokens[generator.random(length) < 0.3 * acid[number]] = 7
            writer.add_contigs([f"P{number}"], tokens.astype(np.uint8))
        writer.set_targets([*(Target(name, "family") for name in "ABC"), Target("acid")], ["family"], missing=True)
        known = np.where(generator.random(600) < 0.5, acid, -1)
        family = np.where(generator.random(600) < 0.9, kind, -1)
        writer.add_labels(writer.layout.pack(known[:, None], family[:, None]))
        split = np.resize(np.array([0, 0, 0, 1, 2], np.uint8), 600)
        writer.set_samples(Views(np.arange(600), np.zeros(600, int), lengths, np.ones(600, int)), split)
        writer.finish({"source": "test", "notes": []})
    return Store(path)


PROTEIN_MODEL = ["--model.strides=[1,1]", "--model.embedding=one-hot"]


def test_classes_and_flags_of_ragged_proteins_are_learned_together(proteins: Store, tmp_path: Path) -> None:
    options = [*PROTEIN_MODEL, "--trainer.max_epochs=6", "--recipe.learning_rate=0.01", "--data.batch_size=32"]
    metrics = fit(proteins, tmp_path / "run", *options, "--trainer.precision=32-true", "--data.mask=0.05")
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    assert list(bundle.exclusive) == ["family"]
    accuracy = metrics["accuracy"]["family"]
    assert accuracy["model"]["accuracy"] > 0.9 > 0.6 > accuracy["prevalence"]["accuracy"]
    samples = proteins.samples("test")
    labels = proteins.known_labels(samples)
    assert accuracy["model"]["samples"] == (labels[:, 0] >= 0).sum() < len(samples)
    scores = score_samples(bundle, proteins, samples, calibrated=False)
    np.testing.assert_allclose(scores[:, :3].sum(axis=1), 1, rtol=1e-5)
    with torch.inference_mode():
        for row, sample in list(enumerate(samples))[:20]:
            tokens = torch.from_numpy(read_samples(proteins, [sample])[0])
            logits = bundle.model(tokens)[0]
            alone = torch.cat([torch.softmax(logits[:3], dim=0), torch.sigmoid(logits[3:])])
            np.testing.assert_allclose(scores[row], alone, atol=2e-5)
    by_name = {row["name"]: row for row in metrics["per_target"]}
    assert by_name["acid"]["positives"] == (labels[:, 3] == 1).sum()
    assert by_name["acid"]["auroc"]["model"] > 0.8


def test_a_fresh_classifier_predicts_the_shares_of_the_classes(proteins: Store, tmp_path: Path) -> None:
    fit(proteins, tmp_path / "run", *PROTEIN_MODEL, "--recipe.learning_rate=0.0", "--evaluate=false")
    bias = Bundle.load(tmp_path / "run" / "bundle").model.head.out.bias.detach()
    labels = proteins.known_labels(proteins.samples("train"))
    shares = [(labels[:, column] == 1).sum() / (labels[:, column] >= 0).sum() for column in range(4)]
    np.testing.assert_allclose(torch.softmax(bias[:3], dim=0), shares[:3], atol=0.01)
    assert torch.sigmoid(bias[3]).item() == pytest.approx(shares[3], abs=0.01)


def test_a_flattening_head_refuses_samples_of_many_lengths(proteins: Store, tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="samples differ in length"):
        fit(proteins, tmp_path / "run", "--model.pool=flatten")


def test_samples_longer_than_a_language_model_takes_are_counted_before_training(
    proteins: Store, tmp_path: Path
) -> None:
    sizes = ["--model.layers=1", "--model.width=16", "--model.heads=2", "--model.inner=16", "--model.positions=42"]
    too_long = int((proteins.views.length > 40).sum())
    message = f"{too_long} of 600 samples are longer than the 40 residues that test takes; the longest has 59"
    out = tmp_path / "run"
    with pytest.raises(TrainingError, match=message):
        run_experiment(
            protbert, name="test", arguments=["fit", f"--data.store={proteins.path}", f"--out={out}", *sizes]
        )
    assert not out.exists()
