"""A stream that may go away while a run goes on: a pipe whose reader has ended, a closed terminal.
Ctrl-C in ``tcc run … | tee log`` ends ``tee`` first; the run is to save all the same."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TextIO


class Outlet(TextIO):
    """Writes to a stream for as long as it can be written; then nowhere, for good."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._mute = False

    @property
    def encoding(self) -> str:
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        if not self._mute:
            try:
                self._stream.write(text)
            except OSError:
                self._close()
        return len(text)

    def flush(self) -> None:
        if not self._mute:
            try:
                self._stream.flush()
            except OSError:
                self._close()

    def _close(self) -> None:
        self._mute = True
        with suppress(OSError):  # no file behind it
            nowhere(self._stream.fileno())


def nowhere(descriptor: int) -> None:
    """Lets a file descriptor lead nowhere: what Python still holds for it, it would write when the
    process ends, and give another exit code where it cannot."""
    to = os.open(os.devnull, os.O_WRONLY)
    os.dup2(to, descriptor)
    os.close(to)
