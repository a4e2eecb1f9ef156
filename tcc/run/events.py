"""What happens to trials while a study runs, as the run tells it to a display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tcc.records import Progress, TrialSpec


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one attempt at a trial ended, as its worker says.

    ``how``: done; failed; busy, where another process works on the trial; interrupted, with its
    state saved; store, where that cannot be used; lost, with its process before it began, as Tune
    says. ``untracked``: why it is not mirrored online.
    """

    how: str
    reason: str = ""
    untracked: str = ""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A trial came into a state. ``because``: why it failed or is tried again, the trial it is
    skipped for, or who runs it where this run does not."""

    trial: TrialSpec
    state: str  # a state of the ledger, or "retried": its process was lost, another one goes on
    because: str = ""
    seconds: float | None = None  # how long a trial that is done took


class Watcher(Protocol):
    """Shows a running study."""

    def event(self, event: Event) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def note(self, text: str) -> None:
        """A line that is about no one trial."""
        ...

    def tick(self) -> None:
        """Called several times a second."""
        ...
