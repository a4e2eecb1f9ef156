"""The page: one self-contained file, made of the template, style and script in ``page/``.

Text is escaped by the template; the data of the charts and of the trial table travels as JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from tcc.curves.coding import CurveGap
from tcc.plan import TrialState
from tcc.plan.distrust import distrusts
from tcc.records import TrialRecord
from tcc.report.coding import COLUMNS as CODING_COLUMNS
from tcc.report.coding import coding_cells
from tcc.report.lines import Line
from tcc.report.notices import notices
from tcc.report.panels import PairPanels
from tcc.report.previews import Strip
from tcc.report.runs import COLUMNS as RUN_COLUMNS
from tcc.report.runs import run_cells
from tcc.report.split import rate_split
from tcc.report.status import skipped
from tcc.report.study import Study
from tcc.report.verdicts import Group, Sentence
from tcc.report.words import metric_text, number, value_text

COLUMNS = ("trial", "kind", "label", "state", "steps", "seconds", "rate", "metrics")


def page_text(
    study: Study,
    *,
    sentences: Sequence[Sentence],
    verdicts: Sequence[Group],
    pairs: Sequence[PairPanels],
    previews: Sequence[Strip],
    gaps: Sequence[CurveGap],
) -> str:
    """``index.html``."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    page = files("tcc.report") / "page"
    template, css, script = (
        (page / name).read_text(encoding="utf-8") for name in ("index.html", "page.css", "page.js")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    shapes, splits = [], []
    for index, pair in enumerate(pairs):
        shapes += [_panel_json(index, pair, number) for number in range(len(pair.panels))]
        if pair.scalable:
            splits.append(
                {"id": f"split-{index}", "bars": [asdict(bars) for bars in rate_split(pair)]}
            )
    states = Counter(state.state for state in study.states.values())
    data = {
        "panels": shapes,
        "splits": splits,
        "trials": list(_trial_rows(study)),
        "label_column": COLUMNS.index("label"),
        "state_column": COLUMNS.index("state"),
    }
    return environment.from_string(template).render(
        study=study.name,
        subtitle=f"{len(study.plan)} trials",
        counts=sorted(states.items()),
        notices=notices(study),
        sentences=sentences,
        verdicts=verdicts,
        pairs=[_pair_context(index, pair) for index, pair in enumerate(pairs)],
        previews=previews,
        columns=COLUMNS,
        failures=study.failures,
        skipped=skipped(study),
        distrusts=distrusts(study.problems, redone=study.past is None),
        coding_columns=CODING_COLUMNS,
        coding=[coding_cells(gap) for gap in gaps],
        run_columns=RUN_COLUMNS,
        runs=[run_cells(run) for run in study.runs],
        facts=list(_facts(study)),
        spec=study.spec_text,
        css=css,
        script=script,
        plotly=get_plotlyjs(),
        data=_script_json(data),
    )


def _script_json(data: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _pair_context(index: int, pair: PairPanels) -> dict[str, Any]:
    return {
        "title": pair.title,
        "setting": pair.setting.text,
        "panels": [
            {"id": _panel_id(index, at), "title": panel.title, "caption": panel.caption}
            for at, panel in enumerate(pair.panels)
        ],
        "split": f"split-{index}" if pair.scalable else "",
    }


def _panel_id(pair: int, panel: int) -> str:
    return f"panel-{pair}-{panel}"


def _panel_json(index: int, pair: PairPanels, at: int) -> dict[str, Any]:
    panel = pair.panels[at]
    return {
        "id": _panel_id(index, at),
        "x": panel.x,
        "y": panel.y,
        "reach": panel.reach,
        "lines": [_line_json(line) for line in panel.lines],
    }


def _line_json(line: Line) -> dict[str, Any]:
    fill = "" if line.fill == "full" else f"-{line.fill}"
    plain = asdict(line)
    del plain["fill"], plain["shape"]
    return {**plain, "group": line.group, "symbol": line.shape + fill}


def _trial_rows(study: Study) -> Iterator[dict[str, Any]]:
    """One row a trial in the plan's order; metrics of its first evaluation."""
    labels = {trial.id: trial.label for trial in study.plan}
    for trial in study.plan:
        state = study.states[trial.id]
        record = state.record
        cells = (
            trial.id,
            trial.kind,
            trial.label,
            state.state,
            "" if record is None else str(record.training.steps),
            "" if record is None else f"{seconds_of(record):.0f}",
            "" if record is None else _rate_text(record),
            "" if record is None else _metrics_text(record),
        )
        yield {"cells": cells, "state": state.state, "because": _because(state, labels)}


def _because(state: TrialState, labels: Mapping[str, str]) -> str:
    """Why a trial is not done; of a failed one, the table of failures tells more."""
    if state.state == "skipped":
        return f"because of {labels.get(state.because, state.because)}"
    return "" if state.state == "failed" else state.because


def seconds_of(record: TrialRecord) -> float:
    """How long a trial took."""
    return record.timings.get("total", sum(record.timings.values()))


def _rate_text(record: TrialRecord) -> str:
    rates = [rate for evaluation in record.evaluations[:1] for rate in evaluation.rates]
    return ", ".join(f"{rate.bpp:.4g} bpp" for rate in rates[:1] if rate.bpp_by_stream)


def _metrics_text(record: TrialRecord) -> str:
    metrics = [metric for evaluation in record.evaluations[:1] for metric in evaluation.metrics]
    return ", ".join(
        f"{metric_text(metric.name)} {value_text(metric.value, metric.unit)}" for metric in metrics
    )


def _facts(study: Study) -> Iterator[tuple[str, str]]:
    """Where the numbers come from, each distinct value once."""
    records = list(study.records)
    sources = [record.provenance for record in records]
    packages: dict[str, dict[str, None]] = {}
    for source in sources:
        for name, version in source.packages.items():
            packages.setdefault(name, {})[version] = None
    data = {use.name: use.fingerprint for r in records for use in r.trial.recipe.datasets}
    seconds = sum(map(seconds_of, records))
    facts = (
        ("Study", study.name),
        ("Store", study.store_uri),
        ("Data", "; ".join(f"{name} ({mark})" for name, mark in sorted(data.items()))),
        ("tcc", _distinct(source.tcc_version for source in sources)),
        ("Git revision", _distinct(source.git_revision for source in sources)),
        ("Packages", ", ".join(f"{name} {'/'.join(v)}" for name, v in sorted(packages.items()))),
        ("Machines", _distinct(source.machine for source in sources)),
        ("Devices", _distinct(source.device for source in sources)),
        ("Started", _span(sorted(source.started_at for source in sources))),
        ("Trial time", f"{number(seconds / 3600, '.2f')} hours over {len(records)} trials"),
    )
    return (fact for fact in facts if fact[1])


def _distinct(values: Any) -> str:
    return "; ".join(value for value in dict.fromkeys(values) if value)


def _span(times: Sequence[str]) -> str:
    if not times:
        return ""
    return times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
