"""A run that consists of several: an ensemble's members, the folds of a cross-validation.

Each is a run in a folder of its own inside the whole one's. A whole that was stopped goes on at the first of them that
is not trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from seqclass.atomic import atomic_file, check_free
from seqclass.errors import TrainingError
from seqclass.training.fit import CONFIG
from seqclass.training.processes import is_first_process
from seqclass.training.run_folder import has_checkpoint, in_place_of_old_run, last_checkpoint, only_writer

SaveOptions = Callable[[Namespace, Path], None]
"""Writes resolved options to a file."""


@contextmanager
def several_runs(options: Namespace, save_options: SaveOptions) -> Iterator[bool]:
    """Opens the folder of the whole run, and gives whether it goes on with runs that it holds.

    Only this process writes it within the block. Where the block fails before any of the runs has a checkpoint, what
    stood there before is brought back.

    Args:
        options: `out`, `force`, `resume`, `init_from` and `data` among them.
        save_options: Writes them to `config.yaml`.

    Raises:
        OutputExistsError: Something stands at `out` and is not to be replaced.
        SeqclassError: What stands there is no run, or holds the store.
        TrainingError: Another process writes the run, or it is to go on and is that of one model.
    """
    out = Path(options.out)
    if not is_first_process():
        yield bool(options.resume)
        return
    with only_writer(out):
        if options.resume and last_checkpoint(out).exists():
            raise TrainingError(
                "this is the run of one model, which does not go on as several",
                remedy="Repeat its command with --resume, or give another --out",
                file=out,
            )
        goes_on = options.resume and has_checkpoint(out)
        if not goes_on:
            inputs = (options.data.store, options.init_from)
            check_free(out, options.force or options.resume, holding=CONFIG, inputs=inputs)
        with nullcontext() if goes_on else in_place_of_old_run(out):
            try:
                with atomic_file(out / CONFIG, force=True) as partial:
                    save_options(options, partial)
                yield goes_on
            except BaseException:
                if not has_checkpoint(out):
                    shutil.rmtree(out, ignore_errors=True)
                raise


def one_of_several(options: Namespace, folder: str, **changed: Any) -> Namespace:
    """The options of one of the runs.

    Args:
        options: Of the whole.
        folder: Of the one, inside that of the whole.
        changed: What differs.
    """
    one = options.clone()
    for key, value in {"out": str(Path(options.out) / folder), "force": False, **changed}.items():
        one[key] = value
    return one
