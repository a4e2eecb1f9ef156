"""Which panels make which figure. Draws nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tcc.report.lines import Line
from tcc.report.panels import PairPanels, Panel
from tcc.report.words import pair_text

PAPER_ROLES = {"base": "Base", "direct": "Direct", "total": "Scalable"}  # by row
MAX_PAIRS = 6  # with more, a figure a pair would be too many
MAX_COLUMNS = 4
MAX_NAME = 120  # bytes of a file name


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One panel where a figure has it. ``y``: beside its axes, where their title does not say."""

    panel: Panel
    title: str
    y: str = ""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What one figure shows: rows of cells, of which the last may be short. ``heads``: of the
    columns; the axes of a column that has one share their x label."""

    name: str  # of its files
    title: str = ""
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[Cell | None, ...], ...]

    @property
    def columns(self) -> int:
        return max(map(len, self.rows))

    @property
    def lines(self) -> list[Line]:
        panels = [cell.panel for row in self.rows for cell in row if cell]
        return [line for panel in panels for line in panel.lines if line.shown]


def sheets(pairs: Sequence[PairPanels]) -> Iterator[Sheet]:
    """The figures of a study: one a pair with all its panels, unless there are many pairs; and, as
    in the paper, base, direct and scalable curves of all pairs of one enhancement task."""
    if len(pairs) <= MAX_PAIRS:
        yield from map(_pair_sheet, pairs)
    groups: dict[tuple[str, ...], list[PairPanels]] = {}
    for pair in pairs:
        groups.setdefault(pair.tasks[1:], []).append(pair)
    for tasks, group in groups.items():
        if len(group) > 1 or len(pairs) > MAX_PAIRS:
            for start in range(0, len(group), MAX_COLUMNS):
                part = f"-{start // MAX_COLUMNS + 1}" if len(group) > MAX_COLUMNS else ""
                shown = group[start : start + MAX_COLUMNS]
                yield _group_sheet(f"{_slug('paper', *tasks)}{part}", shown)


def _pair_sheet(pair: PairPanels) -> Sheet:
    cells = [Cell(panel=panel, title=panel.title, y=panel.y) for panel in pair.panels]
    rows = tuple(tuple(cells[at : at + 2]) for at in range(0, len(cells), 2))
    return Sheet(name=slug(pair), title=pair.title, rows=rows)


def _group_sheet(name: str, pairs: Sequence[PairPanels]) -> Sheet:
    rows: list[tuple[Cell | None, ...]] = []
    mixed = len({pair.setting.dataset for pair in pairs}) > 1
    for role, what in PAPER_ROLES.items():
        row: list[Cell | None] = []
        for pair in pairs:
            panel = next((panel for panel in pair.panels if panel.role == role), None)
            row.append(panel and Cell(panel=panel, title=f"{what}: {panel.y}"))
        rows.append(tuple(row))
    heads = tuple(pair.title if mixed else pair_text(pair.tasks) for pair in pairs)
    return Sheet(name=name, heads=heads, rows=tuple(row for row in rows if any(row)))


def slug(pair: PairPanels) -> str:
    """A file name for one pair's figure."""
    setting = pair.setting
    data = dict.fromkeys((setting.trained_on, setting.dataset))
    return _slug(*pair.tasks, *data, setting.split, setting.method)


def _slug(*parts: str) -> str:
    """Letters, digits and _, as many as a file name may have; a cut one ends in a hash."""
    text = "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)
    if len(text.encode()) <= MAX_NAME:
        return text
    start = text.encode()[:MAX_NAME].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
