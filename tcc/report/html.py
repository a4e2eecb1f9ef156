"""The page: one self-contained file, made of the template, style and scripts in ``page/``.

Text is escaped by the template; the data of the charts and of the trial table travels as JSON, in
which a text that occurs more than once is a number into the list of texts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from tcc.curves.coding import CurveGap
from tcc.curves.side_information import Saving
from tcc.plan.distrust import distrusts
from tcc.report.coding import COLUMNS as CODING_COLUMNS
from tcc.report.coding import coding_cells
from tcc.report.lines import Line, Strand, band
from tcc.report.links import NO_LINKS, Links
from tcc.report.notices import notices
from tcc.report.overlay import Overlaid
from tcc.report.panels import PairPanels
from tcc.report.previews import Strip
from tcc.report.provenance import citation, facts, rerun
from tcc.report.runs import COLUMNS as RUN_COLUMNS
from tcc.report.runs import run_cells
from tcc.report.savings import COLUMNS as SAVING_COLUMNS
from tcc.report.savings import saving_cells
from tcc.report.split import Bars, rate_split, seeds_of
from tcc.report.status import skipped
from tcc.report.study import Study
from tcc.report.trials import COLUMNS, FACETS, trial_rows
from tcc.report.verdicts import Group, Sentence
from tcc.report.words import count_text

MAX_OPEN = 40  # verdicts; with more, each group opens on request, so that the curves are near


def page_text(
    study: Study,
    *,
    sentences: Sequence[Sentence],
    verdicts: Sequence[Group],
    pairs: Sequence[PairPanels],
    previews: Sequence[Strip],
    saved: Sequence[Saving],
    gaps: Sequence[CurveGap],
    links: Links = NO_LINKS,
    overlaid: Overlaid | None = None,
    reload_s: int = 0,
) -> str:
    """``index.html``; with ``reload_s``, a browser loads it again and again."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    page = files("tcc.report") / "page"
    template, css, *scripts = (
        (page / name).read_text(encoding="utf-8")
        for name in ("index.html", "page.css", "page.js", "trials.js")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    states = Counter(state.state for state in study.states.values())
    return environment.from_string(template).render(
        study=study.name,
        subtitle=count_text(len(study.plan), "trial"),
        counts=sorted(states.items()),
        notices=notices(study),
        sentences=sentences,
        verdicts=verdicts,
        open_verdicts=sum(map(_shown_rows, verdicts)) <= MAX_OPEN,
        pairs=[_pair_context(index, pair) for index, pair in enumerate(pairs)],
        overlaid=overlaid,
        previews=previews,
        columns=COLUMNS,
        failures=study.failures,
        skipped=skipped(study),
        distrusts=distrusts(study.problems, redone=study.past is None),
        saving_columns=SAVING_COLUMNS,
        savings=[saving_cells(saving) for saving in saved],
        coding_columns=CODING_COLUMNS,
        coding=[coding_cells(gap) for gap in gaps],
        run_columns=RUN_COLUMNS,
        runs=[run_cells(run) for run in study.runs],
        facts=facts(study),
        rerun=rerun(study),
        citation=citation(study),
        spec=study.spec_text,
        reload_s=reload_s,
        css=css,
        script="\n".join(scripts),
        plotly=get_plotlyjs(),
        data=_script_json(_data(study, pairs, links)),
    )


def _data(study: Study, pairs: Sequence[PairPanels], links: Links) -> dict[str, Any]:
    """What the script draws and lists."""
    pack = _Pack([trial.id for trial in study.plan])
    panels, splits = [], []
    for index, pair in enumerate(pairs):
        panels += [pack.panel(index, pair, at) for at in range(len(pair.panels))]
        if pair.scalable:
            bars = [pack.bars(bars) for bars in rate_split(pair)]
            splits.append({"id": f"split-{index}", "bars": bars})
    trials = [{**row, "facets": pack.numbers(row["facets"])} for row in trial_rows(study, links)]
    return {
        "panels": panels,
        "splits": splits,
        "trials": trials,
        "facets": FACETS,
        "columns": COLUMNS,
        "links": {"folder": links.folder, "run": links.run},
        "texts": list(pack.texts),
    }


class _Pack:
    """Data for the script: texts as numbers into ``texts``, trials as places in the plan."""

    def __init__(self, ids: Sequence[str]):
        self.texts: dict[str, int] = {}
        self._places = {id: place for place, id in enumerate(ids)}

    def numbers(self, texts: Iterable[str]) -> list[int]:
        return [self.texts.setdefault(text, len(self.texts)) for text in texts]

    def panel(self, index: int, pair: PairPanels, at: int) -> dict[str, Any]:
        panel = pair.panels[at]
        return {
            "id": _panel_id(index, at),
            "role": panel.role,
            "x": panel.x,
            "y": panel.y,
            "reach": panel.reach,
            "lines": [self._line(line) for line in panel.lines],
        }

    def _line(self, line: Line) -> dict[str, Any]:
        fill = "" if line.fill == "full" else f"-{line.fill}"
        names = ("family", "at", "group", "shown", "slot", "dash", "level", "foreign", "faint")
        return {
            **{name: getattr(line, name) for name in names},
            "symbol": line.shape + fill,
            "strands": [self._strand(strand) for strand in line.strands],
            "band": band(line),
        }

    def _strand(self, strand: Strand) -> dict[str, Any]:
        return {
            "xs": strand.xs,
            "ys": strand.ys,
            "improving": [at for at, improving in enumerate(strand.improving) if improving],
            **self._told(strand),
        }

    def bars(self, bars: Bars) -> dict[str, Any]:
        """One layer of one arm and seed."""
        names = ("layer", "group", "slot", "x", "y")
        return {**{name: getattr(bars, name) for name in names}, **self._told(bars)}

    def _told(self, points: Strand | Bars) -> dict[str, Any]:
        return {
            "hover": [self.numbers(lines) for lines in points.hover],
            "trials": [
                [self._places[id] for id in ids if id in self._places] for ids in points.trials
            ],
        }


def _script_json(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _shown_rows(group: Group) -> int:
    return sum(len(block.rows) for block in group.blocks if not block.folded)


def _pair_context(index: int, pair: PairPanels) -> dict[str, Any]:
    seeds = seeds_of(pair)
    everyone = len(seeds) == len({curve.key.seed for curve in pair.scalable})
    return {
        "id": f"pair-{index}",
        "title": pair.title,
        "setting": pair.setting.text,
        "panels": [
            {"id": _panel_id(index, at), "title": panel.title, "caption": panel.caption}
            for at, panel in enumerate(pair.panels)
        ],
        "split": f"split-{index}" if pair.scalable else "",
        "bars": "a bar for each seed" if everyone else f"of seed {seeds[0]}",
    }


def _panel_id(pair: int, panel: int) -> str:
    return f"panel-{pair}-{panel}"
