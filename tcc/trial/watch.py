"""Times the phases of a running trial and tells its store and its observer where it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from tcc.records import Progress, TrialSpec
from tcc.stores import Store
from tcc.trial.observer import Observer


class Listener(Protocol):
    """Hears what a training says."""

    def began(self, step: int, seconds: float) -> None:
        """All is set up; ``step`` steps were done before, in so many seconds."""
        ...

    def values(self, step: int, values: Mapping[str, float]) -> None:
        """``train/…`` or ``val/…`` values of one step."""
        ...


class Watch:
    """Times the phases of a trial and tells its observer and its store where it is."""

    def __init__(self, trial: TrialSpec, store: Store, observer: Observer):
        self.trial, self.store, self.observer = trial, store, observer
        self.begun = self.lapped = time.monotonic()
        self.timings: dict[str, float] = {}
        self.loss: float | None = None
        self.bpp: float | None = None
        self.told = 0.0
        self.first_step, self.trained_before = 0, 0.0

    def elapsed(self) -> float:
        return time.monotonic() - self.begun

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        seconds, self.lapped = now - self.lapped, now
        return seconds

    def began(self, step: int, seconds: float) -> None:
        """Ends the setup."""
        self.timings["setup"] = self.lap()
        self.first_step, self.trained_before = step, seconds

    def trained(self) -> None:
        """Ends the training, of which another process may have done a part."""
        self.timings["train"] = self.lap() + self.trained_before
        self.first_step = 0

    def values(self, step: int, values: Mapping[str, float]) -> None:
        """Takes one step's values: into metrics.jsonl, to the observer, into the progress."""
        self.store.append_metrics(self.trial.id, step, values)
        self.observer.log(step, values)
        self.loss = values.get("train/total", self.loss)
        self.bpp = values.get("train/bpp", self.bpp)
        self.at("train", step, self.trial.recipe.train.steps)

    def at(self, phase: str, step: int, steps: int) -> None:
        """Tells where the trial is, no more often than the store bears."""
        if time.monotonic() - self.told < self.store.tell_every_s and step < steps:
            return
        self.told = time.monotonic()
        in_phase, done = self.told - self.lapped, step - self.first_step
        progress = Progress(
            trial=self.trial.id,
            phase=phase,
            step=step,
            steps=steps,
            loss=self.loss,
            bpp=self.bpp,
            elapsed_s=self.elapsed(),
            eta_s=in_phase * (steps - step) / done if done else None,
        )
        self.store.write_progress(progress)
        self.observer.progress(progress)
