"""Draws the panels for paper and README. What they show is decided in `panels`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.report.lines import SHAPES, Line
from tcc.report.panels import PairPanels, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b5fa5", "#d1530a", "#00805f", "#a8438f", "#8a6d00", "#3f8fc4")
NEUTRAL = "#59616f"
PAPER_WIDTH_INCH = 7.16  # two columns of an IEEE page
OVERVIEW = ("base", "direct", "total", "own")  # the panels of overview.png
_ROW_INCH = 2.05
_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "pentagon": "p",
    "hexagon": "h",
    "star": "*",
}
_DASHES = {
    "solid": "solid",
    "dash": (0, (5, 2)),
    "dot": (0, (1, 1.6)),
    "dashdot": (0, (5, 1.6, 1, 1.6)),
    "longdash": (0, (9, 2)),
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
    "svg.hashsalt": "tcc",
}


def draw_figures(pairs: Sequence[PairPanels], notice: str, folder: Path) -> Iterator[Path]:
    """One figure a pair as PNG and PDF, and ``overview.png`` with all pairs; gives their paths."""
    import matplotlib

    if not pairs:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        for pair in pairs:
            figure = _figure([(pair.title, pair.panels)], notice, columns=2)
            for suffix in ("png", "pdf"):
                yield _save(figure, folder / f"{slug(pair)}.{suffix}", dpi=200)
        rows = [(pair.title, [p for p in pair.panels if p.role in OVERVIEW]) for pair in pairs]
        columns = max(len(panels) for _, panels in rows)
        yield _save(_figure(rows, notice, columns=columns), folder / "overview.png", dpi=180)


def slug(pair: PairPanels) -> str:
    """A file name for one pair's figure."""
    setting = pair.setting
    data = dict.fromkeys((setting.trained_on, setting.dataset))
    parts = (*pair.tasks, *data, setting.split, setting.method)
    return "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)


def _figure(parts: Sequence[tuple[str, Sequence[Panel]]], notice: str, columns: int) -> Figure:
    """Each part's panels under its title, and one legend below all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows_of = [-(-len(panels) // columns) for _, panels in parts]
    width = PAPER_WIDTH_INCH * max(1.0, columns / 2.6)
    figure = Figure(figsize=(width, _ROW_INCH * sum(rows_of) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    frames: Any = figure.subfigures(len(parts), 1, height_ratios=rows_of, squeeze=False)
    for frame, rows, (title, panels) in zip(frames[:, 0], rows_of, parts, strict=True):
        frame.suptitle(title, fontsize=9, fontweight="bold", x=0.008, ha="left")
        axes = frame.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes[len(panels) :]:
            ax.remove()
        for ax, panel in zip(axes, panels, strict=False):
            _draw(ax, panel)
    lines = [line for _, panels in parts for panel in panels for line in panel.lines if line.shown]
    entries = _legend(lines)
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=min(len(entries), 5 if columns == 2 else 10),
        frameon=False,
        handlelength=2.8,
    )
    if notice:
        style = {"ha": "right", "va": "top", "color": "#8a5a00", "fontsize": 6.5}
        figure.text(0.995, 0.995, notice, parse_math=False, **style)
    return figure


def _draw(ax: Axes, panel: Panel) -> None:
    for line in panel.lines:
        if line.level:
            ax.axhline(line.ys[0], color=NEUTRAL, linestyle=_DASHES[line.dash], linewidth=0.9)
        elif line.shown:
            width, alpha = (0.8, 0.7) if line.faint else (1.2, 1.0)
            style = _style(line.slot, line.shape, line.fill, line.dash)
            ax.plot(line.xs, line.ys, **style, linewidth=width, alpha=alpha)
    ax.set(title=panel.title, xlabel=panel.x, ylabel=panel.y, xlim=(0, panel.reach))
    ax.grid(True)
    ax.set_axisbelow(True)


def _style(slot: int | None, shape: str, fill: str, dash: str) -> dict[str, Any]:
    return {
        "color": NEUTRAL if slot is None else COLOURS[slot % len(COLOURS)],
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

    def add(name: str, slot: int | None, shape: str, fill: str, dash: str) -> None:
        if name and name not in entries:
            entries[name] = Line2D([], [], **_style(slot, shape, fill, dash))

    for line in lines:
        add(line.arm, line.slot, SHAPES[0], line.fill, "solid")
    for line in lines:
        if line.dash != "solid":
            own = "" if line.level or line.at else line.shape
            add(line.family, None, own, line.fill, line.dash)
    bases = {line.at: line.shape for line in lines}
    for at in bases if len(bases) > 2 else ():
        add(at, None, bases[at], "full", "")
    return entries


def _save(figure: Figure, path: Path, dpi: int) -> Path:
    """Equal figures give equal files: no date goes in."""
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
    figure.savefig(path, dpi=dpi, metadata=metadata)
    return path
