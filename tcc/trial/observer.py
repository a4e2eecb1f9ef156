"""What a running trial tells whoever watches: the live table, W&B, a terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Protocol, TextIO

from tcc.records import FailureRecord, Progress, TrialRecord

log = logging.getLogger("tcc.trial")


class Observer(Protocol):
    """Watches one trial. A trial's results never depend on its observer."""

    def progress(self, progress: Progress) -> None:
        """Called often; the observer decides how much of it to show."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """``train/…`` and ``val/…`` values of one step."""
        ...

    def finished(self, outcome: TrialRecord | FailureRecord) -> None:
        """Called once, after the outcome is in the store."""
        ...


class Silent:
    """Watches nothing."""

    def progress(self, progress: Progress) -> None: ...

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def finished(self, outcome: TrialRecord | FailureRecord) -> None: ...


class Guarded:
    """Passes on to an observer until that one breaks; a trial goes on without it."""

    def __init__(self, observer: Observer):
        self.observer: Observer | None = observer

    def progress(self, progress: Progress) -> None:
        self._tell("progress", progress)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._tell("log", step, values)

    def finished(self, outcome: TrialRecord | FailureRecord) -> None:
        self._tell("finished", outcome)

    def _tell(self, what: str, *args: object) -> None:
        if self.observer is None:
            return
        try:
            getattr(self.observer, what)(*args)
        except Exception:  # of any kind, and none of the trial's business
            log.exception("what watches this trial broke, the trial goes on")
            self.observer = None


class Printing:
    """Prints where the trial is, one line each few seconds, and how it ended; for `tcc trial`."""

    def __init__(self, stream: TextIO, every_s: float = 2.0):
        self.stream, self.every_s, self.told = stream, every_s, 0.0

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.told < self.every_s and progress.step < progress.steps:
            return
        self.told = now
        parts = [f"{progress.phase} {progress.step}/{progress.steps}"]
        parts += [f"loss {progress.loss:.4g}"] if progress.loss is not None else []
        parts += [f"{progress.bpp:.4g} bpp"] if progress.bpp is not None else []
        parts += [f"{progress.eta_s:.0f} s left"] if progress.eta_s else []
        print("  ".join(parts), file=self.stream, flush=True)

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def finished(self, outcome: TrialRecord | FailureRecord) -> None:
        if isinstance(outcome, FailureRecord):
            print(f"failed: {outcome.reason}\nlog: {outcome.log}", file=self.stream)
            return
        for item in outcome.evaluations:
            rates = [f"{rate.bpp:.4f} bpp {rate.source}" for rate in item.rates]
            metrics = [f"{metric.name} {metric.value:.4f} {metric.unit}" for metric in item.metrics]
            where = f"{item.evaluation.dataset.name} {item.evaluation.split}"
            print(f"{where}: {', '.join([*rates, *metrics]).strip()}", file=self.stream)
