"""Being told to stop: by the scheduler of a cluster (SIGTERM) or at the keyboard (SIGINT)."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """Training stopped because a signal said so.

    Args:
        signum: Which.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signal.Signals(signum).name)

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that the signal ended: 143 after SIGTERM, 130 after SIGINT."""
        return 128 + self.signum


class StopSignal:
    """Notes the first signal that asks to stop, so that the step at hand can be finished; a second one stops at once.

    Attributes:
        received: The signal, None so far.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Begins to note signals, if this is the main thread: others receive none."""
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._note) for signum in SIGNALS}

    def ignore(self) -> None:
        """Leaves signals to whom they went before."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self.received is not None:
            raise Interrupted(signum)
        self.received = signum
