"""What a run that ends early says: what is kept of it, and how it goes on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.utilities.exceptions import MisconfigurationException

from seqclass.errors import SeqclassError, TrainingError
from seqclass.terminal import say
from seqclass.training.checkpoints import RunCheckpoints
from seqclass.training.interruption import Interrupted


@contextmanager
def saying_how_to_go_on(checkpoints: RunCheckpoints) -> Iterator[None]:
    """Ends training that stops early with what is kept of it, and how to go on."""
    try:
        yield
    except Interrupted as stop:
        kept = checkpoints.where or "nothing was trained yet"
        say(f"stopped by {stop}: {kept}. Go on with: {_resume_command()}")
        raise SystemExit(stop.exit_code) from None
    except MisconfigurationException as error:
        problem = " ".join(str(error).split()).rstrip(".")
        raise TrainingError(f"training cannot go on so: {problem}", remedy="See the --trainer options") from error
    except OSError as error:
        kept = f"; {checkpoints.where}, from which --resume goes on" if checkpoints.where else ""
        raise TrainingError(
            f"the system refused ({error.strerror or error})",
            remedy=f"Check the room on the disk and the permissions{kept}",
            file=error.filename,
        ) from error
    except SeqclassError as error:
        if checkpoints.where:
            error.remedy = f"{error.remedy}; {checkpoints.where}, from which --resume goes on"
        raise


def _resume_command() -> str:
    program, *words = sys.argv
    how = ["python", program] if program.endswith(".py") else [Path(program).name]
    return shlex.join([*how, *(word for word in words if word not in ("--force", "--resume")), "--resume"])
