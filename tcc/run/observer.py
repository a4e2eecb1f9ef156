"""Who watches a trial in its worker: Tune, seldom, and the trackers, with every value."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from ray import tune

from tcc import registry
from tcc.records import FailureRecord, Progress, TrialRecord, TrialSpec
from tcc.stores import Store
from tcc.tracking import TrackedRun, Tracker

REPORT_EVERY_S = 2.0  # a report waits for the driver: it costs the trial a round trip


class WorkerObserver:
    """Passes progress on to Tune, at most every two seconds and not once ``stop`` says that the
    trial is to end, and values to the trackers."""

    def __init__(
        self,
        trial: TrialSpec,
        store: Store,
        study: str,
        trackers: Mapping[str, Mapping[str, Any]],
        stop: Callable[[], bool],
    ):
        self._trial, self._store, self._study = trial, store, study
        self._stop = stop
        self._trackers = dict(trackers)  # not started yet: another process may work on the trial
        self._runs: list[TrackedRun] = []
        self._troubles: list[str] = []
        self._reported_at = -REPORT_EVERY_S

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._reported_at >= REPORT_EVERY_S and not self._stop():
            self._reported_at = now
            tune.report(asdict(progress))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._start()
        for run in self._runs:
            run.log(step, values)

    def finished(self, outcome: TrialRecord | FailureRecord) -> None:
        self._start()
        self._finish(outcome)

    def close(self) -> str:
        """Ends the trackers' runs where the trial did not, as another process will go on with it;
        gives why it is not mirrored online, "" where it is or is not meant to be."""
        self._finish(None)
        return "; ".join(filter(None, self._troubles))

    def _start(self) -> None:
        while self._trackers:
            name, settings = self._trackers.popitem()
            tracker: Tracker = registry.load("tracking", name)
            run = tracker.start(
                settings,
                trial=self._trial,
                study=self._study,
                directory=self._store.directory,
                past=partial(self._store.metrics, self._trial.id),
                checkpoint=partial(self._store.checkpoint, self._trial.id),
            )
            self._runs.append(run)

    def _finish(self, outcome: TrialRecord | FailureRecord | None) -> None:
        while self._runs:
            run = self._runs.pop(0)
            run.finish(outcome)
            self._troubles.append(run.trouble)
