"""Draws the sheets for papers. What they show is decided in `panels` and `sheets`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.curves.bulk import spread
from tcc.report.lines import SHAPES, Line, band
from tcc.report.panels import PairPanels
from tcc.report.sheets import Cell, Sheet, sheets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b5fa5", "#d1530a", "#00805f", "#a8438f", "#8a6d00", "#3f8fc4")
NEUTRAL = "#59616f"
FOREIGN = "#171a21"
COLUMN_INCH, PAPER_INCH = 3.5, 7.16  # one column of an IEEE page, two
_AXES_INCH = 1.5  # high
_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "pentagon": "p",
    "hexagon": "h",
    "star": "*",
    "x": "X",
    "cross": "P",
    "bowtie": "d",
}
_DASHES = {
    "solid": "solid",
    "dash": (0, (5, 2)),
    "dot": (0, (1, 1.6)),
    "dashdot": (0, (5, 1.6, 1, 1.6)),
    "longdash": (0, (9, 2)),
    "longdashdot": (0, (8, 1.6, 1, 1.6)),
}
_FILLS = {"open": "none", "full": "full", "open-dot": "left", "dot": "top"}
_STYLE: Any = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#8b94a3",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e4e7ec",
    "grid.linewidth": 0.5,
    "xtick.color": "#59616f",
    "ytick.color": "#59616f",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 6.5,
    "pdf.fonttype": 42,  # text stays text
    "text.parse_math": False,  # names are shown as they are
}


def draw_figures(
    pairs: Sequence[PairPanels], notice: str, folder: Path, pool: Executor | None = None
) -> Iterator[Path]:
    """Every sheet as PNG and PDF, as wide as a column or two of a paper; gives their paths. The
    workers of a ``pool`` begin at once."""
    drawn = spread(pool, partial(_draw_sheet, notice=notice, folder=folder), sheets(pairs))
    return chain.from_iterable(drawn)


def _draw_sheet(sheet: Sheet, notice: str, folder: Path) -> tuple[Path, ...]:
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        figure = _figure(sheet, notice)
        places = [folder / f"{sheet.name}.{suffix}" for suffix in ("png", "pdf")]
        return tuple(_save(figure, place, dpi=200) for place in places)


def _figure(sheet: Sheet, notice: str) -> Figure:
    """The sheet's axes at fixed places, its legend below, the study's notice on top. No layout is
    searched for: of a large study that would take longer than all the rest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows = sheet.columns, len(sheet.rows)
    width = COLUMN_INCH if columns == 1 else PAPER_INCH
    told = textwrap.wrap(notice, round(width * 17))
    entries = _legend(sheet.lines)
    per_row = max(1, round(width / _entry_inch(entries)))
    gap, left_inch = (0.36, 0.32) if sheet.heads else (0.6, 0.52)
    above = 0.28 + 0.13 * len(told) + 0.2
    below = 0.42 + 0.15 * -(-len(entries) // per_row)
    height = above + below + rows * (_AXES_INCH + gap) - gap
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    across, down = (width - 0.08) / columns, _AXES_INCH + gap
    for at, row in enumerate(sheet.rows):
        for column, cell in enumerate(row):
            if cell:
                bottom = height - above - down * at - _AXES_INCH
                place = left_inch + across * column, bottom, across - left_inch, _AXES_INCH
                ax = figure.add_axes(_share(place, width, height))
                _draw(ax, cell, labelled=not sheet.heads or at + 1 == rows)
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="lower center",
        ncols=min(len(entries), per_row),
        frameon=False,
        handlelength=2.8,
        borderaxespad=0.1,
        labelspacing=0.35,
    )
    y = 1 - (0.06 + 0.13 * len(told)) / height
    style: Any = {"fontweight": "bold", "va": "top"}
    if sheet.title:
        figure.text(0.008, y, _short(sheet.title, width * 11.5), fontsize=9, **style)
    for column, head in enumerate(sheet.heads):
        x = (across * column + 0.06) / width
        figure.text(x, y, _short(head, across * 19), fontsize=6.5 if columns > 3 else 7.5, **style)
    if told:
        note: Any = {"va": "top", "color": "#8a5a00", "fontsize": 6.5}
        figure.text(0.008, 1 - 0.05 / height, "\n".join(told), **note)
    return figure


