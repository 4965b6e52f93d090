"""What watching a run costs: training with everything that is logged, against training with nothing.

    python benchmarks/monitoring.py [--steps N] [--rounds N] [--threads N] [--batch N]

A WideResNet with a small Transformer-XL on windows of 1,000 bp with 251 targets, the size of the yeast experiment. Both
ways take turns in one process, on the same batches, in an order that alternates, each time for `--steps` steps; the
ratio is taken round by round and the median counts. On the CPU it is of processor time, as others may use the machine.
Watched is as `seqclass fit` does with its defaults, validation left out.

As others make that ratio noisy, the time within the callbacks' own methods is summed up as well, on the thread that
trains.

What goes on in every step is told apart from drawing weights and gradients, which is made once in these few steps and
once in 500 steps otherwise, or less often where that would take more than 2 % of the time; the pictures of validation
have their part in these 2 %.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from seqclass.alphabets import DNA
from seqclass.bundle import Bundle
from seqclass.data.store import Store, Views
from seqclass.data.writer import write_store
from seqclass.models import create_model
from seqclass.targets import Target
from seqclass.training import Recipe
from seqclass.training.allowance import Allowance
from seqclass.training.data import StoreDataModule
from seqclass.training.gradient_flow import GradientFlow
from seqclass.training.loggers import build_logger
from seqclass.training.monitoring import FIGURE_STEPS, monitors
from seqclass.training.precision import default_precision
from seqclass.training.task import ClassificationTask

WINDOW, TARGETS, SAMPLES = 1000, 251, 20_000


def write_windows(path: Path) -> Store:
    generator = np.random.default_rng(0)
    length = SAMPLES * 200 + WINDOW
    with write_store(path, DNA) as writer:
        writer.add_contigs(["chr"], generator.integers(0, 4, length).astype(np.uint8))
        writer.set_targets([Target(f"t{number}") for number in range(TARGETS)])
        writer.add_labels(writer.layout.pack(generator.random((SAMPLES, TARGETS)) < 0.02))
        ones = np.ones(SAMPLES, dtype=np.int64)
        split = (np.arange(SAMPLES) % 20 == 0).astype(np.uint8)
        writer.set_samples(Views(0 * ones, np.arange(SAMPLES) * 200, WINDOW * ones, ones), split)
        writer.finish({"source": "benchmark", "bin": 200, "notes": []})
    return Store(path)


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


class Clock(pl.Callback):
    """Seconds of training, first step left out."""

    seconds = 0.0
    _begin = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: object) -> None:
        if trainer.global_step == 1:
            self._begin = self._now()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.seconds = self._now() - self._begin

    @staticmethod
    def _now() -> float:
        return now()


def time_hooks(callbacks: list[pl.Callback], spent: list[float]) -> None:
    """Lets each method that Lightning calls note its seconds, save for what draws, which the allowance counts."""

    def timed(hook: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            begin = time.thread_time()
            try:
                return hook(*arguments)
            finally:
                spent.append(time.thread_time() - begin)

        return call

    for callback in (each for each in callbacks if not isinstance(each, GradientFlow)):
        for name in dir(pl.Callback):
            if name.startswith("on_") and getattr(type(callback), name) is not getattr(pl.Callback, name):
                setattr(callback, name, timed(getattr(callback, name)))


def train(
    store: Store, folder: Path, steps: int, batch: int, allowance: Allowance | None, spent: list[float] | None = None
) -> float:
    """Seconds that training takes; watched if there is an allowance."""
    torch.manual_seed(0)
    model = create_model("wrn_transformer_xl", num_targets=TARGETS, length=WINDOW, expansion=4, layers=2)
    bundle = Bundle(model, list(store.targets), [1] * TARGETS, WINDOW, 200)
    data = StoreDataModule(str(store.path), batch_size=batch)
    task = ClassificationTask(bundle, store.layout, Recipe(), data.augmentation)
    clock = Clock()
    options = {"recipe.learning_rate": 1e-3}
    watching = [] if allowance is None else monitors(task, store, options, FIGURE_STEPS, allowance)
    time_hooks(watching, [] if spent is None else spent)
    trainer = pl.Trainer(
        max_steps=steps,
        precision=default_precision(),
        gradient_clip_val=1.0,
        log_every_n_steps=20,
        limit_val_batches=0,
        logger=False if allowance is None else build_logger("tensorboard", folder, "benchmark"),
        callbacks=[*watching, clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(task, data)
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write_windows(folder / "store.h5")
        # What is slow only once, such as loading what draws.
        train(store, folder / "warm-up", 21, options.batch, Allowance())
        others, drawings, within = [], [], []
        for number in range(options.rounds):
            allowance = Allowance(clock=now)
            seconds, spent = {}, list[float]()
            for watched in (True, False) if number % 2 else (False, True):
                out = folder / f"{number}{watched}"
                kept = allowance if watched else None
                seconds[watched] = train(store, out, options.steps, options.batch, kept, spent)
            drawn = sum(allowance.spent.values())
            step = seconds[False] / (options.steps - 1)
            others.append((seconds[True] - drawn) / seconds[False] - 1)
            within.append(sum(spent) / seconds[True])
            drawings.append(min(allowance.share, drawn / (step * FIGURE_STEPS)))
            print(
                f"round {number + 1}: {step * 1e3:.1f} ms a step unwatched; watched {others[-1]:+.2%} "
                f"(within callbacks {within[-1]:.2%}), "
                f"and a drawing of {drawn * 1e3:.0f} ms, once in {FIGURE_STEPS} steps {drawings[-1]:.2%}",
                flush=True,
            )
        each, drawing = statistics.median(others), statistics.median(drawings)
        print(
            f"median: {each + drawing:+.2%} of training time: every step {each:+.2%} "
            f"(within callbacks {statistics.median(within):.2%}), drawing {drawing:.2%}"
        )


if __name__ == "__main__":
    main()
