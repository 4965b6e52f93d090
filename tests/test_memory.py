import numpy as np
import pytest
import torch
from class_stores import make_classes, random_proteins

from seqclass.errors import TrainingError
from seqclass.models import protcnn_small
from seqclass.training import run_experiment
from seqclass.training.memory import within_memory


def of_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of ...")


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: torch.empty(1 << 55), r"do not fit into memory, of which they want 134,217,728\.0 GiB more\. Choose"),
        (lambda: np.empty(1 << 55), "do not fit into memory"),
        (of_a_gpu, r"do not fit into the GPU's memory, of which they want 2\.50 GiB more"),
    ],
)
def test_what_runs_out_of_memory_is_one_error(ask, said):
    with pytest.raises(TrainingError, match=said), within_memory():
        ask()


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), within_memory():
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_a_model_too_large_for_the_machine_is_one_error_and_leaves_no_run(tmp_path):
    random = np.random.default_rng(0)
    splits = ["train"] * 8 + ["valid"] * 4
    store = make_classes(tmp_path / "p.h5", random_proteins(random, [30] * 12), [0, 1] * 6, splits)
    arguments = ["fit", f"--data.store={store.path}", f"--out={tmp_path / 'run'}", "--model.channels=400000000000"]
    with pytest.raises(TrainingError, match=r"do not fit into memory.*Choose a smaller model"):
        run_experiment(protcnn_small, name="test", arguments=arguments)
    assert not (tmp_path / "run").exists()
