"""The trials that were handed out: which run, and how long they ran. No Ray."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

from tcc.records import Resources, TrialSpec


class Given:
    """``seconds``: trial → how long it has run, all its attempts, those that have ended alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._trials: dict[str, TrialSpec] = {}
        self._by_shape: Counter[Resources] = Counter()
        self._waiting: dict[str, float] = {}  # for a process → since when
        self._running: dict[str, float] = {}  # → since when

    def __contains__(self, id: object) -> bool:
        return id in self._trials

    def __iter__(self) -> Iterator[str]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)

    def of(self, need: Resources) -> int:
        """How many of one shape there are."""
        return self._by_shape[need]

    def waiting(self) -> dict[Resources, float]:
        """Shape → since when the first trial of it waits for a process."""
        since: dict[Resources, float] = {}
        for id, at in self._waiting.items():
            need = self._trials[id].resources
            since[need] = min(at, since.get(need, at))
        return since

    def add(self, trial: TrialSpec) -> None:
        """A trial is handed out."""
        self._trials[trial.id] = trial
        self._by_shape[trial.resources] += 1
        self._waiting[trial.id] = time.monotonic()

    def start(self, id: str) -> None:
        """A process runs it."""
        self._waiting.pop(id, None)
        self._running[id] = time.monotonic()

    def pause(self, id: str) -> None:
        """Its process has ended with it, or is lost."""
        if id in self._running:
            self.seconds[id] += time.monotonic() - self._running.pop(id)
            self._waiting[id] = time.monotonic()

    def remove(self, id: str) -> None:
        """It is no longer handed out."""
        self.pause(id)
        self._waiting.pop(id, None)
        self._by_shape[self._trials.pop(id).resources] -= 1
