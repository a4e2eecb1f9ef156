"""Where a report lies in its store, and whether the one that lies there is still true."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from tcc.report.study import LEFT, Study
from tcc.stores import Store

FOLDER = "report"
STAMP_FILE = "stamp.json"  # written last: a report without it is drawn again


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Where a report lies. ``fresh``: it was drawn now, not found unchanged. ``unfinished``: the
    study has trials left to do. ``address``: of the page in the store, which is not the local
    page's where the store is not local."""

    address: str
    page: Path
    points: Path
    bd_rates: Path
    side_information: Path
    mpeg: Path
    summary: Path  # what `tcc report --json` prints
    curves: tuple[Path, ...]
    figures: tuple[Path, ...]
    fresh: bool
    unfinished: bool

    @property
    def told(self) -> str:
        """Where the page is, for the user."""
        here = str(self.page)
        return here if self.address == here else f"{self.address} (for a day also {here})"

    def __iter__(self) -> Iterator[Path]:
        yield from (self.page, self.points, self.bd_rates, self.side_information, self.mpeg)
        yield from (self.summary, *self.curves, *self.figures)


def folder_of(study: Study) -> str:
    """Where the report lies in the study's folder."""
    return f"past/{study.past.digest}/{FOLDER}" if study.past else FOLDER


def found_files(study: Study, store: Store, mark: str) -> ReportFiles | None:
    """The report that is there, if it was drawn from what ``mark`` stands for and is whole."""
    text = store.read_study(study.name, f"{folder_of(study)}/{STAMP_FILE}")
    try:
        seal = json.loads(text or "{}")
        files = files_of(study, store, seal["files"], fresh=False)
        json.loads(files.summary.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return None
    same = seal.get("stamp") == mark and all(map(_holds, files))
    return files if same else None


def files_of(study: Study, store: Store, names: Sequence[str], *, fresh: bool) -> ReportFiles:
    """The files of a report whose curves and figures have these ``names``."""
    folder = store.study_dir(study.name) / folder_of(study)
    return ReportFiles(
        address=f"{store.uri}/studies/{study.name}/{folder_of(study)}/index.html",
        page=folder / "index.html",
        points=folder / "points.csv",
        bd_rates=folder / "bd_rates.csv",
        side_information=folder / "side_information.csv",
        mpeg=folder / "mpeg.csv",
        summary=folder / "report.json",
        curves=tuple(folder / name for name in names if name.startswith("curves/")),
        figures=tuple(folder / name for name in names if name.startswith("figures/")),
        fresh=fresh,
        unfinished=unfinished(study),
    )


def remove_others(folder: Path, names: Sequence[str]) -> None:
    """Removes what an earlier state of the study left."""
    wanted = {folder / name for name in names}
    for kind in ("curves", "figures"):
        for path in (folder / kind).glob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()


def unfinished(study: Study) -> bool:
    """Whether something may still come."""
    return any(state.state in (*LEFT, "running") for state in study.states.values())


def _holds(path: Path) -> bool:
    """Whether a file is there and not empty."""
    try:
        found = path.stat()
    except OSError:
        return False
    return S_ISREG(found.st_mode) and found.st_size > 0
