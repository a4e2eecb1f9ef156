"""What the trackers are told of a study: its drawn report, in the study's own run."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

from tcc import registry
from tcc.report.build import ReportFiles
from tcc.report.study import read_study
from tcc.spec import SweepSpec
from tcc.stores import Store
from tcc.tracking import Cell, StudyCopy, Table, Tracker


def mirror_report(study: str, store: Store, files: ReportFiles) -> None:
    """Sends RD points and BD-rates as tables, and the figures, to every tracker of the study."""
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
    return StudyCopy(
        study=study,
        tables={"rd_points": _table(files.points), "bd_rates": _table(files.bd_rates)},
        images=images,
        config=config,
        digest=seal.hexdigest()[:16],
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
