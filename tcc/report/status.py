"""Where a study stands: counts, failures, running trials, files that cannot be trusted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tcc.plan.ledger import STATES
from tcc.records import FailureRecord, Progress, TrialSpec
from tcc.report.study import Study, read_study
from tcc.stores import Store

if TYPE_CHECKING:
    from rich.console import Console

SILENT_S = 300.0  # a trial that wrote no state for longer is not running
_WAITING = ("new", "blocked")
_COLOURS = {"done": "green", "failed": "red", "skipped": "yellow", "running": "cyan"}


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial that wrote its state not long ago. ``rate_bpp``: of its last training batch."""

    trial: str
    label: str
    phase: str
    step: int
    steps: int
    loss: float | None
    rate_bpp: float | None
    elapsed_s: float
    eta_s: float | None
    silent_s: float | None  # since its last sign of life; None where the store cannot say


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A trial that could not finish."""

    trial: str
    label: str
    reason: str
    step: int | None
    term: str | None
    log: str


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """A study at one moment. ``counts``: kind → state → number of trials."""

    study: str
    total: int
    counts: Mapping[str, Mapping[str, int]]
    running: tuple[Running, ...]
    failures: tuple[Failed, ...]
    problems: tuple[str, ...]

    @property
    def totals(self) -> Mapping[str, int]:
        """State → number of trials, of all kinds."""
        return _in_order(sum((Counter(states) for states in self.counts.values()), Counter()))


def status(study: str, store: Store) -> StudyStatus:
    """Where a study stands, from its files alone.

    Raises:
        StoreError: there is no such study.
        RecordError: its plan cannot be trusted.
    """
    content = read_study(study, store)
    running = {item.trial: item for item in _running(content, store)}
    counts: dict[str, Counter[str]] = {}
    for trial in content.plan:
        state = "running" if trial.id in running else content.states[trial.id].state
        counts.setdefault(trial.kind, Counter())[state] += 1
    return StudyStatus(
        study=study,
        total=len(content.plan),
        counts={kind: _in_order(states) for kind, states in counts.items()},
        running=tuple(running.values()),
        failures=tuple(map(_failed, content.failures)),
        problems=store.problems(),
    )


def status_json(found: StudyStatus) -> dict[str, Any]:
    """What `tcc status --json` prints."""
    return {
        "study": found.study,
        "total": found.total,
        "by_state": dict(found.totals),
        "by_kind": {kind: dict(states) for kind, states in found.counts.items()},
        "running": [asdict(item) for item in found.running],
        "failures": [asdict(item) for item in found.failures],
        "problems": list(found.problems),
    }


def print_status(found: StudyStatus, console: Console | None = None) -> None:
    """Prints a status on the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = console or Console()
    totals = found.totals
    summary = ", ".join(f"[{_COLOURS.get(s, 'dim')}]{n} {s}[/]" for s, n in totals.items())
    console.print(f"[bold]{escape(found.study)}[/]: {found.total} trials, {summary}")
    table = Table("kind", *totals, box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, states in found.counts.items():
        table.add_row(kind, *(str(states[state]) if state in states else "" for state in totals))
    console.print(table)
    if found.running:
        running = Table(
            "running", "phase", "step", "loss", "bpp", "eta", box=None, header_style="cyan"
        )
        for item in found.running:
            running.add_row(*map(escape, _running_cells(item)))
        console.print(running)
    for item in found.failures:
        where = "" if item.step is None else f" at step {item.step}"
        text = escape(f"{item.label}: {item.reason}{where}")
        console.print(f"[red]failed[/] {item.trial} {text}", soft_wrap=True)
        console.print(f"  log {escape(item.log)}", soft_wrap=True, highlight=False)
    for problem in found.problems:
        console.print(f"[yellow]not trusted[/] {escape(problem)}", soft_wrap=True)


def _running(study: Study, store: Store) -> Iterable[Running]:
    for trial in study.plan:
        if study.states[trial.id].state not in _WAITING:
            continue
        progress = store.progress(trial.id)
        if progress is None or progress.phase == "ended":
            continue
        silent_s = _silent_s(trial.id, store)
        if silent_s is None or silent_s < SILENT_S:
            yield _of(trial, progress, silent_s)


def _of(trial: TrialSpec, progress: Progress, silent_s: float | None) -> Running:
    return Running(
        trial=trial.id,
        label=trial.label,
        phase=progress.phase,
        step=progress.step,
        steps=progress.steps,
        loss=progress.loss,
        rate_bpp=progress.bpp,
        elapsed_s=progress.elapsed_s,
        eta_s=progress.eta_s,
        silent_s=silent_s,
    )


def _silent_s(trial: str, store: Store) -> float | None:
    try:
        written = (store.log_path(trial).parent / "state.json").stat().st_mtime
    except OSError:  # the store is not a local folder
        return None
    return max(0.0, time.time() - written)


def _failed(failure: FailureRecord) -> Failed:
    return Failed(
        trial=failure.trial.id,
        label=failure.trial.label,
        reason=failure.reason,
        step=failure.step,
        term=failure.term,
        log=failure.log,
    )


def _in_order(states: Mapping[str, int]) -> dict[str, int]:
    return {state: states[state] for state in STATES if states.get(state)}


def _running_cells(item: Running) -> tuple[str, ...]:
    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return (
        item.label,
        item.phase,
        f"{item.step}/{item.steps}",
        shown(item.loss, ".4g"),
        shown(item.rate_bpp, ".3g"),
        "" if item.eta_s is None else f"{item.eta_s:.0f} s",
    )
