"""What `tcc status` prints: a study, or the studies of a store."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tcc.report.runs import last_run_text
from tcc.report.status import Running, StudyStatus
from tcc.report.studies import StoreStatus
from tcc.report.words import bytes_text, count_text, duration_text, time_text

SHOWN = 20  # interrupted trials that are named
_COLOURS = {"done": "green", "failed": "red", "skipped": "yellow", "running": "cyan"}


def print_status(found: StudyStatus | StoreStatus, console: Console | None = None) -> None:
    """Prints where a study stands, or the studies of a store."""
    console = console or Console()
    _print_study(found, console) if isinstance(found, StudyStatus) else _print_store(found, console)


def _print_study(found: StudyStatus, console: Console) -> None:

    def line(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    totals = found.totals
    summary = ", ".join(f"[{_COLOURS.get(s, 'dim')}]{n} {s}[/]" for s, n in totals.items())
    line(f"[bold]{escape(found.study)}[/]: {count_text(found.total, 'trial')}, {summary}")
    if found.runs:
        line(escape(last_run_text(found.runs)))
    line(_disk_text(found))
    table = Table("kind", *totals, box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, states in found.counts.items():
        table.add_row(kind, *(str(states[state]) if state in states else "" for state in totals))
    console.print(table)
    if found.running:
        console.print(_running_table(found))
    for item in found.interrupted[:SHOWN]:
        line(f"[cyan]interrupted[/] {item.trial} {escape(f'{item.label}: {item.because}')}")
    if len(found.interrupted) > SHOWN:
        line(f"[cyan]interrupted[/] and {len(found.interrupted) - SHOWN} more")
    for item in found.failures:
        where = "" if item.step is None else f" at step {item.step}"
        where += f", term {item.term}" if item.term else ""
        line(f"[red]failed[/] {item.trial} {escape(f'{item.label}: {item.reason}{where}')}")
        line(f"  log {escape(item.log)}")
    for item in found.skipped:
        because = escape(f"because of {item.label}")
        line(f"[yellow]skipped[/] {count_text(item.count, 'trial')} {because} ({item.because})")
    if found.failures:
        line(f"`tcc retry {escape(found.study)}` tries failed and skipped trials again")
    for item in found.distrusts:
        line(f"[yellow]not trusted[/] {escape(str(item))}")


def _print_store(found: StoreStatus, console: Console) -> None:
    if not found.studies:
        text = f"store {found.uri} holds no study; `tcc run SPEC` makes one"
        console.print(escape(text), soft_wrap=True, highlight=False)
        return
    table = Table("study", "trials", "done", "disk", "shared", "last run", box=None)
    for column in table.columns[1:5]:
        column.justify = "right"
    for item in found.studies:
        trials = "no plan" if item.trials is None else str(item.trials)
        shared = bytes_text(item.shared_bytes) if item.shared_bytes else ""
        last = "" if item.last_run is None else time_text(item.last_run.started_at)
        name, size = escape(item.study), bytes_text(item.disk_bytes)
        table.add_row(name, trials, str(item.done), size, shared, last)
    console.print(table)
    where = escape(f"{bytes_text(found.disk_bytes)} in {found.uri}")
    console.print(where, soft_wrap=True, highlight=False)


def _disk_text(found: StudyStatus) -> str:
    disk = found.disk
    text = f"disk {bytes_text(disk.total)}"
    if disk.shared_trials:
        trials = count_text(disk.shared_trials, "trial")
        text += f", {bytes_text(disk.shared)} of it in {trials} that other studies share"
    return text


def _running_table(found: StudyStatus) -> Table:
    columns = ("running", "host", "pid", "phase", "step", "loss", "bpp", "eta")
    table = Table(*columns, box=None, header_style="cyan")
    for item in found.running:
        table.add_row(*map(escape, _running_cells(item)))
    return table


def _running_cells(item: Running) -> tuple[str, ...]:
    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return (
        item.label,
        item.host,
        str(item.pid),
        item.phase,
        f"{item.step}/{item.steps}",
        shown(item.loss, ".4g"),
        shown(item.rate_bpp, ".3g"),
        "" if item.eta_s is None else duration_text(item.eta_s),
    )
