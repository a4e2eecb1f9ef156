"""How a running study shows: a live table on a terminal, one line an event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.live import Live

from tcc.plan import TrialState
from tcc.records import Plan, Progress
from tcc.run.board import Board
from tcc.run.eta import Eta, clock
from tcc.run.events import Event, Watcher
from tcc.run.outlet import Outlet

REFRESH_S = 0.5
REMIND_S = 60.0  # a line about what runs, where nothing else happens


@contextmanager
def display(
    plan: Plan, states: Mapping[str, TrialState], seconds: Mapping[str, float], stream: TextIO
) -> Iterator[Watcher]:
    """The display that fits a stream, for as long as the block runs and the stream can be written.

    ``states``: trial → where it stands before the run. ``seconds``: trial → what like ones took.
    """
    console = Console(file=Outlet(stream), highlight=False, soft_wrap=True)
    board = Board(plan, {id: it.state for id, it in states.items()}, Eta(plan, seconds))
    if not console.is_terminal:
        yield Lines(board, console)
        return
    live = Live(board, console=console, auto_refresh=False, redirect_stdout=False)
    with live:
        yield LiveTable(board, live)
        live.refresh()


class LiveTable:
    """The live table; what fails or is skipped stays on screen above it."""

    def __init__(self, board: Board, live: Live):
        self._board, self._live = board, live
        self._shown_at = 0.0

    def event(self, event: Event) -> None:
        self._board.event(event)
        if event.state in ("failed", "retried"):
            self._live.console.print(line(event), style="red", markup=False)
        self.tick()

    def progress(self, progress: Progress) -> None:
        self._board.progress(progress)

    def note(self, text: str) -> None:
        self._live.console.print(text, style="yellow", markup=False)
        self._live.refresh()

    def tick(self) -> None:
        now = time.monotonic()
        if now - self._shown_at > REFRESH_S:
            self._shown_at = now
            self._live.refresh()


class Lines:
    """One line an event, and one a minute while nothing happens."""

    def __init__(self, board: Board, console: Console):
        self._board, self._console = board, console
        self._said_at = time.monotonic()

    def event(self, event: Event) -> None:
        self._board.event(event)
        if event.state != "new":  # to be run after all, which its start will tell
            self._say(line(event))

    def progress(self, progress: Progress) -> None:
        self._board.progress(progress)

    def note(self, text: str) -> None:
        self._say(text)

    def tick(self) -> None:
        if time.monotonic() - self._said_at > REMIND_S:
            self._say(self._board.summary())

    def _say(self, text: str) -> None:
        self._said_at = time.monotonic()
        self._console.print(f"{self._board.finished}/{self._board.total}  {text}", markup=False)


def line(event: Event) -> str:
    """An event as a line: ``done     base depth λ_b 0.1 (41 s)``."""
    trial = event.trial
    text = f"{event.state:8} {trial.id[:12]}  {trial.label}"
    if event.seconds is not None:
        text += f"  ({clock(event.seconds)})"
    if event.state == "skipped":
        return f"{text}: because of {event.because[:12]}"
    return f"{text}: {event.because}" if event.because else text
