"""The range test: on a curve with known truth, and from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqclass.cli import main
from seqclass.data.store import Store
from seqclass.errors import OutputExistsError, TrainingError
from seqclass.models import wrn
from seqclass.training import run_experiment
from seqclass.training.learning_rate_finder import read_range_test, running_mean

TINY = ["--model.channels=8", "--model.widths=[8]", "--model.strides=[2]", "--model.expansion=2", "--model.hidden=8"]


def test_the_suggestion_is_a_tenth_of_the_best_rate_before_the_loss_explodes() -> None:
    rates = np.geomspace(1e-6, 10, 71)
    losses = 1 + (np.log10(rates) + 2) ** 2 / 16
    losses[rates > 0.3] = 100
    losses[-1] = 0  # what comes after an explosion says nothing
    test = read_range_test(rates, losses)
    assert test.suggestion == pytest.approx(1e-3)
    assert test.rates[-1] <= 0.3


def test_a_loss_that_never_falls_or_is_not_finite_suggests_nothing() -> None:
    rates = np.geomspace(1e-6, 10, 30)
    with pytest.raises(TrainingError, match="never fell"):
        read_range_test(rates, np.linspace(1, 2, 30))
    with pytest.raises(TrainingError, match="never fell"):
        read_range_test(rates, np.full(30, np.nan))


def test_a_running_mean_of_equal_losses_is_that_loss() -> None:
    np.testing.assert_allclose(running_mean(np.full(40, 2.5)), 2.5)
    means = running_mean(np.array([1.0, 0.0]))
    assert means.tolist() == pytest.approx([1, 0.9 / 1.9])


def test_the_command_suggests_a_rate_draws_it_and_trains_nothing(
    make_store: Callable[..., Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(window=32)
    out = tmp_path / "lr"
    words = ["lr-find", "--model", "wrn", f"--data.store={store.path}", f"--out={out}", *TINY, "--steps=60"]
    # The labels are random: what can be learned is how frequent they are.
    main([*words, "--trainer.precision=32-true", "--data.batch_size=32", "--recipe.prior_from_train=false"])
    shown = capsys.readouterr()
    assert "suggested: --recipe.learning_rate" in shown.out + shown.err
    assert sorted(file.name for file in out.iterdir()) == ["lr_find.png", "lr_find.tsv"]
    table = np.loadtxt(out / "lr_find.tsv", skiprows=1)
    np.testing.assert_allclose(np.diff(np.log(table[:, 0])), np.log(1e7) / 59, rtol=1e-3)
    assert min(Image.open(out / "lr_find.png").size) > 300
    arguments = ["lr-find", f"--data.store={store.path}", f"--out={out}", *TINY]
    with pytest.raises(OutputExistsError):
        run_experiment(wrn, name="test", arguments=arguments)
    with pytest.raises(TrainingError, match="a range test of 5 steps"):
        run_experiment(wrn, name="test", arguments=[*arguments, "--force", "--steps=5"])


def test_a_rate_that_rarely_trains_and_a_target_without_examples_are_warned_of(
    make_store: Callable[..., Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(window=32)
    main(
        [
            "fit",
            "--model",
            "wrn",
            f"--data.store={store.path}",
            f"--out={tmp_path / 'run'}",
            *TINY,
            "--recipe.learning_rate=10",
            "--trainer.max_epochs=1",
            "--baselines=false",
            "--evaluate=false",
        ]
    )
    assert "warning: a learning rate of 10 rarely trains; 'seqclass lr-find'" in capsys.readouterr().err
