"""What the trackers are told of a study: its drawn report, in the study's own run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence

from tcc import registry
from tcc.records import MetricInfo
from tcc.report.build import ReportFiles
from tcc.report.study import read_study
from tcc.report.tables import BD_RATE_COLUMNS, POINT_COLUMNS, Row, flat, point_rows
from tcc.report.words import axes_text, family_text, metric_axis
from tcc.spec import SweepSpec
from tcc.stores import Store
from tcc.tracking import Cell, Chart, StudyCopy, Table, Tracker

VERDICT_COLUMNS = (
    *("pair", "metric", "trained_on", "dataset", "split", "source", "reference", "rate"),
    *("anchor", "test", "variant", "beta", "lambda_b"),
    *("bd_rate_percent", "interval_low", "interval_high", "verdict", "reasons"),
)


def mirror_report(study: str, store: Store, files: ReportFiles) -> None:
    """Sends RD points, BD-rates and verdicts as tables, RD curves as charts, the figures, and the
    report itself, to every tracker of the study."""
    settings = read_study(study, store).settings
    tracker: Tracker = registry.load("tracking", "wandb")
    copy = study_copy(study, settings, files)
    tracker.summarise(settings.wandb.model_dump(mode="json"), copy, directory=store.directory)


def study_copy(study: str, settings: SweepSpec, files: ReportFiles) -> StudyCopy:
    """What a tracker is to hold of a study with this report."""
    content = json.loads(files.summary.read_text(encoding="utf-8"))
    curves, bd_rates = content["curves"], content["bd_rates"]
    config = {"spec": settings.model_dump(mode="json")}
    images = {path.stem: path for path in files.figures if path.suffix == ".png"}
    tables = {
        "rd_points": _table(POINT_COLUMNS, point_rows(study, curves)),
        "bd_rates": _table(BD_RATE_COLUMNS, map(flat, bd_rates)),
        "verdicts": _table(VERDICT_COLUMNS, map(flat, _summaries(bd_rates, curves))),
    }
    charts = _charts(curves)
    told = [config, [vars(table) for table in tables.values()], [*map(vars, charts.values())]]
    seal = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for path in images.values():
        seal.update(hashlib.sha256(path.read_bytes()).digest())
    return StudyCopy(
        study=study,
        tables=tables,
        images=images,
        config=config,
        digest=seal.hexdigest()[:16],
        charts=charts,
        files={path.relative_to(files.page.parent).as_posix(): path for path in files},
    )


def _table(columns: Sequence[str], rows: Iterable[Row]) -> Table:
    cells = [[row[name] for name in columns] for row in rows]
    typed = map(_of_one_type, zip(*cells, strict=True))
    return Table(columns=tuple(columns), rows=tuple(zip(*typed, strict=True)))


def _of_one_type(column: Sequence[Cell]) -> Sequence[Cell]:
    """A column that holds a text, as that of seeds and their ``mean`` does, is one of texts."""
    if any(isinstance(cell, str) for cell in column):
        return [None if cell is None or cell == "" else str(cell) for cell in column]
    return column


def _summaries(bd_rates: Iterable[Row], curves: Iterable[Row]) -> list[Row]:
    """One row for each comparison, over its seeds and, where there are several, its bases: first
    what β buys by each task's first metric."""
    first = _first_metrics(curves)
    rows = [row for row in bd_rates if row["seed"] is None]
    rows.sort(key=lambda row: (row["metric"] not in first, row["reference"] != "baseline"))
    return rows


def _first_metrics(curves: Iterable[Row]) -> set[str]:
    first: dict[str, str] = {}
    for curve in curves:
        first.setdefault(curve["metric"].partition("/")[0], curve["metric"])
    return set(first.values())


def _charts(curves: Sequence[Row]) -> dict[str, Chart]:
    """One for each pair, data set and rate source, of the first metric of each task."""
    first = _first_metrics(curves)
    titles: dict[str, str] = {}
    found: dict[str, dict[str, tuple[tuple[float, float], ...]]] = {}
    for curve in curves:
        points = [(it["rate_bpp"], it["value"]) for it in curve["points"]]
        if curve["metric"] not in first or not curve["source"] or None in dict(points):
            continue  # without codec there is no curve
        trained = "" if curve["trained_on"] == curve["dataset"] else curve["trained_on"]
        place = (curve["dataset"], curve["split"], curve["source"])
        panel = _slug("rd", curve["pair"], curve["metric"], *filter(None, [trained]), *place)
        titles[panel] = _title(curve, trained)
        found.setdefault(panel, {})[_name(curve)] = tuple(sorted(points))
    return {
        panel: Chart(title=titles[panel], x="bpp", curves=group) for panel, group in found.items()
    }


def _title(curve: Row, trained: str) -> str:
    metric = MetricInfo(
        name=curve["metric"], unit=curve["unit"], higher_is_better=curve["higher_is_better"]
    )
    place = f"{curve['dataset']} {curve['split']}" + (f", trained on {trained}" if trained else "")
    return f"{curve['pair']}: {metric_axis(metric)}; {place}, {curve['source']} rate"


def _name(curve: Row) -> str:
    parts = [family_text(curve["family"]), axes_text(curve["fixed"]), curve["variant"]]
    return ", ".join([*filter(None, parts), f"seed {curve['seed']}"])


def _slug(*parts: str) -> str:
    return "-".join(re.sub(r"[^\w.]+", "_", part) for part in parts)
