"""Curves from outside, such as a paper's own, laid over the panels where task and metric fit.

    figure,panel,role,dataset,metric,method,point,bpp,value
    Fig3,b,depth (base task),Cityscapes,RMSE,Proposed,0,0.065786,6.178
    Fig4,b,direct reconstruction from depth base,Cityscapes,PSNR,Proposed,0,0.065785,29.30247
    Fig6,,depth -> semantic segmentation (scalable),Cityscapes,mIoU,Proposed,0,0.162381,0.907869
    Fig3,b,depth (base task),Cityscapes,RMSE,Uncompressed,0,,5.83963

A role names its tasks and says ``base task``, ``direct`` or ``scalable``; without an arrow, the
base comes last. A row without bpp is a level. Overlaid curves are drawn and nothing else: no
verdict, table or export knows of them.
"""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tcc import registry
from tcc.errors import DataError
from tcc.report.lines import IMPORTED_SHAPES, Line, Strand
from tcc.report.panels import PairPanels, Panel
from tcc.report.words import metric_text

COLUMNS = ("figure", "panel", "role", "dataset", "metric", "method", "bpp", "value")
_ROLES = {"base task": "base", "direct": "direct", "scalable": "total", "enhancement only": "own"}


@dataclass(frozen=True, kw_only=True)
class ForeignCurve:
    """One curve of a file. ``role``: of the panels that it fits; ``tasks``: base, enhancement."""

    role: str
    tasks: tuple[str, ...]
    metric: str
    method: str
    place: str  # where the source shows it
    points: tuple[tuple[float, float], ...]  # bits per pixel, NaN for a level; value


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """The curves of a file. ``name``: what they are said to be from."""

    name: str
    curves: tuple[ForeignCurve, ...]
    digest: str


@dataclass(frozen=True, kw_only=True)
class Overlaid:
    """What came of an overlay: how many of its curves fit some panel."""

    name: str
    curves: int
    fit: int


def read_overlay(path: Path) -> Overlay:
    """The curves of a CSV file.

    Raises:
        DataError: it cannot be read, or a row of it cannot be understood.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a text file in UTF-8") from error
    reader = csv.DictReader(text.splitlines())
    lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if lacking:
        raise DataError(f"{path}: lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}")
    found: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    try:
        for row in reader:
            at = f"{path}:{reader.line_num}"
            cells = {name: (row[name] or "").strip() for name in COLUMNS}
            key = tuple(cells[name] for name in COLUMNS[:6])
            _meaning(cells["role"], at)
            bpp = _number(cells["bpp"], "bpp", at) if cells["bpp"] else math.nan
            found.setdefault(key, []).append((bpp, _number(cells["value"], "value", at)))
    except csv.Error as error:
        raise DataError(f"{path}: is not valid CSV: {error}") from error
    if not found:
        raise DataError(f"{path}: holds no point")
    return Overlay(
        name=path.stem.replace("_", " "),
        curves=tuple(_curve(dict(zip(COLUMNS, key, strict=False)), found[key]) for key in found),
        digest=hashlib.sha256(f"{path.name}\0{text}".encode()).hexdigest(),
    )


def lay_over(
    pairs: Sequence[PairPanels], overlay: Overlay
) -> tuple[tuple[PairPanels, ...], Overlaid]:
    """The panels with the curves that fit them."""
    fitting: set[ForeignCurve] = set()

    def extended(pair: PairPanels, panel: Panel) -> Panel:
        curves = [curve for curve in overlay.curves if _fits(curve, pair, panel)]
        fitting.update(curves)
        return _with_lines(panel, overlay.name, curves) if curves else panel

    laid = tuple(
        replace(pair, panels=tuple(extended(pair, panel) for panel in pair.panels))
        for pair in pairs
    )
    count = len(overlay.curves)
    return laid, Overlaid(name=overlay.name, curves=count, fit=len(fitting))


def _fits(curve: ForeignCurve, pair: PairPanels, panel: Panel) -> bool:
    tasks = pair.tasks[:1] if panel.role == "base" else pair.tasks
    metric = metric_text(panel.metric)
    return (panel.role, tasks, metric.lower()) == (curve.role, curve.tasks, curve.metric.lower())


def _with_lines(panel: Panel, name: str, curves: Sequence[ForeignCurve]) -> Panel:
    reach = max((bpp for curve in curves for bpp, _ in curve.points if bpp > 0), default=0.0)
    reach = max(panel.reach or 0.0, 1.05 * reach)
    methods = list(dict.fromkeys(curve.method for curve in curves))
    lines = [_line(curve, name, methods.index(curve.method), reach) for curve in curves]
    levels = [_longer(line, reach) if line.level else line for line in panel.lines]
    return replace(panel, reach=reach, lines=(*levels, *lines))


def _line(curve: ForeignCurve, name: str, at: int, reach: float) -> Line:
    level = all(math.isnan(bpp) for bpp, _ in curve.points)
    points = [(x, curve.points[0][1]) for x in (0.0, reach)] if level else sorted(curve.points)
    hover = [
        (
            f"{name}: {curve.method}, not of this study",
            f"{curve.metric} {value:g}" + ("" if level else f" at {bpp:g} bpp"),
            f"{curve.place}; for the shape only: other images, sizes and training",
        )
        for bpp, value in points
    ]
    strand = Strand(
        xs=tuple(bpp for bpp, _ in points),
        ys=tuple(value for _, value in points),
        hover=tuple(hover),
        trials=((),) * len(points),
        improving=(False,) * len(points),
    )
    return Line(
        family=f"{name}: {curve.method}",
        arm="",
        at="",
        shown=True,
        slot=None,
        dash="dash",
        shape=IMPORTED_SHAPES[at % len(IMPORTED_SHAPES)],
        fill="full",
        level=level,
        foreign=True,
        strands=(strand,),
    )


def _longer(line: Line, reach: float) -> Line:
    """A level that ends where its panel ends now."""
    (strand,) = line.strands
    stretch = reach / strand.xs[-1] if strand.xs[-1] else 1.0
    return replace(line, strands=(replace(strand, xs=tuple(x * stretch for x in strand.xs)),))


def _curve(cells: Mapping[str, str], points: Iterable[tuple[float, float]]) -> ForeignCurve:
    role, tasks = _meaning(cells["role"], "")
    figure = f"{cells['figure']} {cells['panel']}".strip()
    return ForeignCurve(
        role=role,
        tasks=tasks,
        metric=cells["metric"],
        method=cells["method"],
        place=", ".join(part for part in (figure, cells["dataset"]) if part),
        points=tuple(points),
    )


def _meaning(text: str, at: str) -> tuple[str, tuple[str, ...]]:
    """The role and the tasks, base first, that words mean."""
    lower = text.lower()
    role = next((role for words, role in _ROLES.items() if words in lower), "")
    words = re.findall(r"[a-z_]+", lower)
    tasks = tuple(dict.fromkeys(word for word in words if word in registry.names("tasks")))
    if not role or len(tasks) != (1 if role == "base" else 2):
        raise DataError(
            f"{at}: role {text!r:.80} does not say which panel: give one task and “base task”, or "
            f"two and one of {', '.join(list(_ROLES)[1:])}"
        )
    return role, tasks if "->" in text or "→" in text else tasks[::-1]


def _number(text: str, column: str, at: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{at}: {column} {text!r:.60} is not a number")
    return value
