"""Ctrl-C during a training: the step is finished and the state saved before the trial ends."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("tcc.trial")


@contextmanager
def finishing_steps() -> Iterator[Callable[[], bool]]:
    """Within, a first interrupt only makes the given function true; a second one interrupts.

    Where Python does not handle interrupts itself (in another thread than the main one, or under
    another handler) nothing is changed.
    """
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        log.info("interrupted: ends after this step; interrupt again to end at once")

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
