"""Who watches a trial in its worker: Tune, seldom, and the trackers, with every value."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ray import tune

from tcc import registry
from tcc.records import FailureRecord, Progress, TrialRecord, TrialSpec
from tcc.stores import Store
from tcc.tracking import TrackedRun, Tracker

REPORT_EVERY_S = 2.0  # a report waits for the driver: it costs the trial a round trip


class WorkerObserver:
    """Passes progress on to Tune, at most every two seconds, and values to the trackers."""

    def __init__(
        self,
        trial: TrialSpec,
        store: Store,
        study: str,
        trackers: Mapping[str, Mapping[str, Any]],
    ):
        self._runs: list[TrackedRun] = []
        self._reported_at = -REPORT_EVERY_S
        for name, settings in trackers.items():
            tracker: Tracker = registry.load("tracking", name)
            self._runs.append(
                tracker.start(settings, trial=trial, study=study, directory=store.directory)
            )

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = now
            tune.report(asdict(progress))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for run in self._runs:
            run.log(step, values)

    def finished(self, outcome: TrialRecord | FailureRecord) -> None:
        for run in self._runs:
            run.finish(outcome)
