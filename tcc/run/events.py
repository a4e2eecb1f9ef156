"""What happens to trials while a study runs, as the run tells it to a display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tcc.records import Progress, TrialSpec


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one attempt at a trial ended, as its worker, or Tune for a dead worker, says."""

    failed: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A trial came into a state. ``because``: why it failed, or the trial it is skipped for."""

    trial: TrialSpec
    state: str  # a state of the ledger, or "retried": running again after its process died
    because: str = ""
    seconds: float | None = None  # how long a trial that is done took


class Watcher(Protocol):
    """Shows a running study."""

    def event(self, event: Event) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def tick(self) -> None:
        """Called several times a second."""
        ...
