"""What a study found, told: tables, figures, a page that works offline, and where it stands.

    study      what the store holds of a study, and the stamp that saves redrawing
    lines      one styled line of a panel            lineage           what is told of its points
    panels     which lines make which panel          split  previews   likewise
    overlay    curves of a file on panels            links             where a trial is found
    verdicts   BD-rates in words                     tables            in numbers
    trials     the table of trials                   provenance        how to run and cite it
    sheets     which panels make which figure        curve_files       each curve in its own
    figures    draws them for papers                 html              for a browser
    build      all of it, once for each state of the records; files: where it lies
    watch      again and again, as results arrive
    mirror     the same into the study's own run of the trackers
    runs       what each run took                    status            where one study stands
    studies    a store at a glance
    terminal   both as `tcc status` prints them

Every number comes from `curves`; nothing here computes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcc.report.build import ReportFiles, build_report, report_json
from tcc.report.mirror import mirror_report
from tcc.report.status import StudyStatus, status
from tcc.report.studies import StoreStatus, studies
from tcc.report.watch import EVERY_S, watching
from tcc.report.watch import watch as watch_report

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "EVERY_S",
    "ReportFiles",
    "StoreStatus",
    "StudyStatus",
    "build_report",
    "mirror_report",
    "print_status",
    "report_json",
    "status",
    "studies",
    "watch_report",
    "watching",
]


def print_status(found: StudyStatus | StoreStatus, console: Console | None = None) -> None:
    """Prints where a study stands, or the studies of a store; without a ``console``, on the
    terminal."""
    from tcc.report import terminal  # rich is needed here alone

    terminal.print_status(found, console)
