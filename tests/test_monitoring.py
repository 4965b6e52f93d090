"""What TensorBoard shows of a run is what happened in it."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from sklearn.metrics import average_precision_score, confusion_matrix, recall_score, roc_auc_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import nn
from torch.utils.data import DataLoader

from seqclass.alphabets import PROTEIN
from seqclass.data.loader import Batch, StoreLoader
from seqclass.data.store import Store, Views
from seqclass.data.writer import write_store
from seqclass.errors import TrainingError
from seqclass.evaluation.confusion import OTHERS, confusion
from seqclass.models import wrn_transformer_xl
from seqclass.targets import Target
from seqclass.training import gradient_flow, loggers, run_experiment
from seqclass.training.allowance import Allowance
from seqclass.training.data import StoreDataModule
from seqclass.training.gradient_flow import GradientFlow, Magnitudes, draw_magnitudes, layers, magnitudes, merge
from seqclass.training.reporting import RunProgressBar, duration
from seqclass.training.schedules import Schedule
from seqclass.training.validation_details import WORST

MODEL = ["--model.channels=8", "--model.widths=[8,8]", "--model.strides=[1,1]", "--model.expansion=2"]
MODEL += ["--model.layers=1", "--model.heads=2", "--model.head_size=4", "--model.inner=8", "--model.hidden=8"]
MODEL += ["--model.pool=centre-max", "--model.embedding=one-hot"]
RECIPE = ["--data.batch_size=16", "--recipe.learning_rate=0.01", "--trainer.precision=32-true", "--evaluate=false"]
RECIPE += ["--trainer.max_epochs=2", "--trainer.log_every_n_steps=1", "--trainer.accelerator=cpu"]
FLAGS, CLASSES = 14, 5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """240 proteins of 8 to 60 residues with 14 flags in two groups, and one of five families."""
    path = tmp_path_factory.mktemp("store") / "proteins.h5"
    generator = np.random.default_rng(1)
    lengths = generator.integers(8, 60, 240)
    flags, classes = generator.integers(0, 2, (240, FLAGS)), generator.integers(0, CLASSES, (240, 1))
    with write_store(path, PROTEIN) as writer:
        for number, length in enumerate(lengths):
            writer.add_contigs([f"P{number}"], generator.integers(0, 20, length).astype(np.uint8))
        targets = [Target(f"t{number}", "sites" if number < 6 else "marks") for number in range(FLAGS)]
        targets += [Target(f"family{number}", "family") for number in range(CLASSES)]
        writer.set_targets(targets, ["family"])
        writer.add_labels(writer.layout.pack(flags, classes))
        split = np.resize(np.array([0, 0, 1], np.uint8), 240)
        writer.set_samples(Views(np.arange(240), np.zeros(240, int), lengths, np.ones(240, int)), split)
        writer.finish({"source": "test", "notes": []})
    return Store(path)


def fit(store: Store, out: Path, *options: str) -> Path:
    arguments = ["fit", f"--data.store={store.path}", f"--out={out}", *MODEL, *RECIPE, *options]
    run_experiment(wrn_transformer_xl, name="test", arguments=arguments)
    return out


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(store, tmp_path_factory.mktemp("run") / "run", "--figure_steps=5")


@pytest.fixture(scope="module")
def events(run: Path) -> EventAccumulator:
    everything = {"images": 0, "scalars": 0, "histograms": 0, "tensors": 0}
    return EventAccumulator(str(run / "logs"), size_guidance=everything).Reload()


def values(events: EventAccumulator, tag: str) -> list[float]:
    return [event.value for event in events.Scalars(tag)]


@pytest.fixture(scope="module")
def answers(store: Store, run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of all targets on validation after the last epoch, one sample at a time."""
    model = wrn_transformer_xl(
        num_targets=store.num_targets,
        alphabet="protein",
        length=None,
        channels=8,
        widths=(8, 8),
        strides=(1, 1),
        expansion=2,
        layers=1,
        heads=2,
        head_size=4,
        inner=8,
        hidden=8,
        pool="centre-max",
        embedding="one-hot",
    ).eval()
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
    samples = store.samples("valid")
    rows = []
    for sample in samples:
        loader = StoreDataModule(str(store.path))._loader("valid")
        batch = next(iter(type(loader)(store, np.array([sample]), 1)))
        with torch.no_grad():
            logits = model(batch.inputs, batch.mask)[0]
        rows.append(torch.cat([logits[:FLAGS].sigmoid(), logits[FLAGS:].softmax(0)]).numpy())
    return store.known_labels(samples), np.stack(rows)


