"""Builds the report of a study, once for each state of its records.

Study ─ curves ─ comparisons ┬ tables    points.csv  bd_rates.csv  side_information.csv
                             │           report.json  curves/*.json
                             ├ figures   figures/*.png  *.pdf
                             └ page      index.html
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcc.curves.coding import CurveGap, curve_gaps
from tcc.curves.comparisons import Comparison, compare
from tcc.curves.files import curve_json
from tcc.curves.imported import imported_curves
from tcc.curves.points import curves_of
from tcc.curves.side_information import Saving, savings, side_information
from tcc.records import CurveKey, RDCurve
from tcc.report.coding import coding_json
from tcc.report.figures import draw_figures
from tcc.report.html import page_text
from tcc.report.panels import pair_panels
from tcc.report.previews import previews
from tcc.report.runs import runs_json
from tcc.report.study import Study, read_study, stamp
from tcc.report.tables import (
    BD_RATE_COLUMNS,
    POINT_COLUMNS,
    SAVING_COLUMNS,
    bd_rate_rows,
    csv_text,
    curve_rows,
    flat,
    point_rows,
    saving_rows,
)
from tcc.report.verdicts import groups, headline, sentences, without_comparison
from tcc.report.words import curve_text, pair_text
from tcc.stores import Store, open_store
from tcc.stores._disk import writing

FOLDER = "report"
MAX_NAME = 160  # characters of a curve's file name
STAMP_FILE = "stamp.json"  # written last: a report without it is drawn again


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Where a report lies. ``fresh``: it was drawn now, not found unchanged. ``address``: of the
    page in the store, which is not the local page's where the store is not local."""

    address: str
    page: Path
    points: Path
    bd_rates: Path
    side_information: Path
    summary: Path  # what `tcc report --json` prints
    curves: tuple[Path, ...]
    figures: tuple[Path, ...]
    fresh: bool

    @property
    def told(self) -> str:
        """Where the page is, for the user."""
        here = str(self.page)
        return here if self.address == here else f"{self.address} (for a day also {here})"

    def __iter__(self) -> Iterator[Path]:
        yield from (self.page, self.points, self.bd_rates, self.side_information, self.summary)
        yield from (*self.curves, *self.figures)


def build_report(study: str, store: Store, *, past: str = "") -> ReportFiles:
    """The report of a study in ``STORE/studies/NAME/report/``; an unchanged one is left alone.

    ``past``: the first letters of the digest of an archived plan, whose report lies beside it. The
    store may be open for reading only: it is written only where there is something to draw.

    Raises:
        StoreError: there is no such study or archived plan, or the store cannot be written.
        RecordError: its plan cannot be trusted.
    """
    content = read_study(study, store, past=past)
    mark = stamp(content)
    return _found(content, store, mark) or _draw(content, open_store(store.uri), mark)


def report_json(study: str, store: Store, *, past: str = "") -> dict[str, Any]:
    """What `tcc report --json` prints: ``study``, ``runs``, ``bd_rates``, ``curves``,
    ``side_information``, ``coding``, ``files``.

    Raises:
        StoreError, RecordError: as `build_report`.
    """
    files = build_report(study, store, past=past)
    content = json.loads(files.summary.read_text(encoding="utf-8"))
    return {
        **content,
        "files": {
            "html": str(files.page),
            "points": str(files.points),
            "bd_rates": str(files.bd_rates),
            "side_information": str(files.side_information),
            "curves": [str(path) for path in files.curves],
            "figures": [str(path) for path in files.figures],
        },
    }


def _folder(study: Study) -> str:
    """Where the report lies in the study's folder."""
    return f"past/{study.past.digest}/{FOLDER}" if study.past else FOLDER


