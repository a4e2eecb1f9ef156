"""The verdicts as the page tells them: sentences on top, then tables, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tcc.curves.comparisons import BASELINE, IMPORTED, REFERENCES, Comparison
from tcc.records import BDRate, CurveKey, RDCurve
from tcc.report.panels import Setting, setting_of, shown_settings
from tcc.report.words import (
    arm_text,
    at_text,
    axes_text,
    family_text,
    metric_text,
    number,
    pair_text,
)

REASONS_SHOWN = 3  # the others fold away
_WHAT = {
    "base": "Base",
    "direct": "Direct",
    "direct_published": "Direct, as published",
    "scalable": "Scalable, total rate",
    "enhancement_only": "Enhancement's own rate",
}
_SUBJECTS = {
    "scalable": "the scalable codec's total rate",
    "enhancement_only": "the enhancement's own rate",
    "direct": "the direct curve",
    "base": "the base",
}


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One finding in plain words."""

    subject: str
    text: str


@dataclass(frozen=True, kw_only=True)
class SeedValue:
    """The BD-rate of one seed, as text."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class VerdictRow:
    """One comparison. ``mean``: over several bases."""

    scope: str
    notes: tuple[str, ...]
    percent: str
    interval: str
    seeds: tuple[SeedValue, ...]
    verdict: str
    reasons: tuple[str, ...]
    more_reasons: tuple[str, ...]
    mean: bool


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows against one anchor. ``folded``: shown on request."""

    title: str
    rows: tuple[VerdictRow, ...]
    folded: bool


@dataclass(frozen=True, kw_only=True)
class Group:
    """All blocks of one pair, or of one base task, in one setting."""

    title: str
    setting: str
    blocks: tuple[Block, ...]


def headline(
    comparisons: Sequence[Comparison], curves: Sequence[RDCurve]
) -> tuple[Comparison, ...]:
    """The comparisons that the page shows: each task's first metric, the shown rate source."""
    keys = [curve.key for curve in curves]
    settings = set(shown_settings(keys))
    first: dict[str, str] = {}
    for key in keys:
        first.setdefault(_measured_task(key), key.metric)
    return tuple(
        comparison
        for comparison in comparisons
        if setting_of(comparison.test) in settings
        and first[_measured_task(comparison.test)] == comparison.test.metric
    )


def groups(comparisons: Sequence[Comparison]) -> tuple[Group, ...]:
    """The tables: base tasks first, then pairs."""
    found: dict[tuple[Setting, tuple[str, ...]], list[Comparison]] = {}
    for comparison in comparisons:
        found.setdefault((setting_of(comparison.test), comparison.test.tasks), []).append(
            comparison
        )
    ordered = sorted(found.items(), key=lambda item: len(item[0][1]))
    return tuple(
        Group(
            title=pair_text(tasks) if len(tasks) > 1 else f"Base: {pair_text(tasks)}",
            setting=setting.text,
            blocks=tuple(_blocks(rows)),
        )
        for (setting, tasks), rows in ordered
    )


def _blocks(comparisons: Sequence[Comparison]) -> Iterator[Block]:
    found: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        title = f"{_against(comparison)}, at equal {metric_text(comparison.metric.name)}"
        found.setdefault(title, []).append(comparison)
    for title, rows in found.items():
        rows.sort(
            key=lambda row: REFERENCES.index(row.reference) if row.reference in REFERENCES else 0
        )
        yield Block(
            title=title,
            rows=tuple(_row(row) for row in rows),
            folded=rows[0].reference != BASELINE,
        )


def _against(comparison: Comparison) -> str:
    """``β = 0.1 against β = 0``; other references share a block."""
    if comparison.reference == BASELINE:
        return f"{arm_text(comparison.test)} against {arm_text(comparison.anchor)}"
    if comparison.reference == IMPORTED:
        return "Codecs from outside"
    return "Scalable curves against standalone, single layer and simulcast"


def _row(comparison: Comparison) -> VerdictRow:
    key, result = comparison.test, comparison.summary
    where = at_text(key)
    if comparison.over:
        where = f"mean over λ_b {', '.join(map(number, comparison.over))}"
    what = _WHAT.get(key.family, family_text(key.family))
    if comparison.reference != BASELINE:
        own = ", enhancement's own rate" if comparison.rate == "enhancement" else ""
        what = f"Against {family_text(comparison.reference)}{own}, {arm_text(key)}"
    if comparison.reference == IMPORTED:
        what = f"{_WHAT.get(key.family, family_text(key.family))} against {result.anchor}"
        what = ", ".join(part for part in (what, arm_text(key)) if part)
    return VerdictRow(
        scope=", ".join(part for part in (what, where) if part),
        notes=tuple(_delta_texts(comparison)),
        percent=percent_text(result),
        interval=_interval_text(comparison),
        seeds=tuple(_seed_values(comparison)),
        verdict=result.verdict,
        reasons=result.reasons[:REASONS_SHOWN],
        more_reasons=result.reasons[REASONS_SHOWN:],
        mean=bool(comparison.over),
    )