def test_the_learning_rate_shown_is_the_schedules(events: EventAccumulator) -> None:
    shown = values(events, "train/learning_rate")
    expected = [0.01 * Schedule().factor(step, len(shown)) for step in range(len(shown))]
    assert len(set(shown)) > 5
    np.testing.assert_allclose(shown, expected, rtol=1e-5)


def test_each_depth_has_its_own_learning_rate(store: Store, tmp_path: Path) -> None:
    out = fit(store, tmp_path / "run", "--recipe.optimiser.layer_decay=.5", "--figure_steps=0")
    events = EventAccumulator(str(out / "logs")).Reload()
    head, below = (np.array(values(events, f"train/learning_rate/depth_{depth}")) for depth in (0, 1))
    np.testing.assert_allclose(below, head / 2, rtol=1e-5)
    np.testing.assert_array_equal(values(events, "train/learning_rate"), head.astype(np.float32))
    assert "gradient_flow" not in events.Tags()["images"]


def test_padding_and_residues_are_those_of_the_batches(store: Store, events: EventAccumulator) -> None:
    loader = StoreDataModule(str(store.path), batch_size=16).train_dataloader()
    batches = [batch for _ in range(2) for batch in loader]
    padding = [0.0 if batch.mask is None else 1 - batch.mask.double().mean().item() for batch in batches]
    np.testing.assert_allclose(values(events, "train/padding_share"), padding, atol=1e-6)
    lengths = store.views.length
    per_sample = [lengths[batch.samples.numpy()].mean() for batch in batches]
    rates = (np.array(values(events, f"train/{what}_per_second")) for what in ("tokens", "samples"))
    tokens, samples = rates
    np.testing.assert_allclose(tokens / samples, per_sample, rtol=1e-5)
    assert len(batches) == len(samples)


def test_the_speed_shown_adds_up_to_the_time_that_passed(store: Store, tmp_path: Path) -> None:
    begin = time.time()
    out = fit(store, tmp_path / "run", "--figure_steps=0")
    passed = time.time() - begin
    events = EventAccumulator(str(out / "logs")).Reload()
    loader = StoreDataModule(str(store.path), batch_size=16).train_dataloader()
    sizes = [len(batch.samples) for _ in range(2) for batch in loader]
    seconds = sum(size / speed for size, speed in zip(sizes, values(events, "train/samples_per_second"), strict=True))
    walls = [event.wall_time for event in events.Scalars("train/loss")]
    # The first step began before the first event, and validation and checkpoints lie between some.
    assert 0.2 * (walls[-1] - walls[0]) < seconds < passed
    assert begin < walls[0] < walls[-1] < begin + passed


