"""What the panels of a study show: which curves, under which names, in which style. Draws nothing.

Colour and fill tell the arms (β) apart, marker shapes the λ_b, line styles the families: a panel
stays readable in grey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tcc.curves.imported import FAMILY as IMPORTED
from tcc.curves.points import LEVELS
from tcc.curves.relative import RelativeRate
from tcc.curves.side_information import SideInformation
from tcc.records import CurveKey, RDCurve
from tcc.report.lines import (
    Line,
    Scale,
    level_line,
    lines_of,
    relative_lines,
    scale_of,
    side_information_lines,
)
from tcc.report.words import metric_axis, metric_text, pair_text

_TOTAL = "rate (bits per pixel)"
_RELATIVE = ("scalable", "enhancement_only")
_OWN = "enhancement rate (bits per pixel)"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes. ``role``: base, direct, total, own, relative or side_information.
    ``metric``: what the points were measured by, empty for side information."""

    role: str
    metric: str
    title: str
    caption: str
    x: str
    y: str
    reach: float | None  # where its x axis, which begins at 0, ends; None: as its points lie
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where curves can be compared: method, training data, data set, split and rate source."""

    method: str
    trained_on: str
    dataset: str
    split: str
    source: str

    @property
    def text(self) -> str:
        trained = f", trained on {self.trained_on}" if self.trained_on != self.dataset else ""
        return f"measured on {self.dataset}, {self.split} split, {self.source} rate{trained}"


@dataclass(frozen=True, kw_only=True)
class PairPanels:
    """The panels of one task pair in one setting."""

    tasks: tuple[str, ...]
    setting: Setting
    panels: tuple[Panel, ...]
    scale: Scale
    scalable: tuple[RDCurve, ...]  # for the rate split

    @property
    def title(self) -> str:
        return f"{pair_text(self.tasks)} on {self.setting.dataset}"


def setting_of(key: CurveKey) -> Setting:
    """The setting that a curve was measured in; a level's has no rate source."""
    return Setting(
        method=key.method,
        trained_on=key.trained_on,
        dataset=key.dataset,
        split=key.split,
        source=key.source,
    )


def shown_settings(keys: Sequence[CurveKey]) -> tuple[Setting, ...]:
    """The settings that the page shows: the coded rate where a split was measured with both."""
    own = [key for key in keys if key.family != IMPORTED]
    settings = [setting for setting in dict.fromkeys(map(setting_of, own)) if setting.source]
    coded = {_place(setting) for setting in settings if setting.source == "coded"}
    return tuple(s for s in settings if s.source == "coded" or _place(s) not in coded)


def pair_panels(
    curves: Sequence[RDCurve],
    gains: Sequence[SideInformation],
    relative: Sequence[RelativeRate] = (),
) -> tuple[PairPanels, ...]:
    """The panels of every pair and setting, in the order of the curves; of a task with several
    metrics the first."""
    found = []
    for setting in shown_settings([curve.key for curve in curves]):
        inside = [
            curve
            for curve in curves
            if setting_of(curve.key) == setting
            or (not curve.key.source and _place(setting_of(curve.key)) == _place(setting))
            or (curve.key.family == IMPORTED and curve.key.dataset == setting.dataset)
        ]
        here = [gain for gain in gains if setting_of(gain.key) == setting]
        rates = [rate for rate in relative if setting_of(rate.key) == setting]
        scale = scale_of(curve.key for curve in inside)
        for tasks in dict.fromkeys(c.key.tasks for c in inside if len(c.key.tasks) == 2):
            found.append(_pair(tasks, setting, inside, here, rates, scale))
    return tuple(found)


def _place(setting: Setting) -> tuple[str, ...]:
    return setting.method, setting.trained_on, setting.dataset, setting.split


