"""What the base saves the enhancement: the standalone arm against the conditional one.

Both code the same latents with the same transforms and differ in the entropy model's side
information alone, so their rates are compared at exactly equal quality, without interpolation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import fmean

from tcc.curves.points import rate_of
from tcc.curves.seeds import Interval, t_interval
from tcc.records import CurveKey, RDCurve, RDPoint


@dataclass(frozen=True, kw_only=True)
class SideInformation:
    """One enhancement and its standalone: rates in bits per pixel, the base's apart; ``saved_bits``
    of all images together."""

    key: CurveKey  # of the scalable curve
    lambda_e: float
    trial: str  # the enhancement
    standalone: str
    base_bpp: float
    enhancement_bpp: float
    standalone_bpp: float
    saved_bits: float

    @property
    def saved_bpp(self) -> float:
        """Bits per pixel that conditioning on the base saves; negative where it costs."""
        return self.standalone_bpp - self.enhancement_bpp

    @property
    def saved_percent(self) -> float:
        """Of the enhancement's rate without side information."""
        return 100 * self.saved_bpp / self.standalone_bpp

    @property
    def saved_percent_of_base(self) -> float:
        """Of the base's rate: the share of the base that the enhancement makes use of."""
        return 100 * self.saved_bpp / self.base_bpp


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What the bases of a pair and β save: the mean over λ (of one base or all), then over seeds,
    with its interval, None below three seeds. ``percent_of_base``: the share of the base that the
    enhancement makes use of."""

    key: CurveKey  # of the first seed; without `lambda_b` in a mean over bases
    seeds: int
    gains: int
    bits: float
    bpp: float
    bpp_interval: Interval | None
    percent: float
    percent_interval: Interval | None
    percent_of_base: float
    percent_of_base_interval: Interval | None


def savings(gains: Iterable[SideInformation]) -> tuple[Saving, ...]:
    """One for each pair, β and base, in the order of the gains, then one over the bases of each
    pair and β that has several."""
    gains = tuple(gains)
    by_base: dict[CurveKey, list[SideInformation]] = {}
    over: dict[CurveKey, list[SideInformation]] = {}
    for gain in gains:
        key = replace(gain.key, seed=0, metric="")
        fixed = {name: x for name, x in key.fixed.items() if name != "lambda_b"}
        by_base.setdefault(key, []).append(gain)
        over.setdefault(replace(key, fixed=fixed), []).append(gain)
    found = [_saving(items, over_bases=False) for items in by_base.values()]
    found += [
        _saving(items, over_bases=True)
        for items in over.values()
        if len({gain.key.fixed.get("lambda_b") for gain in items}) > 1
    ]
    return tuple(found)


def _saving(gains: list[SideInformation], *, over_bases: bool) -> Saving:
    first = gains[0].key
    fixed = {name: x for name, x in first.fixed.items() if name != "lambda_b" or not over_bases}
    seeds = sorted({gain.key.seed for gain in gains})

    def of(value: Callable[[SideInformation], float]) -> list[float]:
        return [fmean(value(it) for it in gains if it.key.seed == seed) for seed in seeds]

    bpp, percent = of(lambda it: it.saved_bpp), of(lambda it: it.saved_percent)
    share = of(lambda it: it.saved_percent_of_base)
    return Saving(
        key=replace(first, fixed=fixed),
        seeds=len(seeds),
        gains=len(gains),
        bits=fmean(of(lambda it: it.saved_bits)),
        bpp=fmean(bpp),
        bpp_interval=t_interval(bpp),
        percent=fmean(percent),
        percent_interval=t_interval(percent),
        percent_of_base=fmean(share),
        percent_of_base_interval=t_interval(share),
    )


def side_information(curves: Iterable[RDCurve]) -> tuple[SideInformation, ...]:
    """One gain for each standalone point, in the order of the curves, λ_e rising.

    Rates do not depend on the metric: a point that is on the curves of several counts once.
    """
    curves = tuple(curves)
    arms = {_arm(c.key, p): p for c in curves if c.key.family == "standalone" for p in c.points}
    gains: dict[tuple[object, ...], SideInformation] = {}
    for curve in curves:
        if curve.key.family != "scalable":
            continue
        for point in sorted(curve.points, key=lambda p: p.axes["lambda_e"]):
            arm = _arm(curve.key, point)
            if arm in arms and arm not in gains:
                gains[arm] = _gain(curve.key, point, arms[arm])
    return tuple(g for g in gains.values() if g.base_bpp > 0 and g.standalone_bpp > 0)


def _arm(key: CurveKey, point: RDPoint) -> tuple[object, ...]:
    """What an enhancement and its standalone share."""
    return (
        point.base,
        point.axes["lambda_e"],
        key.tasks,
        key.dataset,
        key.split,
        key.source,
        key.variant,
        key.seed,
        key.trained_on,
    )


def _gain(key: CurveKey, point: RDPoint, alone: RDPoint) -> SideInformation:
    return SideInformation(
        key=key,
        lambda_e=point.axes["lambda_e"],
        trial=point.trial,
        standalone=alone.trial,
        base_bpp=rate_of(point.bpp_by_stream, "base"),
        enhancement_bpp=rate_of(point.bpp_by_stream, "enhancement"),
        standalone_bpp=rate_of(alone.bpp_by_stream, "enhancement"),
        saved_bits=rate_of(alone.bits_by_stream, "enhancement")
        - rate_of(point.bits_by_stream, "enhancement"),
    )
