"""What a run has computed so far, in a folder beside its output, so that a run that was killed goes on.

HDF5 is not made to survive a kill in the middle of a write. So each portion is a file of its own that appears whole or
not at all, and the output is put together from them at the end.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from seqclass.atomic import atomic_file, atomic_folder
from seqclass.errors import SeqclassError

_RUN = "run.json"


class Unfinished:
    """The portions of one run.

    Args:
        out: The output of the run.
        run: All that the numbers follow from, as JSON can hold it.
        force: Begin anew where a run of another kind was left unfinished.
        resume: Go on with a run of the same kind; else one is not gone on with unless asked for.

    Raises:
        SeqclassError: A run was left unfinished that is not to be gone on with, and `force` is false; or the folder
            holds something else.
    """

    def __init__(self, out: Path, run: dict[str, Any], *, force: bool = False, resume: bool = True) -> None:
        self.folder = out.with_name(f".{out.name}.unfinished")
        before = self._before()
        if before is not None and not resume:
            if not force:
                raise SeqclassError(
                    "a run for this output was left unfinished",
                    remedy="Pass --resume to go on with it, or --force to begin anew",
                    file=out,
                )
            self.remove()
            before = None
        if before is not None and before != run:
            if not force:
                differing = ", ".join(sorted(key for key in run if before.get(key) != run[key]))
                raise SeqclassError(
                    f"an unfinished run for this output was begun with another {differing}",
                    remedy="Run it as before to go on, or pass --force to begin anew",
                    file=out,
                )
            self.remove()
        if before != run:
            with atomic_folder(self.folder, holding=_RUN) as partial:
                (partial / _RUN).write_text(json.dumps(run), encoding="utf-8")

    def _before(self) -> dict[str, Any] | None:
        """What an unfinished run follows from, if there is one."""
        if not self.folder.exists():
            return None
        try:
            run: dict[str, Any] = dict(json.loads((self.folder / _RUN).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise SeqclassError(
                f"this is not what a run leaves that did not end ({error})",
                remedy="Remove it, or choose another output",
                file=self.folder,
            ) from None
        return run

    def has(self, portion: int) -> bool:
        """Whether a portion was finished."""
        return self._file(portion).is_file()

    def save(self, portion: int, vectors: np.ndarray[Any, Any]) -> None:
        """Keeps the numbers of a portion, such as vectors `(rows, size)`."""
        # Straight into a file, NumPy would not tell a full disk from other failures.
        buffer = io.BytesIO()
        np.save(buffer, vectors)
        with atomic_file(self._file(portion), force=True) as partial:
            partial.write_bytes(buffer.getbuffer())

    def load(self, portion: int) -> np.ndarray[Any, Any]:
        """The numbers of a finished portion.

        Raises:
            SeqclassError: Its file is damaged.
        """
        file = self._file(portion)
        try:
            vectors: np.ndarray[Any, Any] = np.load(file)
        except (OSError, ValueError, EOFError) as error:
            raise SeqclassError(
                f"what was done so far is damaged ({error})", remedy="Remove this file and run again", file=file
            ) from None
        return vectors

    def remove(self) -> None:
        """Clears all portions away, once the output stands."""
        shutil.rmtree(self.folder)

    def _file(self, portion: int) -> Path:
        return self.folder / f"{portion:06d}.npy"