def test_waiting_for_data_is_seen(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = StoreLoader._batches

    def slow(self: StoreLoader, *arguments: object) -> Iterator[Batch]:
        for batch in batches(self, *arguments):
            time.sleep(0.3)
            yield batch

    monkeypatch.setattr(StoreLoader, "_batches", slow)
    out = fit(store, tmp_path / "run", "--trainer.max_epochs=1", "--figure_steps=0")
    events = EventAccumulator(str(out / "logs")).Reload()
    # The last batch of an epoch was fetched before the step before it.
    shares = np.array(values(events, "train/data_wait_share"))[:-1]
    speeds = np.array(values(events, "train/samples_per_second"))[:-1]
    sizes = [len(batch.samples) for batch in StoreDataModule(str(store.path), batch_size=16).train_dataloader()]
    waited = shares * np.array(sizes[:-1]) / speeds
    assert 0.29 < np.median(waited) < 0.6


def test_groups_and_worst_targets_are_those_of_scikit_learn(
    events: EventAccumulator, answers: tuple[np.ndarray, np.ndarray]
) -> None:
    labels, scores = answers
    precision = np.array([average_precision_score(labels[:, t], scores[:, t]) for t in range(FLAGS)])
    auroc = np.array([roc_auc_score(labels[:, t], scores[:, t]) for t in range(FLAGS)])
    for group, members in (("sites", slice(0, 6)), ("marks", slice(6, FLAGS))):
        shown = values(events, f"valid_groups/average_precision/{group}")
        assert shown[-1] == pytest.approx(precision[members].mean(), abs=1e-4)
        assert values(events, f"valid_groups/auroc/{group}")[-1] == pytest.approx(auroc[members].mean(), abs=1e-4)
    assert values(events, "valid/average_precision")[-1] == pytest.approx(precision.mean(), abs=1e-4)
    for target in np.argsort(precision)[:WORST]:
        shown = values(events, f"worst_targets/average_precision/t{target}")
        assert shown[-1] == pytest.approx(precision[target], abs=1e-4)
    first = [tag for tag in events.Tags()["scalars"] if tag.startswith("worst_targets/average_precision/")]
    at_first = [tag for tag in first if len(values(events, tag)) == 2]
    assert len(at_first) == WORST
    truth, guess = labels[:, FLAGS:].argmax(1), scores[:, FLAGS:].argmax(1)
    assert values(events, "valid/accuracy")[-1] == pytest.approx((truth == guess).mean(), abs=1e-6)
    recalls = recall_score(truth, guess, average=None)
    for number, recall in enumerate(recalls):
        tag = f"worst_targets/recall/family/family{number}"
        assert values(events, tag)[-1] == pytest.approx(recall, abs=1e-6)


def test_metrics_stand_against_step_epoch_and_time(events: EventAccumulator) -> None:
    by_step, by_epoch = events.Scalars("valid/average_precision"), events.Scalars("valid_by_epoch/average_precision")
    assert [event.step for event in by_epoch] == [1, 2]
    worst = [tag for tag in events.Tags()["scalars"] if tag.startswith("worst_targets/")]
    assert len(worst) > WORST
    for tag in ("valid_groups/average_precision/sites", "valid_groups/auroc/marks", *worst):
        again = events.Scalars(tag.replace("/", "_by_epoch/", 1))
        assert [event.value for event in again] == values(events, tag)
        assert {event.step for event in again} <= {1, 2}
    assert [event.value for event in by_epoch] == [event.value for event in by_step]
    steps = len(events.Scalars("train/loss")) // 2
    assert [event.step for event in by_step] == [steps - 1, 2 * steps - 1]
    epochs = {event.step: event.value for event in events.Scalars("epoch")}
    assert [epochs[event.step] for event in by_step] == [0, 1]
    assert abs(by_step[-1].wall_time - time.time()) < 3600


def test_pictures_and_histograms_are_there(events: EventAccumulator) -> None:
    wanted = {"gradient_flow", "weight_magnitude", "valid_curves", "valid_confusion", "valid_confusion/family"}
    assert wanted <= set(events.Tags()["images"])
    for tag in wanted:
        picture = Image.open(io.BytesIO(events.Images(tag)[0].encoded_image_string)).convert("L")
        assert min(picture.size) > 150
        assert len(np.unique(np.asarray(picture))) > 10
    names = {tag.removeprefix("weights/") for tag in events.Tags()["histograms"] if tag.startswith("weights/")}
    assert names == {tag.removeprefix("gradients/") for tag in events.Tags()["histograms"] if "gradients/" in tag}
    assert len(names) > 10
    assert events.Histograms("weights/head.out")[0].histogram_value.num > 0


def test_hyper_parameters_and_stages_are_there(run: Path, events: EventAccumulator) -> None:
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    given = HParamsPluginData.FromString(content).session_start_info.hparams
    assert given["recipe.learning_rate"].number_value == 0.01
    assert given["model.pool"].string_value == "centre-max"
    experiment = HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/experiment").plugin_data.content)
    named = {info.name.tag for info in experiment.experiment.metric_infos}
    assert {"valid/average_precision", "best/accuracy", "test/average_precision"} <= named
    assert max(values(events, "valid/accuracy")) == values(events, "best/accuracy")[-1]
    table = events.Tensors("model/text_summary")[0].tensor_proto.string_val[0].decode()
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    weights = [v for k, v in state.items() if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    whole = table.splitlines()[-1].split(" | ")
    assert whole[0] == "whole model"
    assert int(whole[3].replace(",", "")) <= sum(v.numel() for v in weights)
    assert int(whole[3].replace(",", "")) > 0


def test_watching_changes_nothing(store: Store, run: Path, tmp_path: Path) -> None:
    other = fit(store, tmp_path / "run", "--figure_steps=0", "--logger=csv", "--trainer.log_every_n_steps=3")
    one, two = (torch.load(each / "checkpoints" / "last.ckpt", weights_only=True) for each in (run, other))
    assert all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())


def test_scalars_go_to_a_csv_file_and_going_on_keeps_it(store: Store, tmp_path: Path) -> None:
    out = fit(store, tmp_path / "run", "--logger=csv")
    with (out / "logs" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"train/loss", "train/learning_rate", "train/tokens_per_second", "valid/average_precision"} <= set(rows[0])
    losses = [row["step"] for row in rows if row["train/loss"]]
    assert losses == [str(step) for step in range(len(losses))]
    fit(store, out, "--logger=csv", "--trainer.max_epochs=3", "--resume")
    with (out / "logs" / "metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == rows
    with (out / "logs" / f"from_step_{len(losses)}" / "metrics.csv").open() as file:
        assert min(int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]) == len(losses)


def test_a_logger_that_is_not_installed_is_named(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"wandb.*not installed.*pip install wandb"):
        fit(store, tmp_path / "run", "--logger=wandb")
    assert not (tmp_path / "run").exists()


def test_a_profile_is_a_trace_of_five_steps(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = fit(store, tmp_path / "run", "--profile", "--figure_steps=0")
    trace = json.loads((out / "logs" / "trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in trace if str(event.get("name", "")).startswith("ProfilerStep#")}
    assert len(steps) == 5
    assert any("aten::convolution" in str(event.get("name")) for event in trace)
    short = fit(store, tmp_path / "short", "--profile", "--figure_steps=0", "--data.batch_size=100")
    assert not (short / "logs" / "trace.json").exists()
    assert "no trace: training ended" in capfd.readouterr().err


def test_magnitudes_are_those_computed_by_hand() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 4))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0, 3.0], [0.0, 0.0, -6.0]]))
        model[2].weight.zero_()
    found = magnitudes(layers(model))
    assert found.names == ["0", "2"]
    assert found.mean.tolist() == [2.0, 0.0]
    assert found.largest.tolist() == [6.0, 0.0]


