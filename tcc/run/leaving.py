"""What a worker does on SIGTERM, as a node sends it that is drained or preempted: its trial saves,
then the process ends, and Tune starts the trial again elsewhere. No Ray."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WITHIN_S = 25.0  # most schedulers send SIGKILL 30 s after SIGTERM


class Leaving:
    """Of one process. ``asked``: it was told to end."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._running = False
        self._saved = threading.Event()
        self._before: Any = None

    def install(self) -> None:
        """Puts itself before the SIGTERM handler that is there; in the main thread."""
        if self._before is None:
            self._before = signal.signal(signal.SIGTERM, self._heard)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around a trial. Does not return from it once the process is to end: what a trial says
        then would make others believe that it ended by itself."""
        self._running = True
        try:
            yield
        finally:
            self._running = False
            if self.asked.is_set():
                self._saved.set()
                threading.Event().wait()

    def _heard(self, number: int, frame: Any) -> None:
        """The process's own handler ends it: at once where no trial runs or it has saved."""
        if not self._running or self._saved.is_set():
            self._before(number, frame)
        elif not self.asked.is_set():
            self.asked.set()
            # this thread must go on: what the trial reports meanwhile passes through it
            threading.Thread(target=self._end, daemon=True, name="leaving").start()

    def _end(self) -> None:
        self._saved.wait(WITHIN_S)
        self._saved.set()
        os.kill(os.getpid(), signal.SIGTERM)


LEAVING = Leaving()
