"""What each point of a curve costs, relative to the baseline at the same metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tcc.curves.comparisons import BASELINE, Comparison
from tcc.curves.front import reduce
from tcc.records import CurveKey, MetricInfo, RDCurve, RDPoint


@dataclass(frozen=True, kw_only=True)
class RelativeRate:
    """One point of a test curve. ``percent``: its rate over ``anchor_bpp``, minus one."""

    key: CurveKey
    metric: MetricInfo
    point: RDPoint
    anchor_bpp: float
    percent: float


def relative_rates(
    comparisons: Sequence[Comparison], curves: Sequence[RDCurve]
) -> Iterator[RelativeRate]:
    """Every point of every curve that is compared with the baseline, seed by seed.

    The baseline's rate is log-linear between the points of its Pareto front; a point outside its
    range of the metric gives nothing.
    """
    by_key = {curve.key: curve for curve in curves}
    for row in comparisons:
        if row.reference != BASELINE or row.over:
            continue
        for seed, _ in row.per_seed:
            test, anchor = (by_key[replace(key, seed=seed)] for key in (row.test, row.anchor))
            yield from _relative(test, anchor)


def _relative(test: RDCurve, anchor: RDCurve) -> Iterator[RelativeRate]:
    sign = 1.0 if test.metric.higher_is_better else -1.0
    front = reduce(
        "anchor",
        [point.rate_bpp for point in anchor.points],
        [point.value for point in anchor.points],
        sign=sign,
    )
    for point in test.points:
        bpp = front.rate_at(sign * point.value)
        if bpp is not None and math.isfinite(point.rate_bpp):
            yield RelativeRate(
                key=test.key,
                metric=test.metric,
                point=point,
                anchor_bpp=bpp,
                percent=(point.rate_bpp / bpp - 1) * 100,
            )
