"""What the live table shows, kept up to date by events: counts, running trials, time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from tcc.records import Plan, Progress
from tcc.run.eta import Eta, clock
from tcc.run.events import Event

STATES = {  # in the order of a trial's life, each in its colour
    "new": "default",
    "blocked": "dim",
    "running": "cyan",
    "done": "green",
    "cached": "green",
    "failed": "red",
    "skipped": "yellow",
}
OPEN = ("new", "blocked", "running")
ROWS = 12  # running trials shown at once


class Board:
    """The state of every trial and the progress of those that run; rich can draw it."""

    def __init__(self, plan: Plan, states: Mapping[str, str], eta: Eta):
        self._trials = {trial.id: trial for trial in plan}
        self._states = dict(states)
        self._eta = eta
        self._running: dict[str, Progress | None] = {}
        self._elsewhere: dict[str, str] = {}  # running trial → who runs it, where this run does not
        self._begun = time.monotonic()

    @property
    def total(self) -> int:
        return len(self._trials)

    @property
    def finished(self) -> int:
        """Trials that nothing is left to do for, whichever way they ended."""
        return sum(state not in OPEN for state in self._states.values())

    def event(self, event: Event) -> None:
        """Takes a trial's new state."""
        id = event.trial.id
        state = "running" if event.state == "retried" else event.state
        self._states[id] = state
        if state == "running":
            self._running[id] = None
            self._elsewhere[id] = event.because if event.state == "running" else ""
            return
        self._running.pop(id, None)
        if state == "done" and event.seconds is not None:
            self._eta.took(event.trial, event.seconds)

    def progress(self, progress: Progress) -> None:
        """Takes where a running trial is."""
        if progress.trial in self._running:
            self._running[progress.trial] = progress

    def summary(self) -> str:
        """The counts in one line, and the time that is left."""
        counts = Counter(self._states.values())
        named = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        return f"{named}; about {clock(self._remaining_s())} left"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = f"{self.finished} of {self.total} trials, {clock(time.monotonic() - self._begun)}"
        if self.finished < self.total:
            text += f" so far, about {clock(self._remaining_s())} left"
        yield self._counts()
        if self._running:
            yield Text()
            yield self._progress()
        yield Text(f"\n{text}")

    def _remaining_s(self) -> float | None:
        return self._eta.remaining_s(self._states, self._running)

    def _counts(self) -> Table:
        kinds = dict.fromkeys(trial.kind for trial in self._trials.values())
        counts = Counter((t.kind, self._states[id]) for id, t in self._trials.items())
        shown = [state for state in STATES if any(counts[kind, state] for kind in kinds)]
        table = Table(box=None, pad_edge=False)
        table.add_column("kind")
        for state in shown:
            table.add_column(state, justify="right", style=STATES[state])
        for kind in kinds:
            table.add_row(kind, *(str(counts[kind, state] or "") for state in shown))
        return table

    def _progress(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("running", "phase", "step", "loss", "bpp", "left"):
            table.add_column(name, justify="left" if name in ("running", "phase") else "right")
        for id, progress in list(self._running.items())[:ROWS]:
            label = Text(self._trials[id].label, overflow="ellipsis", no_wrap=True)
            if progress is None:
                table.add_row(label, self._elsewhere[id] or "starting")
                continue
            table.add_row(
                label,
                progress.phase,
                f"{progress.step}/{progress.steps}",
                "" if progress.loss is None else f"{progress.loss:.4g}",
                "" if progress.bpp is None else f"{progress.bpp:.4f}",
                clock(progress.eta_s),
            )
        if len(self._running) > ROWS:
            table.add_row(Text(f"and {len(self._running) - ROWS} more"))
        return table
