"""The BD-rate verdict on two RD curves: a number only where one can be defended, and every reason.

PCHIP is the headline, Akima the cross-check; the least-squares cubic of log rate over the metric
is what many papers print and is shown for information. BD-metric, by PCHIP, stands beside it: it
needs rates that both curves have where BD-rate needs metric values. All interpolations are those
of the `bjontegaard` package, loaded when a number is due and never for a refusal that needs none.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Literal

from tcc.curves.front import Front, overlap, rate_overlap, reduce
from tcc.records import BDRate

MIN_POINTS = 4
MIN_OVERLAP = 0.75  # under it: caution
MAX_DISAGREEMENT = 2.0  # percentage points between PCHIP and Akima; over it: caution
SHORT_OF_CEILING = 0.01  # where refused: rates are given at this share short of the ceiling
METHOD = "pchip"
CACHED = 4096  # interpolations
_ZERO = 1e-6  # percent; values this near zero have no sign
_NOTHING = 2.0**-60  # beside 1, in double precision


def verdict(
    anchor_bpp: Sequence[float],
    anchor_values: Sequence[float],
    test_bpp: Sequence[float],
    test_values: Sequence[float],
    *,
    metric: str,
    higher_is_better: bool,
    anchor: str = "anchor",
    test: str = "test",
    anchor_names: Sequence[str] = (),
    test_names: Sequence[str] = (),
    ceiling: float | None = None,
    cautions: Sequence[str] = (),
    refusals: Sequence[str] = (),
) -> BDRate:
    """Percent more (+) or less (−) rate of the test curve at equal metric, and what it is worth.

    Any finite or non-finite numbers make a verdict; nothing raises but unequal lengths.

    Args:
        anchor_bpp, test_bpp: rates in bits per pixel, in any order.
        anchor_values, test_values: the metric at each rate.
        anchor, test: what the curves are called.
        anchor_names, test_names: what single points are called, beside their coordinates.
        ceiling: the metric without compression; where refused, rates are given just short of it.
        cautions, refusals: what the caller knows of the points that the numbers do not show. A
            refusal of the caller's leaves no number at all: neither cross-checks nor fixed levels.

    Raises:
        DataError: a curve's rates and values differ in number.
    """
    sign = 1.0 if higher_is_better else -1.0
    fronts = (
        reduce("anchor", anchor_bpp, anchor_values, sign=sign, names=anchor_names),
        reduce("test", test_bpp, test_values, sign=sign, names=test_names),
    )
    share = overlap(*fronts)
    refused = [*_refusals(fronts, share, sign, metric), *refusals]
    percent = akima = None
    if not refused:
        percent = _delta("rate", *map(_curve, fronts), method=METHOD)
        akima = _delta("rate", *map(_curve, fronts), method="akima")
        if percent is None:
            refused.append("PCHIP gives no finite number on these points")
            akima = None
    careful = [*(reason for front in fronts for reason in front.reasons), *cautions]
    if 0 < share < MIN_OVERLAP:
        told = f"{share_text(share)}, under {MIN_OVERLAP:.0%}"
        careful.append(f"overlap of the {metric} ranges is {told}")
    if percent is not None:
        careful += _disagreement(percent, akima)
    cubic = None
    if share > 0 and not refusals and min(len(front.usable) for front in fronts) >= MIN_POINTS:
        cubic = _delta("rate", *map(_usable, fronts), method="cubic")
    shared, change = rate_overlap(*fronts), None
    if shared > 0 and not refusals and min(map(len, fronts)) >= MIN_POINTS:
        change = _delta("metric", *map(_curve, fronts), method=METHOD)
    instead = _instead(*fronts, sign, metric, ceiling) if refused and not refusals else []
    return BDRate(
        anchor=anchor,
        test=test,
        metric=metric,
        percent=percent,
        method=METHOD,
        cross_checks={"akima": akima, "cubic": cubic},
        overlap=share,
        num_points={front.role: len(front) for front in fronts},
        dropped=fronts[0].dropped + fronts[1].dropped,
        interval=None,
        verdict="refused" if refused else "caution" if careful else "ok",
        reasons=(*refused, *careful, *instead),
        metric_change=None if change is None else sign * change + 0.0,  # no "-0"
        rate_overlap=shared,
    )


def share_text(share: float) -> str:
    """``84.3%``; of what is there, never ``0.0%``."""
    return "below 0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def _refusals(fronts: tuple[Front, Front], share: float, sign: float, metric: str) -> list[str]:
    reasons = []
    if share == 0 and all(fronts):
        ranges = []
        for front in fronts:
            low, high = sorted(sign * front.scores[end] + 0.0 for end in (0, -1))
            span = f"{low:.6g} to {high:.6g}" if len(front) > 1 else f"{low:.6g} alone"
            ranges.append(f"{front.role} {span}")
        reasons.append(f"no overlap of the {metric} ranges: {', '.join(ranges)}")
    for front in fronts:
        if len(front) < MIN_POINTS:
            left = f"{len(front)} point{'s' * (len(front) != 1)}"
            after = " after the reduction" if front.dropped else ""
            reasons.append(f"{front.role}: {left}{after}, at least {MIN_POINTS} are needed")
    return reasons


def _disagreement(percent: float, akima: float | None) -> list[str]:
    if akima is None:
        return ["Akima gives no finite number on these points"]
    values = f"PCHIP {percent:+.2f} %, Akima {akima:+.2f} %"
    reasons = []
    if percent * akima < 0 and min(abs(percent), abs(akima)) > _ZERO:
        reasons.append(f"PCHIP and Akima differ in sign: {values}")
    if abs(percent - akima) > MAX_DISAGREEMENT:
        reasons.append(f"PCHIP and Akima differ by more than {MAX_DISAGREEMENT:g} points: {values}")
    return reasons


def _instead(
    anchor: Front, test: Front, sign: float, metric: str, ceiling: float | None
) -> list[str]:
    """What can still be said: rates at one metric level, and metrics at one rate."""
    if not anchor or not test:
        return []
    lines = []
    level = min(anchor.scores[-1], test.scores[-1])
    what = "the best that both reach"
    if ceiling is not None and math.isfinite(ceiling):
        near = sign * ceiling - SHORT_OF_CEILING * abs(ceiling)
        if max(anchor.scores[0], test.scores[0]) <= near <= level:
            level, what = near, f"{SHORT_OF_CEILING:.0%} short of the ceiling"
    rates = anchor.rate_at(level), test.rate_at(level)
    if rates[0] is not None and rates[1] is not None:
        change = (rates[1] / rates[0] - 1) * 100
        lines.append(
            f"instead: at {metric} {sign * level + 0.0:.6g} ({what}) the rate is anchor "
            f"{rates[0]:.4g}, test {rates[1]:.4g} bpp ({change:+.1f} %)"
        )
    low = max(anchor.rates[0], test.rates[0])
    high = min(anchor.rates[-1], test.rates[-1])
    # clamped: the root of the product may round out of the range
    rate = min(max(math.sqrt(low) * math.sqrt(high), low), high)
    scores = anchor.score_at(rate), test.score_at(rate)
    if low <= high and scores[0] is not None and scores[1] is not None:
        values = sign * scores[0] + 0.0, sign * scores[1] + 0.0  # no "-0"
        lines.append(
            f"instead: at {rate:.4g} bpp (inside both curves) {metric} is anchor {values[0]:.6g}, "
            f"test {values[1]:.6g} ({values[1] - values[0]:+.4g})"
        )
    return lines or ["instead: the curves share neither a metric level nor a rate"]


_Curve = tuple[Sequence[float], Sequence[float]]  # rates, scores


def _curve(front: Front) -> _Curve:
    return front.rates, front.scores


def _usable(front: Front) -> _Curve:
    return [rate for _, rate in front.usable], [score for score, _ in front.usable]


def _delta(
    what: Literal["rate", "metric"], anchor: _Curve, test: _Curve, *, method: str
) -> float | None:
    """BD-rate in percent, or BD-metric in the unit of the scores: the mean difference of what
    `bjontegaard` interpolates, over what both curves have; None where there is no finite number."""
    # A BD-rate does not depend on the metric's unit. Brought to ±1 by a power of two, which is
    # exact, and rid of what is nothing beside 1, no cube leaves the range of floats: LAPACK's
    # least squares can hang for ever on what comes of it then.
    exponent = max(math.frexp(score)[1] for _, scores in (anchor, test) for score in scores)
    anchor, test = ((rates, _scaled(scores, exponent)) for rates, scores in (anchor, test))
    if min(len(set(scores)) for _, scores in (anchor, test)) < MIN_POINTS:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            (before, *ends), (after, *others) = (
                _integral(what, method, tuple(rates), scores) for rates, scores in (anchor, test)
            )
            low, high = max(ends[0], others[0]), min(ends[1], others[1])
            if high <= low:
                return None
            change = (after(low, high) - before(low, high)) / (high - low)
            found = (10**change - 1) * 100 if what == "rate" else math.ldexp(change, exponent)
        except (ValueError, ArithmeticError):  # points too close, too far apart for floats
            return None
    return float(found) if math.isfinite(found) else None


@lru_cache(CACHED)  # a curve meets several others
def _integral(
    what: str, method: str, rates: tuple[float, ...], scores: tuple[float, ...]
) -> tuple[Callable[[float, float], float], float, float]:
    """The integral of `bjontegaard`'s interpolation of log rate over the score, or of the score
    over log rate, and where it begins and ends."""
    import numpy as np

    logs = np.log10(np.asarray(rates))
    xs, ys = (np.asarray(scores), logs) if what == "rate" else (logs, np.asarray(scores))
    # Powers of 99.9 and 99.95 are alike but for their last digits: least squares are of what lies
    # around zero.
    middle = xs.mean() if method == "cubic" else 0.0
    curve = _interpolation().interpolate(xs - middle, ys, method)
    return lambda low, high: curve.integrate(low - middle, high - middle), xs.min(), xs.max()


@cache
def _interpolation() -> ModuleType:
    """`bjontegaard`'s interpolations without its plots: matplotlib takes longer to load than a
    verdict to find."""
    package = find_spec("bjontegaard")
    where = package and package.origin
    spec = where and spec_from_file_location(
        "bjontegaard_interpolation", Path(where).with_name("interpolation.py")
    )
    if not spec or not spec.loader:
        raise ModuleNotFoundError("No module named 'bjontegaard'", name="bjontegaard")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _scaled(scores: Sequence[float], exponent: int) -> tuple[float, ...]:
    scaled = [math.ldexp(score, -exponent) for score in scores]
    return tuple(score if abs(score) > _NOTHING else 0.0 for score in scaled)
