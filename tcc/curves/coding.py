"""How far the files of a curve's points are from the rates that were estimated for them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from tcc.records import CodingGap, CurveKey, RDCurve


@dataclass(frozen=True, kw_only=True)
class CurveGap:
    """Over the points of all seeds of a curve. ``key``: of its first seed; percent are of the
    estimate; ``least`` and ``most``: of one point."""

    key: CurveKey
    points: int
    images: int  # coded for each point, at least
    percent: float
    least: float
    most: float
    headers_percent: float


def curve_gaps(curves: Iterable[RDCurve]) -> list[CurveGap]:
    """One for each curve, whatever its metrics and seeds, some of whose images were coded."""
    keys: dict[Hashable, CurveKey] = {}
    gaps: dict[Hashable, dict[tuple[str, str], CodingGap]] = {}
    for curve in curves:
        key = curve.key
        fixed = tuple(sorted(key.fixed.items()))
        setting = (key.dataset, key.split, key.trained_on, key.source)
        same = (key.method, key.family, key.tasks, fixed, key.variant, *setting)
        for point in curve.points:
            if point.gap is not None and point.gap.estimated_bits:
                keys.setdefault(same, key)
                gaps.setdefault(same, {})[point.trial, point.evaluation] = point.gap
    return [_over(keys[same], list(found.values())) for same, found in gaps.items()]


def _over(key: CurveKey, gaps: list[CodingGap]) -> CurveGap:
    estimated = sum(gap.estimated_bits for gap in gaps)
    percents = [gap.percent for gap in gaps]
    return CurveGap(
        key=key,
        points=len(gaps),
        images=min(gap.images for gap in gaps),
        percent=100 * (sum(gap.coded_bits for gap in gaps) / estimated - 1),
        least=min(percents),
        most=max(percents),
        headers_percent=100 * sum(gap.header_bits for gap in gaps) / estimated,
    )
