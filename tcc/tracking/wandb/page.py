"""The W&B Report of a study: verdicts in a table, RD curves and figures of the study's run, and the
trials by λ, β and seed. Written over the one of the same title, so that its address stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tcc.tracking import StudyCopy, Table, cut
from tcc.tracking.wandb.content import TAG_CHARACTERS, chart_table, charts_of

if TYPE_CHECKING:
    from wandb import Api

TITLE_CHARACTERS = 128
ROWS_SHOWN = 60  # of verdicts; the study's run has them all, with all their reasons
REASONS_SHOWN = 2
INTERVAL = ("interval_low", "interval_high")
MADE_BY = "Written by `tcc sync`, which writes it anew: edit a copy."
AXES = ("lambda_b", "lambda_e", "beta", "seed", "kind", "pair")


def title_of(study: str) -> str:
    """By which the page of a study is found again."""
    return f"tcc study {study}"[:TITLE_CHARACTERS]


def publish(api: Api, entity: str, project: str, copy: StudyCopy) -> str:
    """Writes the page, unless it is there, and gives its address.

    Raises:
        Exception: of W&B's, of many types.
    """
    from wandb_workspaces.reports.v2 import interface as v2

    title, description = title_of(copy.study), f"{MADE_BY} State {copy.digest}."
    there = [it for it in api.reports(f"{entity}/{project}") if it.display_name == title]
    if there and there[0].description == description:
        return there[0].url or ""
    page: Any = (
        v2.Report.from_url(there[0].url or "") if there else v2.Report(project, entity, title)
    )
    page.description, page.blocks = description, blocks(entity, project, copy)
    page.width = "fluid"
    page.save()
    return page.url


def blocks(entity: str, project: str, copy: StudyCopy) -> list[Any]:
    """What the page consists of."""
    from wandb_workspaces.reports.v2 import interface as v2

    def runs(name: str, filters: str) -> Any:
        return v2.Runset(entity=entity, project=project, name=name, filters=filters)

    own = runs("the study", f"Metric('ID') == '{copy.id}'")
    tag = cut(copy.study, TAG_CHARACTERS)
    trials = runs("trials", f"Tags() in ['{tag}'] and JobType != 'study'")
    charts: list[Any] = [
        v2.CustomChart(
            query={"summaryTable": {"tableKey": chart_table(name)}},
            chart_name="wandb/lineseries/v0",
            chart_fields={name: name for name in ("step", "lineKey", "lineVal")},
            chart_strings={"title": chart.title, "xname": chart.x},
        )
        for name, chart in charts_of(copy).items()
    ]
    figures: list[Any] = (
        [v2.MediaBrowser(media_keys=list(copy.images), num_columns=2)] if copy.images else []
    )
    axes = [v2.ParallelCoordinatesPlotColumn(v2.Config(name)) for name in AXES]
    axes.append(v2.ParallelCoordinatesPlotColumn(v2.SummaryMetric("rate/total_bpp")))
    return [
        v2.H1("Verdicts"),
        v2.MarkdownBlock(_markdown(copy.tables["verdicts"])),
        v2.H1("Rate-distortion curves"),
        v2.PanelGrid(runsets=[own], panels=charts + figures, hide_run_sets=True),
        v2.H1("Trials"),
        v2.PanelGrid(runsets=[trials], panels=[v2.ParallelCoordinatesPlot(columns=axes)]),
    ]


def _markdown(table: Table) -> str:
    """The verdicts; a BD-rate that was refused is none."""
    wanted = ("pair", "metric", "dataset", "split", "source", "rate", "anchor", "test")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    lines = [
        "| " + " | ".join([*(_cell(row[name]) for name in wanted), *_finding(row)]) + " |"
        for row in rows[:ROWS_SHOWN]
    ]
    columns = (*wanted, "BD-rate %", "verdict", "reasons")
    head = ["| " + " | ".join(columns) + " |"]
    more = len(rows) - ROWS_SHOWN
    tail = [f"\n{more} more in the table `verdicts` of the study's run."] if more > 0 else []
    return "\n".join([*head, "|" + " --- |" * len(columns), *lines, *tail])


def _finding(row: Mapping[str, Any]) -> tuple[str, str, str]:
    found, low, high = (_cell(row[it]) for it in ("bd_rate_percent", *INTERVAL))
    interval = f" ({low} to {high})" if found and low else ""
    return found + interval, _cell(row["verdict"]), _reasons(row["reasons"])


def _reasons(reasons: object) -> str:
    first = str(reasons or "").split("; ")
    more = len(first) - REASONS_SHOWN
    return _cell("; ".join(first[:REASONS_SHOWN])) + (f"; {more} more" if more > 0 else "")


def _cell(value: object) -> str:
    text = f"{value:+.2f}" if isinstance(value, float) else "" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
