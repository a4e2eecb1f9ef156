"""Keeps a report as new as its store while results arrive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tcc.errors import TccError
from tcc.report.build import ReportFiles, build_report
from tcc.stores import open_store

EVERY_S = 20.0
REST = 3  # times as long as drawing took, at least, before it is drawn again
ENDS_WITHIN_S = 10.0


def watch(
    draw: Callable[[], ReportFiles], tell: Callable[[ReportFiles], None], every_s: float
) -> None:
    """Draws a report whenever its store has changed, until nothing of the study is left to do.

    Raises:
        TccError: as ``draw`` does at the first time; later it is tried again.
    """
    files = None
    while files is None or files.unfinished:
        began = time.monotonic()
        try:
            found = draw()
        except TccError:
            if files is None:
                raise
        else:
            if found.fresh or files is None:
                tell(found)
            files = found
        if files.unfinished:
            time.sleep(max(every_s, REST * (time.monotonic() - began)))


@contextmanager
def watching(study: str, uri: str, every_s: float = EVERY_S) -> Iterator[None]:
    """Draws the report again and again in a process of its own, which ends with this one: a driver
    has trials to hand out, and drawing takes a core's seconds."""
    command = [sys.executable, "-m", "tcc.report.watch", study, uri, str(os.getpid()), str(every_s)]
    quiet = subprocess.DEVNULL
    # in a session of its own: Ctrl-C is for the driver
    process = subprocess.Popen(
        command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _follow(study: str, uri: str, parent: int, every_s: float) -> None:
    """Draws for as long as ``parent`` lives: from before its plan is written, and through whatever
    goes wrong, which the driver tells."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # temporary files are removed
    while os.getppid() == parent:
        began = time.monotonic()
        with suppress(TccError):
            build_report(study, open_store(uri, write=False), reload_s=max(1, round(every_s)))
        until = time.monotonic() + max(every_s, REST * (time.monotonic() - began))
        while time.monotonic() < until and os.getppid() == parent:
            time.sleep(min(1.0, every_s))


if __name__ == "__main__":
    _follow(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