def _pair(
    tasks: tuple[str, ...],
    setting: Setting,
    curves: Sequence[RDCurve],
    gains: Sequence[SideInformation],
    rates: Sequence[RelativeRate],
    scale: Scale,
) -> PairPanels:
    base, second = tasks[:1], tasks[1:]
    single, levels = {"single_layer": second}, {"uncompressed": second, "pixels": second}
    panels = [
        _panel(
            "base",
            f"Base: {base[0]}",
            "The base's own task at the base's rate.",
            {"base": base, IMPORTED: base, "uncompressed": base, "pixels": base},
            curves,
            scale,
        ),
        _panel(
            "direct",
            f"Direct: {second[0]} from the base",
            "No second layer: what the base already tells about the second task.",
            {"direct": tasks, "direct_published": tasks, IMPORTED: second, **levels},
            curves,
            scale,
        ),
        _panel(
            "total",
            f"Scalable: {second[0]}, total rate",
            "Base and enhancement together, one curve for each base.",
            {"scalable": tasks, "standalone": tasks, "simulcast": tasks, **single}
            | {IMPORTED: second, **levels},
            curves,
            scale,
        ),
        _panel(
            "own",
            f"Enhancement only: {second[0]}",
            "What the second layer costs once the base is there.",
            {"enhancement_only": tasks, **single, **levels},
            curves,
            scale,
        ),
        _relative_panel([rate for rate in rates if rate.key.tasks == tasks], scale),
        _side_information_panel([gain for gain in gains if gain.key.tasks == tasks], scale),
    ]
    scalable = [c for c in curves if c.key.family == "scalable" and c.key.tasks == tasks]
    return PairPanels(
        tasks=tasks,
        setting=setting,
        panels=tuple(panel for panel in panels if panel is not None),
        scale=scale,
        scalable=tuple(c for c in scalable if c.key.metric == scalable[0].key.metric),
    )


def _panel(
    role: str,
    title: str,
    caption: str,
    families: Mapping[str, tuple[str, ...]],
    curves: Sequence[RDCurve],
    scale: Scale,
) -> Panel | None:
    """One panel; None where there is no curve for it but levels and references."""
    inside = [curve for curve in curves if families.get(curve.key.family) == curve.key.tasks]
    own = [curve for curve in inside if curve.key.family not in LEVELS]
    about = families[next(iter(families))]
    if not any(c.key.tasks == about and c.key.family != IMPORTED for c in own):
        return None
    metric = own[0].metric
    own = [curve for curve in own if curve.key.metric == metric.name]
    lines = list(lines_of(own, scale))
    reach = _reach(lines)
    for family in LEVELS:
        same = [c for c in inside if c.key.family == family and c.key.metric == metric.name]
        if same:
            lines.append(level_line(same, reach))
    return Panel(
        role=role,
        metric=metric.name,
        title=title,
        caption=caption,
        x=_OWN if role == "own" else _TOTAL,
        y=metric_axis(metric),
        reach=reach,
        lines=tuple(lines),
    )


def _relative_panel(rates: Sequence[RelativeRate], scale: Scale) -> Panel | None:
    shown = [rate for rate in rates if rate.key.family in _RELATIVE]
    if not shown:
        return None
    metric = shown[0].metric
    shown = [rate for rate in shown if rate.metric == metric]
    shown.sort(key=lambda rate: _RELATIVE.index(rate.key.family))
    return Panel(
        role="relative",
        metric=metric.name,
        title=f"Rate relative to the baseline, at equal {metric_text(metric.name)}",
        caption="What each point costs more (+) or less (−) than the baseline's curve at the same "
        "metric, wherever that curve reaches.",
        x=metric_axis(metric),
        y="change of rate (%)",
        reach=None,
        lines=tuple(relative_lines(shown, scale)),
    )


def _side_information_panel(gains: Sequence[SideInformation], scale: Scale) -> Panel | None:
    if not gains:
        return None
    lines = tuple(side_information_lines(gains, scale))
    return Panel(
        role="side_information",
        metric="",
        title="Saved by side information",
        caption="What conditioning on the base saves of the enhancement's rate, at the same "
        "transforms.",
        x="rate without side information (bits per pixel)",
        y="saved (%)",
        reach=_reach(lines),
        lines=lines,
    )


def _reach(lines: Sequence[Line]) -> float:
    return 1.05 * max(
        (x for line in lines for strand in line.strands for x in strand.xs), default=1.0
    )
