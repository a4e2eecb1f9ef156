"""Builds the report of a study, once for each state of its records.

Study ─ curves ─ comparisons ┬ tables    points, bd_rates, side_information, mpeg: .csv
                             │           report.json  curves/*.json
                             ├ figures   figures/*.png  *.pdf
                             └ page      index.html
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tcc.curves.bulk import workers
from tcc.curves.coding import CurveGap, curve_gaps
from tcc.curves.comparisons import Comparison, compare
from tcc.curves.imported import imported_curves
from tcc.curves.points import curves_of
from tcc.curves.relative import relative_rates
from tcc.curves.side_information import Saving, savings, side_information
from tcc.records import RDCurve
from tcc.report.coding import coding_json
from tcc.report.curve_files import write_curves
from tcc.report.figures import draw_figures
from tcc.report.files import (
    STAMP_FILE,
    ReportFiles,
    files_of,
    folder_of,
    found_files,
    remove_others,
    unfinished,
)
from tcc.report.html import page_text
from tcc.report.links import Links, links
from tcc.report.overlay import Overlay, lay_over, read_overlay
from tcc.report.panels import pair_panels
from tcc.report.previews import previews
from tcc.report.runs import runs_json
from tcc.report.study import Study, read_study, stamp
from tcc.report.tables import (
    BD_RATE_COLUMNS,
    MPEG_COLUMNS,
    POINT_COLUMNS,
    SAVING_COLUMNS,
    bd_rate_rows,
    csv_text,
    curve_rows,
    flat,
    mpeg_rows,
    point_rows,
    saving_rows,
)
from tcc.report.verdicts import groups, headline, sentences, without_comparison
from tcc.report.words import count_text
from tcc.stores import Store, open_store
from tcc.stores._disk import writing


def build_report(
    study: str,
    store: Store,
    *,
    past: str = "",
    overlay: Path | None = None,
    reload_s: int = 0,
    tell: Callable[[str], object] = lambda _: None,
) -> ReportFiles:
    """The report of a study in ``STORE/studies/NAME/report/``; an unchanged one is left alone.

    ``past``: the first letters of the digest of an archived plan, whose report lies beside it.
    ``overlay``: a file of curves to lay over the panels that they fit. ``reload_s``: the page loads
    itself again so often, until the study is finished. ``tell``: is told what is being done. The
    store may be open for reading only: it is written only where there is something to draw.

    Raises:
        StoreError: there is no such study or archived plan, or the store cannot be written.
        RecordError: its plan cannot be trusted.
        DataError: the overlay cannot be read.
    """
    foreign = None if overlay is None else read_overlay(overlay)
    with _uncollected():
        return _build(study, store, past, foreign, reload_s, tell)


def _build(
    study: str,
    store: Store,
    past: str,
    overlay: Overlay | None,
    reload_s: int,
    tell: Callable[[str], object],
) -> ReportFiles:
    tell(f"reading the results of {study}")
    content = read_study(study, store, past=past)
    order = _Order(
        study=content,
        overlay=overlay,
        links=links(content, store),
        reload_s=reload_s if unfinished(content) else 0,
    )
    if found := found_files(content, store, order.mark):
        return found
    with workers(len(content.plan)) as pool:
        return _draw(order, open_store(store.uri), pool, tell)


@dataclass(frozen=True, kw_only=True)
class _Order:
    """All that a report is drawn from."""

    study: Study
    overlay: Overlay | None
    links: Links
    reload_s: int

    @cached_property
    def mark(self) -> str:
        """A hash of it and of the code that draws it."""
        extra = (self.overlay and self.overlay.digest, sorted(self.links.pushed or ()))
        text = f"{stamp(self.study)} {extra} {self.links.run} {self.reload_s}"
        return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cycles: of the millions of records that a large study is read into,
    none is in one, and looking through them again and again doubles the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def report_json(
    study: str,
    store: Store,
    *,
    past: str = "",
    overlay: Path | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """What `tcc report --json` prints: ``study``, ``runs``, ``bd_rates``, ``curves``,
    ``side_information``, ``coding``, ``files``.

    Raises:
        StoreError, RecordError, DataError: as `build_report`.
    """
    files = build_report(study, store, past=past, overlay=overlay, tell=tell)
    content = json.loads(files.summary.read_text(encoding="utf-8"))
    return {
        **content,
        "files": {
            "html": str(files.page),
            "points": str(files.points),
            "bd_rates": str(files.bd_rates),
            "side_information": str(files.side_information),
            "mpeg": str(files.mpeg),
            "curves": [str(path) for path in files.curves],
            "figures": [str(path) for path in files.figures],
        },
    }


def _draw(
    order: _Order, store: Store, pool: Executor | None, tell: Callable[[str], object]
) -> ReportFiles:
    from tcc.curves.images import image_intervals  # numpy is needed here alone

    study = order.study
    tell(f"judging the curves of {count_text(len(study.plan), 'trial')}")
    settings = study.settings.report
    specs = {trial.id: trial for trial in study.plan}
    curves = curves_of(study.records, specs, improving_share=settings.improving_share)
    anchor: dict[str, float] = dict(settings.anchor.items())
    refusals = [settings.refuse] if settings.refuse else []
    outside = imported_curves(settings.imported, curves)
    compared = compare(curves, anchor=anchor, refusals=refusals, imported=outside, pool=pool)
    gains = side_information(curves)
    relative = list(relative_rates(headline(compared, curves), curves))
    tell("drawing figures, tables and the page")
    pairs, overlaid = pair_panels((*curves, *outside), gains, relative), None
    if order.overlay:
        pairs, overlaid = lay_over(pairs, order.overlay)
    folder = store.study_dir(study.name) / folder_of(study)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STAMP_FILE).unlink(missing_ok=True)
        curve_files = write_curves((*curves, *outside), folder, pool)
        figures = draw_figures(pairs, settings.notice, folder / "figures", pool)
    comparisons = image_intervals(compared)  # while others draw
    told = headline(comparisons, curves)
    gaps, saved = curve_gaps(curves), savings(gains)

    def write(name: str, text: str) -> None:
        store.write_study(study.name, f"{folder_of(study)}/{name}", text)

    _write_tables(study, (*curves, *outside), comparisons, gaps, saved, write)
    asked = [(pair.base, pair.enhancement) for pair in study.settings.pairs]
    page = page_text(
        study,
        sentences=sentences(told) + without_comparison(asked, told, curves),
        verdicts=groups(told),
        pairs=pairs,
        previews=previews(list(study.records), store),
        saved=saved,
        gaps=gaps,
        links=order.links,
        overlaid=overlaid,
        reload_s=order.reload_s,
    )
    write("index.html", page)
    with writing(folder):
        names = [*curve_files, *(path.relative_to(folder).as_posix() for path in figures)]
        remove_others(folder, names)
    seal = json.dumps({"stamp": order.mark, "files": names}, indent=1)
    write(STAMP_FILE, seal)
    return files_of(study, store, names, fresh=True)


def _write_tables(
    study: Study,
    curves: Sequence[RDCurve],
    comparisons: Sequence[Comparison],
    gaps: Sequence[CurveGap],
    saved: Sequence[Saving],
    write: Callable[[str, str], None],
) -> None:
    bd_rates = list(bd_rate_rows(study.name, comparisons))
    listed = list(curve_rows(curves))
    write("points.csv", csv_text(POINT_COLUMNS, point_rows(study.name, listed)))
    write("bd_rates.csv", csv_text(BD_RATE_COLUMNS, map(flat, bd_rates)))
    saving = list(saving_rows(study.name, saved))
    write("side_information.csv", csv_text(SAVING_COLUMNS, saving))
    write("mpeg.csv", csv_text(MPEG_COLUMNS, mpeg_rows(curves)))
    content = {
        "study": study.name,
        "runs": runs_json(study.runs),
        "bd_rates": bd_rates,
        "curves": listed,
        "side_information": saving,
        "coding": [coding_json(gap) for gap in gaps],
    }
    write("report.json", json.dumps(content, allow_nan=False, ensure_ascii=False))
