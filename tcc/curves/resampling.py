"""PCHIP BD-rates of one pair of curves in many resamples at once: one value a resample.

The reduction to a front, the interpolation of log-rate over score and the integral over the scores
that both curves have are those of `front` and `bdrate`, on arrays ``(points, resamples)``: a call
of `bjontegaard` for each resample would take minutes. Slopes: Fritsch and Butland, "A method for
constructing local monotone piecewise cubic interpolants", 1984, as scipy has them; both
coordinates of a front rise, so none is negative.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcc.curves.bdrate import MIN_POINTS

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Cubics:
    """PCHIPs of log10 rate over score, of those ``resamples`` whose fronts have as many points."""

    resamples: NDArray[np.intp] | slice
    scores: Array  # the knots
    powers: tuple[Array, Array, Array, Array]  # integral from each knot: s, s², s³, s⁴ beyond it

    def integral(self, low: Array, high: Array) -> Array:
        """From ``low`` to ``high``, which lie within the knots."""
        start, end = self.scores[:-1], self.scores[1:]
        to = (self._from_knot(np.minimum(np.maximum(at, start), end) - start) for at in (high, low))
        return np.subtract(*to).sum(axis=0)

    def _from_knot(self, s: Array) -> Array:
        one, two, three, four = self.powers
        return s * (one + s * (two + s * (three + s * four)))


@dataclass(frozen=True, kw_only=True)
class ResampledCurve:
    """A curve in every resample. ``worst`` and ``best`` score of its front; NaN where that has too
    few points for a BD-rate."""

    worst: Array
    best: Array
    cubics: tuple[_Cubics, ...]

    def integral(self, low: Array, high: Array) -> Array:
        """Of log10 rate over the scores from ``low`` to ``high``; NaN where there is no curve."""
        found = np.full_like(self.worst, np.nan)
        for cubics in self.cubics:
            mine = cubics.resamples
            found[mine] = cubics.integral(low[mine], high[mine])
        return found


def resampled_curve(rates: Array, scores: Array) -> ResampledCurve:
    """A curve of ``(points, resamples)`` rates in bits per pixel and scores, higher is better."""
    worst, best = np.full((2, rates.shape[1]), np.nan)
    cubics = []
    with np.errstate(all="ignore"):  # what comes of it is not finite, and left out
        for resamples, bpp, score in _fronts(rates, scores):
            worst[resamples], best[resamples] = score[0], score[-1]
            cubics.append(_cubics(resamples, score, np.log10(bpp)))
    return ResampledCurve(worst=worst, best=best, cubics=tuple(cubics))


def resampled_bd_rates(anchor: ResampledCurve, test: ResampledCurve) -> Array:
    """Percent more rate of the test curve in each resample; NaN where it would be refused."""
    low, high = np.maximum(anchor.worst, test.worst), np.minimum(anchor.best, test.best)
    with np.errstate(all="ignore"):
        mean = (test.integral(low, high) - anchor.integral(low, high)) / (high - low)
        percent = (10**mean - 1) * 100
        return np.where((high > low) & np.isfinite(percent), percent, np.nan)


def _fronts(rates: Array, scores: Array) -> Iterator[tuple[NDArray[np.intp] | slice, Array, Array]]:
    """The resamples in which the same places of the sorted curve are on its front, and the front;
    none of those with too few points."""
    if _rise(rates) and _rise(scores) and (rates[0] > 0).all():  # nearly always
        if len(rates) >= MIN_POINTS:
            yield slice(None), rates, scores
        return
    scores = np.where(rates > 0, scores, -np.inf)  # what costs nothing is on no front
    order = np.lexsort((-scores, rates), axis=0)
    rates, scores = (np.take_along_axis(values, order, axis=0) for values in (rates, scores))
    before = np.maximum.accumulate(np.vstack([np.full_like(scores[:1], -np.inf), scores[:-1]]))
    kinds, kind_of = np.unique(scores > before, axis=1, return_inverse=True)
    for kind, kept in enumerate(kinds.T):
        if kept.sum() >= MIN_POINTS:
            resamples = np.flatnonzero(kind_of == kind)
            front = np.ix_(kept, resamples)
            yield resamples, rates[front], scores[front]


def _rise(values: Array) -> bool:
    return bool((values[1:] > values[:-1]).all())


def _cubics(resamples: NDArray[np.intp] | slice, x: Array, y: Array) -> _Cubics:
    step = x[1:] - x[:-1]
    chord = (y[1:] - y[:-1]) / step
    slope = np.empty_like(x)
    ahead, behind = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    slope[1:-1] = (ahead + behind) / (ahead / chord[:-1] + behind / chord[1:])
    for end, near, far in ((0, 0, 1), (-1, -1, -2)):
        parabola = (2 * step[near] + step[far]) * chord[near] - step[near] * chord[far]
        slope[end] = np.maximum(parabola / (step[near] + step[far]), 0)
    before, after = slope[:-1], slope[1:]
    powers = (
        y[:-1],
        before / 2,
        (3 * chord - 2 * before - after) / (3 * step),
        (before + after - 2 * chord) / (4 * step**2),
    )
    return _Cubics(resamples=resamples, scores=x, powers=powers)
