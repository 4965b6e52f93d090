"""Curves of several runs: the numbers that were logged, at their steps and at their times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from seqclass.errors import TrainingError, UnknownNameError
from seqclass.training.run_curves import draw_runs, read_curve

BEGAN = 1_000_000.0
POINTS = {"valid/loss": [0.9, 0.5, 0.4], "valid/auroc": [0.5, 0.7, 0.8]}


def log_run(folder: Path, pace: float) -> Path:
    """A run with a validation every 10 steps, each `pace` seconds after the one before."""
    with SummaryWriter(str(folder / "logs")) as writer:
        writer.add_scalar("train/loss", 1.0, 0, walltime=BEGAN)
        for tag, values in POINTS.items():
            for number, value in enumerate(values, start=1):
                writer.add_scalar(tag, value, 10 * number - 1, walltime=BEGAN + pace * number)
    return folder


def test_a_curve_holds_what_was_logged_at_its_step_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: BEGAN)
    curve = read_curve(log_run(tmp_path / "run", pace=5), "valid/loss")
    assert curve.steps.tolist() == [9, 19, 29]
    assert curve.seconds.tolist() == [5, 10, 15]
    np.testing.assert_allclose(curve.values, POINTS["valid/loss"], rtol=1e-6)


def test_a_picture_has_a_row_a_tag_with_steps_left_and_minutes_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: BEGAN)
    runs = {"quick": log_run(tmp_path / "quick", pace=30), "slow $1": log_run(tmp_path / "slow", pace=60)}
    figure = draw_runs(runs)
    (loss_by_step, loss_by_time), (_, auroc_by_time) = np.array(figure.axes).reshape(2, 2)
    assert [line.get_xdata().tolist() for line in loss_by_step.lines] == [[9, 19, 29]] * 2
    assert [line.get_xdata().tolist() for line in loss_by_time.lines] == [[30, 60, 90], [60, 120, 180]]
    np.testing.assert_allclose(auroc_by_time.lines[1].get_ydata(), POINTS["valid/auroc"], rtol=1e-6)
    assert auroc_by_time.get_xlabel() == "wall-clock time (min)"
    assert auroc_by_time.xaxis.get_major_formatter()(180) == "3"
    assert [entry.get_text() for entry in figure.legends[0].get_texts()] == list(runs)


def test_a_run_without_times_is_refused(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics.csv").write_text("step,valid/loss\n9,0.5\n")
    with pytest.raises(TrainingError, match="--logger tensorboard"):
        read_curve(tmp_path, "valid/loss")


def test_a_scalar_that_was_not_logged_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="valid/accuracy"):
        read_curve(log_run(tmp_path, pace=1), "valid/accuracy")


def test_without_runs_there_is_nothing_to_draw() -> None:
    with pytest.raises(TrainingError, match="no run"):
        draw_runs({})
