"""What the trackers are told of a study: its drawn report, in the study's own run."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tcc import registry
from tcc.report.build import ReportFiles
from tcc.report.study import read_study
from tcc.report.words import axes_text, family_text, metric_text
from tcc.spec import SweepSpec
from tcc.stores import Store
from tcc.tracking import Cell, Chart, StudyCopy, Table, Tracker

VERDICT_COLUMNS = (
    *("pair", "metric", "dataset", "reference", "rate", "anchor", "test", "at", "bd_rate_percent"),
    *("verdict", "reasons"),
)
_Row = Mapping[str, Any]


def mirror_report(study: str, store: Store, files: ReportFiles) -> None:
    """Sends RD points, BD-rates and verdicts as tables, RD curves as charts, the figures, and the
    report itself, to every tracker of the study."""
    settings = read_study(study, store).settings
    tracker: Tracker = registry.load("tracking", "wandb")
    copy = study_copy(study, settings, files)
    tracker.summarise(settings.wandb.model_dump(mode="json"), copy, directory=store.directory)


def study_copy(study: str, settings: SweepSpec, files: ReportFiles) -> StudyCopy:
    """What a tracker is to hold of a study with this report."""
    config = {"spec": settings.model_dump(mode="json")}
    images = {path.stem: path for path in files.figures if path.suffix == ".png"}
    seal = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for path in (files.points, files.bd_rates, *images.values()):
        seal.update(hashlib.sha256(path.read_bytes()).digest())
    content = json.loads(files.summary.read_text(encoding="utf-8"))
    return StudyCopy(
        study=study,
        tables={
            "rd_points": _table(files.points),
            "bd_rates": _table(files.bd_rates),
            "verdicts": _verdicts(content["bd_rates"]),
        },
        images=images,
        config=config,
        digest=seal.hexdigest()[:16],
        charts=_charts(content["curves"]),
        files={path.relative_to(files.page.parent).as_posix(): path for path in files},
    )


def _table(path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    typed = [_typed(column) for column in columns]
    return Table(columns=tuple(header), rows=tuple(zip(*typed, strict=True)))


def _typed(column: tuple[str, ...]) -> list[Cell]:
    """Numbers where every cell of the column is one or empty, text otherwise."""
    try:
        return [float(cell) if cell else None for cell in column]
    except ValueError:
        return [cell or None for cell in column]


def _verdicts(bd_rates: Iterable[_Row]) -> Table:
    """One row for each comparison, over its seeds and, where there are several, its bases."""
    rows = [
        (
            *(row[name] for name in VERDICT_COLUMNS[:7]),
            "" if row["lambda_b"] is None else axes_text({"lambda_b": row["lambda_b"]}),
            row["bd_rate_percent"],
            row["verdict"],
            "; ".join(row["reasons"]),
        )
        for row in bd_rates
        if row["seed"] is None
    ]
    return Table(columns=VERDICT_COLUMNS, rows=tuple(rows))


def _charts(curves: Sequence[_Row]) -> dict[str, Chart]:
    """One for each pair, data set and rate source, of the first metric of each task."""
    first: dict[str, str] = {}
    for curve in curves:
        first.setdefault(curve["metric"].partition("/")[0], curve["metric"])
    found: dict[tuple[str, ...], dict[str, tuple[tuple[float, float], ...]]] = {}
    for curve in curves:
        points = [(it["rate_bpp"], it["value"]) for it in curve["points"]]
        if curve["metric"] not in first.values() or not curve["source"] or None in dict(points):
            continue  # without codec there is no curve
        key = tuple(curve[name] for name in ("pair", "metric", "dataset", "split", "source"))
        found.setdefault(key, {})[_name(curve)] = tuple(sorted(points))
    return {_slug("rd", *key): _chart(key, group) for key, group in found.items()}


def _chart(key: tuple[str, ...], curves: Mapping[str, tuple[tuple[float, float], ...]]) -> Chart:
    pair, metric, dataset, split, source = key
    return Chart(
        title=f"{pair}: {metric_text(metric)} on {dataset} {split}, {source} rate",
        x="bpp",
        curves=curves,
    )


def _name(curve: _Row) -> str:
    parts = [family_text(curve["family"]), axes_text(curve["fixed"]), curve["variant"]]
    return ", ".join([*filter(None, parts), f"seed {curve['seed']}"])


def _slug(*parts: str) -> str:
    return "-".join(re.sub(r"[^\w.]+", "_", part) for part in parts)
