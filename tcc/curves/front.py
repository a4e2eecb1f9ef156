"""One RD curve made ready for a BD-rate: unusable points out, the rest reduced to a Pareto front.

Scores are the metric with its sign turned so that higher is better; what is shown to a reader is
always the metric itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tcc.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Front:
    """A curve on which rate and score both rise strictly.

    ``usable`` holds every (score, rate) that is finite and of positive rate, by rising score: the
    input of the least-squares cubic, which needs no monotone curve.
    """

    role: str  # anchor | test
    rates: tuple[float, ...]  # bits per pixel
    scores: tuple[float, ...]
    usable: tuple[tuple[float, float], ...]
    dropped: tuple[str, ...]
    reasons: tuple[str, ...]  # why points were dropped, in words

    def __len__(self) -> int:
        return len(self.rates)

    def rate_at(self, score: float) -> float | None:
        """Rate at a score, log-rate linear between neighbouring points; None outside the curve."""
        log_rates = [math.log(rate) for rate in self.rates]
        log_rate = _interpolate(self.scores, log_rates, score)
        return None if log_rate is None else math.exp(log_rate)

    def score_at(self, rate: float) -> float | None:
        """Score at a rate, linear over log-rate; None outside the curve."""
        log_rates = [math.log(item) for item in self.rates]
        return _interpolate(log_rates, self.scores, math.log(rate))


def reduce(
    role: str,
    bpp: Sequence[float],
    values: Sequence[float],
    *,
    sign: float,
    names: Sequence[str] = (),
) -> Front:
    """Drops what cannot be used, sorts, and keeps the points that no other point dominates.

    Args:
        role: ``anchor`` or ``test``; what dropped points are named after.
        bpp: rates in bits per pixel.
        values: the metric at each rate.
        sign: 1 where higher is better, −1 where lower is.
        names: what to call each point beside its coordinates, where there is something.

    Raises:
        DataError: the lengths differ.
    """
    if len(bpp) != len(values) or (names and len(names) != len(bpp)):
        counts = f"{len(bpp)} rates, {len(values)} values" + (f", {len(names)} names" * bool(names))
        raise DataError(f"{role}: {counts}; give one of each for every point")
    usable: list[tuple[float, float, str]] = []  # rate, score, name
    unusable: list[str] = []
    for index, (rate, value) in enumerate(zip(map(float, bpp), map(float, values), strict=True)):
        name = " ".join([role, *names[index : index + 1], f"({rate:.6g} bpp, {value:.6g})"])
        if not (math.isfinite(rate) and math.isfinite(value)):
            unusable.append(f"{name}: not finite")
        elif rate <= 0:
            unusable.append(f"{name}: the rate is not positive")
        else:
            usable.append((rate, sign * value, name))
    front: list[tuple[float, float, str]] = []
    dominated: list[str] = []
    for point in sorted(usable, key=lambda p: (p[0], -p[1], p[2])):
        if front and point[1] <= front[-1][1]:
            dominated.append(f"{point[2]}: no better than {front[-1][2]}")
        else:
            front.append(point)
    reasons = []
    for count, why in (
        (len(unusable), "not finite or without a positive rate"),
        (len(dominated), "not monotone (a point as cheap or cheaper is as good or better)"),
    ):
        if count:
            reasons.append(f"{role}: {count} of {len(bpp)} points dropped, {why}")
    return Front(
        role=role,
        rates=tuple(p[0] for p in front),
        scores=tuple(p[1] for p in front),
        usable=tuple(sorted((p[1], p[0]) for p in usable)),
        dropped=(*sorted(unusable), *dominated),
        reasons=tuple(reasons),
    )


def overlap(anchor: Front, test: Front) -> float:
    """Intersection over union of the two score ranges, 0 to 1."""
    return _shared(anchor.scores, test.scores) if anchor and test else 0.0


def rate_overlap(anchor: Front, test: Front) -> float:
    """Intersection over union of the two ranges of log-rates, 0 to 1."""
    if not anchor or not test:
        return 0.0
    return _shared(*([math.log(rate) for rate in front.rates] for front in (anchor, test)))


def _shared(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two rising sequences."""
    # halves, so that the difference of two large numbers stays finite
    starts, ends = (one[0] / 2, other[0] / 2), (one[-1] / 2, other[-1] / 2)
    union = max(ends) - min(starts)
    return max(min(ends) - max(starts), 0.0) / union if union > 0 else 0.0


def _interpolate(xs: Sequence[float], ys: Sequence[float], x: float) -> float | None:
    if not xs or not xs[0] <= x <= xs[-1]:
        return None
    for index in range(1, len(xs)):
        if x <= xs[index]:
            width = xs[index] - xs[index - 1]  # 0 where two rates have one logarithm
            share = (x - xs[index - 1]) / width if width else 1.0
            return ys[index - 1] * (1 - share) + ys[index] * share
    return ys[0]