def _seed_values(comparison: Comparison) -> Iterator[SeedValue]:
    """One value a seed; one for all where none has any."""
    if all(result.percent is None for _, result in comparison.per_seed):
        seeds = ", ".join(str(seed) for seed, _ in comparison.per_seed)
        yield SeedValue(name=f"seed {seeds}", value="none")
        return
    for seed, result in comparison.per_seed:
        yield SeedValue(name=f"seed {seed}", value=percent_text(result))


def percent_text(result: BDRate) -> str:
    """``−3.21 %``; words where there is none."""
    return "none" if result.percent is None else f"{number(result.percent, '+.2f')} %"


def _interval_text(comparison: Comparison) -> str:
    """Over seeds, then over images, as far as there are any."""
    found = ("", comparison.summary.interval), ("over images ", comparison.summary.image_interval)
    told = [
        f"{over}{number(ends[0], '+.2f')} to {number(ends[1], '+.2f')} %"
        for over, ends in found
        if ends is not None
    ]
    return f"95 % interval {', '.join(told)}" if told else ""


def _delta_texts(comparison: Comparison) -> Iterator[str]:
    """BD-metric; then what the base pays and gains at each λ_b: of other curves the table would
    drown."""
    if change := _at_equal_rate(comparison):
        yield f"{change}, over {comparison.summary.rate_overlap:.0%} of the rates"
    if comparison.test.family == "base":
        for delta in comparison.deltas:
            rate, value = number(delta.mean_rate_percent, "+.2f"), number(delta.mean_value, "+.4g")
            metric = f"{metric_text(comparison.metric.name)} {value} {comparison.metric.unit}"
            yield f"{axes_text(delta.axes)}: rate {rate} %, {metric}".strip()


def sentences(comparisons: Sequence[Comparison]) -> tuple[Sentence, ...]:
    """What the study says of each pair and β, with the means over λ_b where there are any."""
    against = [row for row in comparisons if row.reference == BASELINE]
    bases = {_arm(row): row for row in against if row.test.family == "base"}
    found: dict[tuple[object, ...], dict[str, Comparison]] = {}
    for row in against:
        if len(row.test.tasks) == 2:
            rows = found.setdefault((row.test.tasks, _arm(row)), {})
            rows |= {row.test.family: row}
            if _arm(row) in bases:
                rows["base"] = bases[_arm(row)]
    return tuple(map(_sentence, found.values()))


def without_comparison(
    pairs: Iterable[tuple[str, ...]], comparisons: Sequence[Comparison], curves: Sequence[RDCurve]
) -> tuple[Sentence, ...]:
    """Why nothing is said of a pair of tasks that the study asks for."""
    compared = {row.test.tasks for row in comparisons if row.reference == BASELINE}
    lacking = [tasks for tasks in dict.fromkeys(pairs) if tasks not in compared]
    return tuple(Sentence(subject=pair_text(it), text=_why_not(it, curves)) for it in lacking)


def _why_not(tasks: tuple[str, ...], curves: Sequence[RDCurve]) -> str:
    own = [
        key for key in (c.key for c in curves) if key.tasks == tasks and key.family == "scalable"
    ]
    arms = list(dict.fromkeys(arm_text(key) for key in own))
    if not arms:
        return "No curve: no enhancement of this pair is finished; the table of trials says why."
    if len(arms) == 1:
        return f"One arm alone, {arms[0]}: its curve has nothing to be compared with."
    return f"Curves of {_listed(arms)}, none of which is the baseline of report.anchor."


def _arm(row: Comparison) -> tuple[object, ...]:
    """What the rows of one sentence share: the setting, the base task and the arm."""
    return setting_of(row.test), row.test.tasks[0], arm_text(row.test)


def _sentence(rows: Mapping[str, Comparison]) -> Sentence:
    told, refused = [], []
    for family, subject in _SUBJECTS.items():
        if family in rows:
            percent = rows[family].summary.percent
            if percent is None:
                refused.append(subject + _instead(rows[family]))
            else:
                told.append(f"{subject} {_change(percent)} ({_beside(rows[family])})")
    parts = [f"{_listed(told)}."] if told else []
    if refused:
        parts.append(f"no BD-rate can be given for {_listed(refused)}.")
    row = next(row for row in rows.values() if len(row.test.tasks) == 2)
    return Sentence(
        subject=f"{pair_text(row.test.tasks)}, {_against(row)}",
        text=" ".join(part[0].upper() + part[1:] for part in parts),
    )


def _beside(row: Comparison) -> str:
    """The verdict, and BD-metric where there is one."""
    return ", ".join(part for part in (row.summary.verdict, _at_equal_rate(row)) if part)


def _instead(row: Comparison) -> str:
    change = _at_equal_rate(row)
    return f" ({change})" if change else ""


def _at_equal_rate(row: Comparison) -> str:
    """BD-metric, ``PSNR +0.42 dB at equal rate``; empty where the curves share no rate."""
    if row.summary.metric_change is None:
        return ""
    change = f"{number(row.summary.metric_change, '+.3g')} {row.metric.unit}".strip()
    return f"{metric_text(row.metric.name)} {change} at equal rate"


def _change(percent: float) -> str:
    if abs(percent) < 0.005:
        return "stays as it is"
    return f"{'rises' if percent > 0 else 'falls'} by {abs(percent):.2f} %"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _measured_task(key: CurveKey) -> str:
    return key.metric.partition("/")[0]
