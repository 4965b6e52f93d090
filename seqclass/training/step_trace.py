"""Where the time of a training step goes, as a trace to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.profiler import ProfilerActivity, profile, schedule

from seqclass.atomic import atomic_file
from seqclass.terminal import say

TRACE = "trace.json"

# The first steps are slower than all others, and the first ones under the profiler as well.
_SKIPPED, _WARMUP, _STEPS = 5, 2, 5


class StepTrace(pl.Callback):
    """Records five training steps with `torch.profiler`, after seven, as `trace.json` for chrome://tracing or Perfetto.

    Args:
        folder: Where the trace goes.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / TRACE
        self._profiler: profile | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            wanted = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
            steps = schedule(skip_first=_SKIPPED, wait=0, warmup=_WARMUP, active=_STEPS, repeat=1)
            self._profiler = profile(activities=wanted, schedule=steps, on_trace_ready=self._write)
            self._profiler.start()

    def on_train_batch_end(self, *_: Any) -> None:
        if self._profiler is not None:
            self._profiler.step()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._profiler is not None:
            self._stop()
            say(f"no trace: training ended before its {_SKIPPED + _WARMUP + _STEPS} first steps")

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        if self._profiler is not None:
            self._stop()

    def _stop(self) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is not None:
            profiler.stop()

    def _write(self, profiler: profile) -> None:
        # A profiler that is stopped before its last step has a part of what was asked for.
        if self._profiler is None:
            return
        self._profiler = None
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self._file, force=True) as partial:
            profiler.export_chrome_trace(str(partial))
        say(f"trace of {_STEPS} training steps: {self._file} (open it in https://ui.perfetto.dev)")