class _Known(pl.LightningModule):
    """Its gradient is the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(4, 1, bias=False)

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        return self.model(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def test_gradient_flow_is_drawn_every_n_steps_from_gradients_before_clipping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, Magnitudes]] = []
    draw = draw_magnitudes

    def watch(found: Magnitudes, title: str) -> object:
        drawn.append((title, found))
        return draw(found, title)

    monkeypatch.setattr(gradient_flow, "draw_magnitudes", watch)
    batches = torch.randn(10, 8, 4) * 100
    trainer = pl.Trainer(
        max_epochs=1,
        logger=TensorBoardLogger(tmp_path),
        callbacks=[GradientFlow(4, Allowance(share=1e9))],
        log_every_n_steps=2,
        gradient_clip_val=0.1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(_Known(), DataLoader(batches, batch_size=None))
    flows = {title: found for title, found in drawn if title.startswith("Gradient")}
    assert list(flows) == [f"Gradient flow at step {step}" for step in (1, 3, 7)]
    for step, found in zip((1, 3, 7), flows.values(), strict=True):
        gradient = batches[step].mean(dim=0).abs()
        assert found.mean[0] == pytest.approx(gradient.mean().item(), rel=1e-5)
        assert found.largest[0] == pytest.approx(gradient.max().item(), rel=1e-5)


def test_names_of_many_layers_do_not_overlap_or_leave_the_figure() -> None:
    names = [f"encoder.layers.{number}.feed_forward.{part}" for number in range(24) for part in (0, 2)]
    figure = draw_magnitudes(Magnitudes(names, np.full(48, 0.1), np.ones(48), np.ones(48)), "Gradient flow")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in figure.axes[0].get_yticklabels()]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))
    assert all(box.x0 >= 0 for box in boxes)


def test_too_many_layers_share_bars_without_losing_any() -> None:
    names = [f"layers.{number}.attention.{part}" for number in range(30) for part in ("q", "k", "v", "out")]
    generator = np.random.default_rng(0)
    mean, sizes = generator.random(120), generator.integers(1, 9, 120).astype(float)
    merged = merge(Magnitudes(names, mean, mean * 2, sizes))
    assert merged.names == [f"layers.{number}.attention" for number in range(30)]
    assert (merged.mean * merged.sizes).sum() == pytest.approx((mean * sizes).sum())
    np.testing.assert_allclose(merged.largest, (mean * 2).reshape(30, 4).max(axis=1))


def test_pictures_wait_until_they_are_within_their_share() -> None:
    now = 0.0
    allowance = Allowance(share=0.02, clock=lambda: now)
    drawn = []
    for _ in range(1000):
        now += 1
        if allowance.allows("picture"):
            with allowance.spend("picture"):
                now += 2
            drawn.append(now)
    assert len(drawn) > 5
    # The first is drawn at once; from then on, never more than the share.
    assert all(2 * (number + 1) <= 0.02 * when for number, when in enumerate(drawn) if number)


def test_confusion_is_that_of_scikit_learn_and_rare_mistakes_are_put_together() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 50, 3000)
    guess = np.where(generator.random(3000) < 0.5, truth, generator.integers(0, 50, 3000))
    names = [f"c{number}" for number in range(50)]
    counts, shown = confusion(truth, guess, names, most=50)
    np.testing.assert_array_equal(counts, confusion_matrix(truth, guess, labels=range(50)))
    assert shown == names
    fewer, shown = confusion(truth, guess, names, most=10)
    assert shown[-1] == OTHERS
    kept = [names.index(name) for name in shown[:-1]]
    np.testing.assert_array_equal(fewer[:-1, :-1], counts[np.ix_(kept, kept)])
    assert fewer.sum() == 3000


def test_the_bar_shows_the_metric_that_decides_and_when_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = RunProgressBar("valid/average_precision")
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    metrics = {"train/loss": torch.tensor(1.0), "valid/average_precision": torch.tensor(0.25)}
    trainer = SimpleNamespace(callback_metrics=metrics, global_step=50, estimated_stepping_batches=5000)
    assert bar.get_metrics(trainer, None) == {"validation average precision": 0.25, "run ends in": "2 h 45 min"}
    assert [duration(seconds) for seconds in (45, 720, 11100)] == ["45 s", "12 min", "3 h 5 min"]
