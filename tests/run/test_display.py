from __future__ import annotations

import errno
import io
import os

import pytest
from fake_trials import make_plan, make_trial
from rich.console import Console
from rich.live import Live

from tcc.plan import TrialState
from tcc.records import Progress
from tcc.run.board import Board
from tcc.run.display import LiveTable, display, line
from tcc.run.eta import Eta, clock
from tcc.run.events import Event
from tcc.run.outlet import Outlet

BASE = make_trial("0123456789abcdef", label="base depth λ_b=0.1")
CHILD = make_trial("child", ("0123456789abcdef",), kind="enhancement", label="enhancement λ_e=1")
PLAN = make_plan(BASE, CHILD)
STATES = {BASE.id: "new", CHILD.id: "blocked"}


def progress(eta_s: float | None = 30.0) -> Progress:
    return Progress(
        trial=BASE.id,
        phase="train",
        step=50,
        steps=200,
        loss=1.2345,
        bpp=0.25,
        elapsed_s=10.0,
        eta_s=eta_s,
    )


def drawn(board: Board) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(board)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_board_shows_counts_and_where_running_trials_are() -> None:
    board = Board(PLAN, STATES, Eta(PLAN, {}))
    board.event(Event(trial=BASE, state="running"))
    assert "starting" in drawn(board)
    board.progress(progress())
    text = drawn(board)
    for shown in ("base depth λ_b=0.1", "train", "50/200", "1.234", "0.2500", "30 s"):
        assert shown in text
    assert "0 of 2 trials" in text
    board.event(Event(trial=BASE, state="done", seconds=40.0))
    assert "50/200" not in drawn(board)
    assert "1 of 2 trials" in drawn(board)
    assert "about 40 s left" in drawn(board), "the child is expected to take as long as the base"


def test_the_board_says_who_else_runs_a_trial() -> None:
    board = Board(PLAN, STATES, Eta(PLAN, {}))
    board.event(Event(trial=BASE, state="running", because="host:7 of another run"))
    assert "host:7 of another run" in drawn(board)


def test_the_board_draws_a_large_study_in_a_bounded_height() -> None:
    plan = make_plan(*[make_trial(f"t{n}") for n in range(100)])
    board = Board(plan, {trial.id: "new" for trial in plan}, Eta(plan, {}))
    for trial in plan:
        board.event(Event(trial=trial, state="running"))
    assert len(drawn(board).splitlines()) < 24
    assert "and 88 more" in drawn(board)


def test_progress_of_a_trial_that_no_longer_runs_is_not_shown() -> None:
    board = Board(PLAN, STATES, Eta(PLAN, {}))
    board.progress(progress())
    assert "50/200" not in drawn(board)


def test_a_live_table_keeps_failures_on_screen() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    board = Board(PLAN, STATES, Eta(PLAN, {}))
    with Live(board, console=console, auto_refresh=False) as live:
        table = LiveTable(board, live)
        table.event(Event(trial=BASE, state="running"))
        table.progress(progress())
        table.event(Event(trial=BASE, state="failed", because="loss is nan"))
        table.tick()
    assert "loss is nan" in console.file.getvalue()  # type: ignore[attr-defined]


def test_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    states = {id: TrialState(id=id, state=state) for id, state in STATES.items()}
    with display(PLAN, states, {}, stream) as watcher:
        watcher.event(Event(trial=BASE, state="running"))
        watcher.progress(progress())
        watcher.event(Event(trial=BASE, state="done", seconds=12.3))
        watcher.event(Event(trial=CHILD, state="new"))
        watcher.tick()
    assert stream.getvalue().splitlines() == [
        "0/2  running  0123456789ab  base depth λ_b=0.1",
        "1/2  done     0123456789ab  base depth λ_b=0.1  (12 s)",
    ]


class Gone(io.StringIO):
    """A stream whose reader is gone. ``fault``: what writing to it raises."""

    def __init__(self, fault: OSError, terminal: bool):
        super().__init__()
        self.fault, self.terminal, self.tried = fault, terminal, 0

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.tried += 1
        raise self.fault


@pytest.mark.parametrize("fault", [BrokenPipeError(), OSError(errno.EIO, "the terminal is closed")])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_stream_that_nobody_reads_is_left_alone_for_good(fault: OSError, terminal: bool) -> None:
    stream = Gone(fault, terminal)
    states = {id: TrialState(id=id, state=state) for id, state in STATES.items()}
    with display(PLAN, states, {}, stream) as watcher:
        watcher.event(Event(trial=BASE, state="running"))
        watcher.note("stopping")
        watcher.event(Event(trial=BASE, state="failed", because="loss is nan"))
        watcher.tick()
    assert stream.tried == 1


def test_what_was_not_written_to_a_pipe_fails_nothing_later() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        os.close(read)
        print("a line", file=Outlet(stream), flush=True)
        stream.flush()


def test_a_line_says_why() -> None:
    event = Event(trial=CHILD, state="skipped", because=BASE.id)
    assert line(event) == "skipped  child  enhancement λ_e=1: because of 0123456789ab"


def test_the_time_left_is_measured_over_what_runs_side_by_side() -> None:
    plan = make_plan(*[make_trial(f"t{n}") for n in range(5)])
    eta = Eta(plan, {})
    states = dict.fromkeys((trial.id for trial in plan), "new")
    assert eta.remaining_s(states, {}) is None, "nothing was measured yet"
    eta.took(plan.trials[0], 10.0)
    states["t0"] = "done"
    states["t1"] = states["t2"] = "running"
    running = {"t1": None, "t2": progress(eta_s=4.0)}
    assert eta.remaining_s(states, running) == pytest.approx((10 + 4 + 10 + 10) / 2)


def test_history_is_used_until_something_was_measured() -> None:
    eta = Eta(PLAN, {BASE.id: 100.0, CHILD.id: 50.0})
    assert eta.remaining_s(STATES, {}) == 150.0
    eta.took(BASE, 10.0)
    assert eta.remaining_s({BASE.id: "done", CHILD.id: "new"}, {}) == 50.0


@pytest.mark.parametrize(
    "seconds,text",
    [(None, "?"), (0.4, "0 s"), (59.4, "59 s"), (60, "1:00"), (725, "12:05"), (11220, "3:07:00")],
)
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text
