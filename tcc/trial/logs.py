"""A trial's log: what tcc and its libraries say while it runs, in its own file."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tcc.errors import StoreError


class _Appending(logging.Handler):
    """Adds whole lines to a file. On a full disk it is silent: what cannot be written for that
    reason and is needed, the trial says itself."""

    def __init__(self, path: Path):
        super().__init__()
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror})") from error

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            self._file.write(f"{self.format(record)}\n".encode("utf-8", "replace"))

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def logging_to(path: Path, level: int = logging.INFO) -> Iterator[None]:
    """Sends tcc's log and all warnings to the end of a file. Several processes may share it.

    Raises:
        StoreError: the file cannot be written.
    """
    handler = _Appending(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger("tcc"), logging.getLogger("py.warnings")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, (before_level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(before_level)
            logger.propagate = propagate
        handler.close()


def print_to(path: Path) -> None:
    """Sends all that this process prints, in whatever language, to the end of a file, for good."""
    with path.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
