"""Two curves of a study and the verdict on them, with what their points are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tcc.curves.bdrate import verdict
from tcc.curves.bulk import spread
from tcc.curves.imported import FAMILY as IMPORTED
from tcc.curves.seeds import Interval, summarise
from tcc.records import BDRate, CurveKey, RDCurve, RDPoint

PER_BASE = ("scalable", "enhancement_only")  # families with one curve for each base
CHUNK = 64  # verdicts that a process makes at a time
_SYMBOLS = {"beta": "β", "lambda_b": "λ_b", "lambda_e": "λ_e"}

Question = Mapping[str, Any]
Asked = tuple[Mapping[int, Question], Sequence[str]]
# seed → what is asked of its two curves; why seeds that ought to be there are not


def describe(key: CurveKey) -> str:
    """A curve in one line: family, pair, fixed axes, variant; of a codec from outside its name."""
    if key.family == IMPORTED:
        return key.variant
    family = f"{key.family.replace('_', ' ')} {'→'.join(key.tasks)}"
    return ", ".join([family, *_axes(key.fixed), *([key.variant] if key.variant else [])])


def question(
    anchor: RDCurve, test: RDCurve, ceiling: float | None, refusals: Sequence[str]
) -> Question:
    """What is asked of an anchor and a test curve: arguments of `bdrate.verdict`, with the names of
    their points and what is known of their training."""
    names = {
        "anchor": [_point(anchor, point) for point in anchor.points],
        "test": [_point(test, point) for point in test.points],
    }
    cautions = []
    for role, curve in (("anchor", anchor), ("test", test)):
        flags = [point.still_improving for point in curve.points]
        if any(flags):
            which = ", ".join(name for name, flag in zip(names[role], flags, strict=True) if flag)
            cautions.append(f"{role}: undertrained, still improving at its end: {which}")
    if test.key.family in PER_BASE and "lambda_b" not in test.key.fixed:
        moving = f"the base moves along the curves: an equal {test.metric.name} is no equal base"
        cautions.append(moving)
    if (anchor.key.family, test.key.source) == (IMPORTED, "estimated"):
        cautions.append("the test's rates are estimated, the anchor's are of a codec from outside")
    return {
        "anchor_bpp": [point.rate_bpp for point in anchor.points],
        "anchor_values": [point.value for point in anchor.points],
        "test_bpp": [point.rate_bpp for point in test.points],
        "test_values": [point.value for point in test.points],
        "metric": test.metric.name,
        "higher_is_better": test.metric.higher_is_better,
        "anchor": describe(anchor.key),
        "test": describe(test.key),
        "anchor_names": names["anchor"],
        "test_names": names["test"],
        "ceiling": ceiling,
        "cautions": cautions,
        "refusals": refusals,
    }


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The verdict of each seed, and of all; ``bootstrap``: of their mean."""

    per_seed: Mapping[int, BDRate]
    summary: BDRate
    bootstrap: Interval | None


def judged(asked: Sequence[Asked], pool: Executor | None) -> Iterator[Judged]:
    """What comes of each comparison, in order. The workers of a ``pool`` begin at once."""
    parts: list[list[Asked]] = [[]]
    for one in asked:
        if sum(len(questions) for questions, _ in parts[-1]) >= CHUNK:
            parts.append([])
        parts[-1].append(one)
    return chain.from_iterable(spread(pool, _judge, parts))


def _judge(asked: Sequence[Asked]) -> list[Judged]:
    found = []
    for questions, missing in asked:
        per_seed = {seed: verdict(**question) for seed, question in questions.items()}
        summary, bootstrap = summarise(per_seed, missing=missing)
        found.append(Judged(per_seed=per_seed, summary=summary, bootstrap=bootstrap))
    return found


def _point(curve: RDCurve, point: RDPoint) -> str:
    """A point by the axes that move along its curve, and its trial."""
    moving = {name: value for name, value in point.axes.items() if name not in curve.key.fixed}
    return " ".join([*_axes(moving), *([f"trial {point.trial[:8]}"] if point.trial else [])])


def _axes(axes: Mapping[str, float]) -> list[str]:
    return [f"{_SYMBOLS.get(name, name)} {value:g}" for name, value in axes.items()]
