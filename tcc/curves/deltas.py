"""Δrate and Δmetric at equal λ: what a BD-rate integrates over, point by point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from tcc.records import RDCurve, RDPoint


@dataclass(frozen=True, kw_only=True)
class Delta:
    """Test minus anchor at one λ, a value for each seed that has both points."""

    axes: Mapping[str, float]  # those that move along the curve
    seeds: tuple[int, ...]
    rate_percent: tuple[float, ...]
    value: tuple[float, ...]  # in the metric's unit; its sign is the metric's own

    @property
    def mean_rate_percent(self) -> float:
        return fmean(self.rate_percent)

    @property
    def mean_value(self) -> float:
        return fmean(self.value)


def deltas(pairs: Mapping[int, tuple[RDCurve, RDCurve]]) -> tuple[Delta, ...]:
    """One delta for each λ that anchor and test share, by rising λ.

    Args:
        pairs: seed → anchor curve, test curve.
    """
    found: dict[tuple[tuple[str, float], ...], dict[int, tuple[float, float]]] = {}
    for seed, (anchor, test) in pairs.items():
        before = _by_lambda(anchor)
        for axes, point in _by_lambda(test).items():
            other = before.get(axes)
            if other is not None and other.rate_bpp > 0:
                change = (point.rate_bpp / other.rate_bpp - 1) * 100, point.value - other.value
                found.setdefault(axes, {})[seed] = change
    return tuple(
        Delta(
            axes=dict(axes),
            seeds=tuple(changes),
            rate_percent=tuple(change[0] for change in changes.values()),
            value=tuple(change[1] for change in changes.values()),
        )
        for axes, changes in sorted(found.items())
    )


def _by_lambda(curve: RDCurve) -> dict[tuple[tuple[str, float], ...], RDPoint]:
    """Points by the axes that move along the curve."""
    return {
        tuple((name, x) for name, x in point.axes.items() if name not in curve.key.fixed): point
        for point in curve.points
    }