_Place = tuple[float, float, float, float]  # left, bottom, width, height


def _share(inches: _Place, width: float, height: float) -> _Place:
    left, bottom, across, up = inches
    return left / width, bottom / height, across / width, up / height


def _entry_inch(entries: Mapping[str, Any]) -> float:
    """How wide a column of the legend is."""
    return 0.55 + 0.052 * max(map(len, entries), default=1)


def _short(text: str, room: float) -> str:
    return text if len(text) <= room else f"{text[: int(room) - 1]}…"


def _draw(ax: Axes, cell: Cell, *, labelled: bool) -> None:
    panel = cell.panel
    for line in panel.lines:
        if line.level:
            ax.axhline(
                line.strands[0].ys[0], color=_ink(line), linestyle=_DASHES[line.dash], linewidth=0.9
            )
        elif line.shown:
            width, alpha = (0.6, 0.6) if line.faint else (1.2, 1.0)
            style = _style(_ink(line), line.shape, line.fill, line.dash)
            xs, ys = joined(line)
            ax.plot(xs, ys, **style, linewidth=width, alpha=alpha)
            area = band(line)
            if area is not None:
                ax.fill_between(*area, color=_ink(line), alpha=0.16, linewidth=0)
    width = ax.get_position().width * ax.get_figure().get_figwidth()  # type: ignore[union-attr]
    ax.set(
        xlabel=_short(panel.x, width * 16) if labelled else "",
        ylabel=_short(cell.y, 27),
        xlim=None if panel.reach is None else (0, panel.reach),
    )
    if panel.reach is None:
        ax.axhline(0, color=NEUTRAL, linewidth=0.7)
    ax.set_title(_short(cell.title, width * 16), loc="left" if not cell.y else "center", pad=4)
    ax.locator_params(nbins=5 if width > 2 else 4)
    ax.grid(True)
    ax.set_axisbelow(True)


def joined(line: Line) -> tuple[list[float], list[float]]:
    """All points of a line, with a gap between its seeds."""
    xs: list[float] = []
    ys: list[float] = []
    for strand in line.strands:
        gap = [math.nan] if xs else []
        xs += [*gap, *strand.xs]
        ys += [*gap, *strand.ys]
    return xs, ys


def _ink(line: Line) -> str:
    if line.foreign:
        return FOREIGN
    return NEUTRAL if line.slot is None else COLOURS[line.slot % len(COLOURS)]


def _style(ink: str, shape: str, fill: str, dash: str) -> dict[str, Any]:
    return {
        "color": ink,
        "linestyle": _DASHES[dash] if dash else "none",
        "marker": _MARKERS[shape] if shape else None,
        "fillstyle": _FILLS[fill],
        "markerfacecoloralt": "white",
        "markersize": 3.2,
        "markeredgewidth": 0.8,
    }


def _legend(lines: Sequence[Line]) -> dict[str, Any]:
    """What colour and fill mean, then line styles, then shapes: ten entries say what fifty
    curves are."""
    from matplotlib.lines import Line2D

    entries: dict[str, Any] = {}

    def add(name: str, ink: str, shape: str, fill: str, dash: str) -> None:
        name = _short(name, 48)
        if name and name not in entries:
            entries[name] = Line2D([], [], **_style(ink, shape, fill, dash))

    for line in lines:
        add(line.arm, _ink(line), SHAPES[0], line.fill, "solid")
    for line in lines:
        if line.dash != "solid":
            own = "" if line.level or line.at else line.shape
            add(line.family, FOREIGN if line.foreign else NEUTRAL, own, line.fill, line.dash)
    bases = {line.at: line.shape for line in lines}
    for at in bases if len(bases) > 2 else ():
        add(at, NEUTRAL, bases[at], "full", "")
    return entries


def _save(figure: Figure, path: Path, dpi: int) -> Path:
    """Equal figures give equal files: no date goes in."""
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
    figure.savefig(path, dpi=dpi, metadata=metadata)
    return path
