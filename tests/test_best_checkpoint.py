"""Which validation is the best: the highest metric, and of equal ones the lowest loss."""

import math
from types import SimpleNamespace

import pytest
import torch

from seqclass.training.checkpoints import RunCheckpoints


class Validations:
    """Stands in for a trainer; remembers after which validation the best checkpoint was written."""

    def __init__(self):
        self.written = []
        self.callback_metrics = {}
        self.strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all=True: decision)

    def save_checkpoint(self, path):
        self.written.append(len(self.seen))

    def go_through(self, checkpoints, pairs):
        self.seen = []
        for metric, loss in pairs:
            self.seen.append((metric, loss))
            self.callback_metrics = {"valid/accuracy": torch.tensor(metric), "valid/loss": torch.tensor(loss)}
            checkpoints.on_validation_end(self, None)
        return self.written


@pytest.mark.parametrize(
    ("pairs", "kept"),
    [
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.1)], 2),
        ([(0.5, 1.0), (0.7, 2.0), (0.7, 0.9), (0.7, 1.5)], 3),
        ([(0.7, 1.0), (0.7, 1.0)], 1),
        ([(0.7, math.nan), (0.7, 5.0), (0.7, math.nan)], 2),
        ([(math.nan, 1.0), (0.0, 2.0)], 2),
    ],
)
def test_the_highest_metric_is_kept_and_of_equal_ones_the_lowest_loss(tmp_path, pairs, kept):
    checkpoints = RunCheckpoints(tmp_path, "valid/accuracy", 10, {})
    assert Validations().go_through(checkpoints, pairs)[-1] == kept


def test_a_run_that_goes_on_remembers_the_loss_of_the_best(tmp_path):
    before, after = (RunCheckpoints(tmp_path, "valid/accuracy", 10, {}) for _ in range(2))
    Validations().go_through(before, [(0.7, 1.0)])
    before.best_path.parent.mkdir(parents=True)
    before.best_path.touch()
    after.load_state_dict(before.state_dict())
    assert Validations().go_through(after, [(0.7, 1.1)]) == []
    assert Validations().go_through(after, [(0.7, 0.9)]) == [1]