def _found(study: Study, store: Store, mark: str) -> ReportFiles | None:
    """The report that is there, if it was drawn from the same content and is whole."""
    text = store.read_study(study.name, f"{_folder(study)}/{STAMP_FILE}")
    try:
        seal = json.loads(text or "{}")
        files = _files(study, store, seal["files"], fresh=False)
        json.loads(files.summary.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return None
    same = seal.get("stamp") == mark and all(path.is_file() for path in files)
    return files if same else None


def _files(study: Study, store: Store, names: Sequence[str], *, fresh: bool) -> ReportFiles:
    folder = store.study_dir(study.name) / _folder(study)
    return ReportFiles(
        address=f"{store.uri}/studies/{study.name}/{_folder(study)}/index.html",
        page=folder / "index.html",
        points=folder / "points.csv",
        bd_rates=folder / "bd_rates.csv",
        side_information=folder / "side_information.csv",
        summary=folder / "report.json",
        curves=tuple(folder / name for name in names if name.startswith("curves/")),
        figures=tuple(folder / name for name in names if name.startswith("figures/")),
        fresh=fresh,
    )


def _draw(study: Study, store: Store, mark: str) -> ReportFiles:
    settings = study.settings.report
    specs = {trial.id: trial for trial in study.plan}
    curves = curves_of(study.records, specs, improving_share=settings.improving_share)
    anchor: dict[str, float] = dict(settings.anchor.items())
    refusals = [settings.refuse] if settings.refuse else []
    outside = imported_curves(settings.imported, curves)
    comparisons = compare(curves, anchor=anchor, refusals=refusals, imported=outside)
    gaps = curve_gaps(curves)
    gains = side_information(curves)
    pairs = pair_panels(curves, gains)
    told = headline(comparisons, curves)
    asked = [(pair.base, pair.enhancement) for pair in study.settings.pairs]
    folder = store.study_dir(study.name) / _folder(study)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STAMP_FILE).unlink(missing_ok=True)
        figures = draw_figures(pairs, settings.notice, folder / "figures")
        names = [path.relative_to(folder).as_posix() for path in figures]

    def write(name: str, text: str) -> None:
        store.write_study(study.name, f"{_folder(study)}/{name}", text)

    for name, curve in _named((*curves, *outside)):
        write(name, json.dumps(curve_json(curve, _title(curve.key)), indent=1, ensure_ascii=False))
        names.append(name)
    with writing(folder):
        _remove_others(folder, names)
    _write_tables(study, (*curves, *outside), comparisons, gaps, savings(gains), write)
    page = page_text(
        study,
        sentences=sentences(told) + without_comparison(asked, told, curves),
        verdicts=groups(told),
        pairs=pairs,
        previews=previews(list(study.records), store),
        gaps=gaps,
    )
    write("index.html", page)
    write(STAMP_FILE, json.dumps({"stamp": mark, "files": names}, indent=1))
    return _files(study, store, names, fresh=True)


def _write_tables(
    study: Study,
    curves: Sequence[RDCurve],
    comparisons: Sequence[Comparison],
    gaps: Sequence[CurveGap],
    saved: Sequence[Saving],
    write: Callable[[str, str], None],
) -> None:
    bd_rates = list(bd_rate_rows(study.name, comparisons))
    write("points.csv", csv_text(POINT_COLUMNS, point_rows(study.name, curves)))
    write("bd_rates.csv", csv_text(BD_RATE_COLUMNS, map(flat, bd_rates)))
    saving = list(saving_rows(study.name, saved))
    write("side_information.csv", csv_text(SAVING_COLUMNS, saving))
    content = {
        "study": study.name,
        "runs": runs_json(study.runs),
        "bd_rates": bd_rates,
        "curves": list(curve_rows(curves)),
        "side_information": saving,
        "coding": [coding_json(gap) for gap in gaps],
    }
    write("report.json", json.dumps(content, allow_nan=False, ensure_ascii=False))


def _named(curves: Sequence[RDCurve]) -> Iterator[tuple[str, RDCurve]]:
    """A file name for each curve that has a rate. Names that had to be cut end in a hash."""
    for curve in curves:
        if not all(math.isfinite(point.rate_bpp) for point in curve.points):
            continue
        key = curve.key
        fixed = [f"{axis}={value:g}" for axis, value in key.fixed.items()]
        parts = [key.family, *key.tasks, key.method, key.trained_on, key.dataset, key.split]
        parts += [
            key.source,
            key.metric.rpartition("/")[2],
            *fixed,
            key.variant,
            f"seed={key.seed}",
        ]
        text = "-".join(part for part in parts if part)
        name = re.sub(r"[^\w.=+-]", "_", text)[:MAX_NAME]
        if name != text:
            name += "-" + hashlib.sha256(repr(key).encode()).hexdigest()[:8]
        yield f"curves/{name}.json", curve


def _title(key: CurveKey) -> str:
    return f"{pair_text(key.tasks)}: {curve_text(key)}, seed {key.seed}"


def _remove_others(folder: Path, names: Sequence[str]) -> None:
    """Removes what an earlier state of the study left."""
    wanted = {folder / name for name in names}
    for kind in ("curves", "figures"):
        for path in (folder / kind).glob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()
