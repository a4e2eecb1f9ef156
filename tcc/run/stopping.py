"""How a run ends before its time: it hands out no more, lets its trials save, and ends. No Ray."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tcc.signals import is_another


class Ended(BaseException):
    """Ends Tune at once, with no time for its own tidying, which may wait for what is gone."""

    def __init__(self, cause: BaseException):
        super().__init__(cause)
        self.cause = cause


class Stopping:
    """Whether a run stops, why, and until when its trials may take their time.

    ``grace_s``: for trials to save. ``tell``: called once, tells them. ``say``: shows a line.
    """

    def __init__(self, grace_s: float, tell: Callable[[], None], say: Callable[[str], None]):
        self.cause: BaseException | None = None
        self._grace_s, self._tell, self._say = grace_s, tell, say
        self._heard_at: float | None = None
        self._until = float("inf")

    def because(self, cause: BaseException) -> None:
        """Begins to stop; the first cause stands."""
        if self.cause is None:
            self.cause = cause
            self._until = time.monotonic() + self._grace_s
            self._tell()  # first: that the line below is read by anybody is not sure
            again = "again" if self._heard_at is not None else "Ctrl-C"
            self._say(
                f"stopping: trials save and end, at most {self._grace_s:.0f} s; "
                f"{again} to end at once"
            )

    @property
    def why(self) -> BaseException | None:
        """Why the run stops; a signal counts that was heard since the last `check`."""
        return self.cause or (None if self._heard_at is None else KeyboardInterrupt())

    @property
    def interrupted(self) -> bool:
        """Whether a signal is why."""
        return isinstance(self.why, KeyboardInterrupt)

    def check(self) -> bool:
        """Whether the run stops. Called several times a second.

        Raises:
            Ended: the time for it is over.
        """
        if self._heard_at is not None:
            self.because(KeyboardInterrupt())
        if self.cause is not None and time.monotonic() > self._until:
            raise Ended(self.cause)
        return self.cause is not None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within, a first Ctrl-C or SIGTERM begins to stop; one that comes while it stops, of
        either kind, raises `KeyboardInterrupt` wherever the process is. Within a second of the
        first it is the same one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._heard) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, frame: Any) -> None:
        if self._heard_at is None and self.cause is None:
            self._heard_at = time.monotonic()
        elif self._heard_at is None or is_another(self._heard_at):
            raise KeyboardInterrupt
