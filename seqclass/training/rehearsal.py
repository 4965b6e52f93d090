"""An experiment's rehearsal: all that a run does, in under a minute, on simulated files of the real layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqclass.errors import TrainingError


@dataclass(frozen=True)
class Rehearsal:
    """What stands in for an experiment's data, and what makes its model and training small.

    The scores of a rehearsal are those of simulated data: they say that the parts fit together, and nothing else.

    Args:
        simulate: Given a folder for raw files, which may hold those of an earlier rehearsal, and the path of a store,
            writes both.
        options: Defaults in place of the experiment's, by dotted name.
    """

    simulate: Callable[[Path, Path], object]
    options: Mapping[str, Any] = field(default_factory=dict)

    def defaults(self, name: str) -> dict[str, Any]:
        """The defaults of the rehearsal of that name."""
        return {"trainer.max_epochs": 2, **self.options, "data.store": str(_store(name))}

    def prepare(self, name: str, store: str) -> None:
        """Writes the rehearsal's data.

        Args:
            name: Of the rehearsal.
            store: The path that training will read.

        Raises:
            TrainingError: That is another path: somebody's own data.
        """
        if Path(store) != _store(name):
            raise TrainingError(
                f"--fast simulates its data, and --data.store names {store}", remedy="Leave one of them out"
            )
        folder = _store(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        self.simulate(folder / "raw", _store(name))


def _store(name: str) -> Path:
    return Path("runs") / f"{name}-data" / "store.h5"
