"""Puts a drawn report into the study's own run of the trackers."""

from __future__ import annotations

import csv
from pathlib import Path

from tcc import registry
from tcc.report.build import ReportFiles
from tcc.report.study import read_study
from tcc.stores import Store
from tcc.tracking import Cell, Table, Tracker


def mirror_report(study: str, store: Store, files: ReportFiles) -> None:
    """Sends RD points and BD-rates as tables, and the figures, to every tracker of the study."""
    settings = read_study(study, store).settings
    tracker: Tracker = registry.load("tracking", "wandb")
    tracker.summarise(
        settings.wandb.model_dump(mode="json"),
        study=study,
        directory=store.directory,
        tables={"rd_points": _table(files.points), "bd_rates": _table(files.bd_rates)},
        images={path.stem: path for path in files.figures if path.suffix == ".png"},
        config={"spec": settings.model_dump(mode="json")},
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
