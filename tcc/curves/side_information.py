"""What the base saves the enhancement: the standalone arm against the conditional one.

Both code the same latents with the same transforms and differ in the entropy model's side
information alone, so their rates are compared at exactly equal quality, without interpolation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tcc.curves.points import rate_of
from tcc.records import CurveKey, RDCurve, RDPoint


@dataclass(frozen=True, kw_only=True)
class SideInformation:
    """One enhancement and its standalone: rates in bits per pixel, the base's apart."""

    key: CurveKey  # of the scalable curve
    lambda_e: float
    trial: str  # the enhancement
    standalone: str
    base_bpp: float
    enhancement_bpp: float
    standalone_bpp: float

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
    )
