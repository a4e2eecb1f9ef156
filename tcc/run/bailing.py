"""The way out where a part of Ray on this machine is gone and a call to Ray does not return. Ray
itself would end this process after a minute, with a code and words of its own. No Ray."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tcc.run.stopping import Stopping

PATIENCE_S = 10.0  # for the process to end by itself
FAILED, INTERRUPTED = 2, 130


@contextmanager
def bailing_out(trouble: Callable[[], str], stopping: Stopping) -> Iterator[None]:
    """Within, ends the process some seconds after ``trouble`` first says what is gone."""
    over = threading.Event()

    def watch() -> None:
        since: float | None = None
        while not over.wait(1.0):
            said = trouble()
            since = (since or time.monotonic()) if said else None
            if since is not None and time.monotonic() - since > PATIENCE_S:
                interrupted = stopping.interrupted
                with suppress(OSError):  # a closed terminal
                    os.write(2, f"tcc: {'interrupted; ' if interrupted else ''}{said}\n".encode())
                os._exit(INTERRUPTED if interrupted else FAILED)

    threading.Thread(target=watch, daemon=True, name="bailing out").start()
    try:
        yield
    finally:
        over.set()
