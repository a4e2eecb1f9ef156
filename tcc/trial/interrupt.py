"""Interrupts of a trial: the step at hand is finished and the state saved before the trial ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tcc.signals import is_another

Stop = Callable[[], bool]  # whether to save and end; asked where a trial can

_HEARD = b"interrupted: ends after this step; interrupt again to end at once\n"
_UNHANDLED = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


def end_if(stop: Stop) -> None:
    """Raises `KeyboardInterrupt` where ``stop`` says so."""
    if stop():
        raise KeyboardInterrupt


@contextmanager
def asked_by_signals() -> Iterator[Stop]:
    """Within, a first Ctrl-C or SIGTERM only makes the given function true; a second one, of either
    kind, interrupts. Within a second of the first it is the same one.

    A signal that somebody else handles, and both of them out of the main thread, stay as they are.
    """
    asked: list[float] = []  # when

    def ask(_number: int, _frame: Any) -> None:
        if asked:
            if is_another(asked[0]):
                raise KeyboardInterrupt
            return
        asked.append(time.monotonic())
        with suppress(OSError):  # a closed terminal
            os.write(2, _HEARD)  # a stream could be in the midst of another message

    main = threading.current_thread() is threading.main_thread()
    mine = {
        number: handler
        for number, handler in _UNHANDLED.items()
        if main and signal.getsignal(number) is handler
    }
    for number in mine:
        signal.signal(number, ask)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in mine.items():
            signal.signal(number, handler)


def heed_parent_alone() -> None:
    """In a process that a trial started: from now on neither Ctrl-C nor a SIGTERM ends it, but the
    trial's own SIGTERM. Those of a terminal or a scheduler reach every process, and the trial needs
    the others to finish its step.

    Only where no other thread was started before: it would take the signal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # where a signal says who sent it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_end_by, args=(os.getppid(),), daemon=True).start()


def _end_by(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
