"""One line of a panel: its points, its style, and what a reader is told of each point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tcc.curves.points import rate_of
from tcc.curves.side_information import SideInformation
from tcc.records import CodingGap, CurveKey, RDCurve, RDPoint
from tcc.report.words import (
    arm_text,
    at_text,
    axes_text,
    curve_text,
    family_text,
    metric_text,
    number,
    pair_text,
    value_text,
)

SHAPES = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "pentagon",
    "hexagon",
    "star",
)
FAMILY_SHAPES = {"direct_published": "square", "single_layer": "triangle-down"}  # others: circle
FILLS = ("open", "full", "open-dot", "dot")
DASHES = {
    "direct_published": "dash",
    "standalone": "dot",
    "single_layer": "dashdot",
    "simulcast": "longdash",
    "uncompressed": "dash",
    "pixels": "dot",
}
HIDDEN = ("simulcast",)
_LEVEL_POINTS = 9  # hover finds a level at any of them

Arm = tuple[float, str]  # β and the variant, which sets β modes apart


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve of a panel, named by its family, its arm and its base; the latter two empty where
    it has none."""

    family: str
    arm: str
    at: str
    shown: bool  # at first; a reference line shows on request
    slot: int | None  # of the palette; None: no arm, neutral
    dash: str
    shape: str
    fill: str
    level: bool  # a horizontal line
    faint: bool  # one of several seeds
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    hover: tuple[tuple[str, ...], ...]  # lines of text, by point
    improving: tuple[bool, ...]

    @property
    def group(self) -> str:
        """Its legend entry, shared by seeds and bases."""
        return ", ".join(part for part in (self.family, self.arm) if part)


def arm_of(key: CurveKey) -> Arm | None:
    """The arm of a curve; None where β plays no part, as in a single layer."""
    beta = key.fixed.get("beta")
    return None if beta is None else (beta, key.variant)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What styles stand for, the same in all panels of a pair: colours and fills for arms, shapes
    for the λ_b."""

    arms: tuple[Arm, ...]
    bases: tuple[float, ...]


def scale_of(keys: Iterable[CurveKey]) -> Scale:
    """Every arm and λ_b of some curves, rising."""
    keys = list(keys)
    return Scale(
        arms=tuple(sorted({arm for arm in map(arm_of, keys) if arm is not None})),
        bases=tuple(sorted({key.fixed["lambda_b"] for key in keys if "lambda_b" in key.fixed})),
    )


def lines_of(curves: Sequence[RDCurve], scale: Scale) -> Iterator[Line]:
    """The curves of one panel, styled."""
    styles = _styles([curve.key for curve in curves], scale)
    for curve, style in zip(curves, styles, strict=True):
        yield Line(
            **style,
            xs=tuple(point.rate_bpp for point in curve.points),
            ys=tuple(point.value for point in curve.points),
            hover=tuple(point_lines(curve, point) for point in curve.points),
            improving=tuple(point.still_improving for point in curve.points),
        )


def level_line(curves: Sequence[RDCurve], reach: float) -> Line:
    """The best value of a level over β and seeds, drawn from rate 0 to ``reach``."""
    curve, point = max(
        ((curve, point) for curve in curves for point in curve.points),
        key=lambda found: found[1].value * (1 if found[0].metric.higher_is_better else -1),
    )
    family = curve.key.family
    return Line(
        family=family_text(family),
        arm="",
        at="",
        shown=True,
        slot=None,
        dash=DASHES[family],
        shape=SHAPES[0],
        fill=FILLS[0],
        level=True,
        faint=False,
        xs=tuple(reach * index / (_LEVEL_POINTS - 1) for index in range(_LEVEL_POINTS)),
        ys=(point.value,) * _LEVEL_POINTS,
        hover=(point_lines(curve, point),) * _LEVEL_POINTS,
        improving=(point.still_improving,) * _LEVEL_POINTS,
    )


def side_information_lines(gains: Sequence[SideInformation], scale: Scale) -> Iterator[Line]:
    """One line for each base: what it saves the enhancement, over the rate without it."""
    by_key: dict[CurveKey, list[SideInformation]] = {}
    for gain in gains:
        by_key.setdefault(gain.key, []).append(gain)
    for key, style in zip(by_key, _styles(list(by_key), scale), strict=True):
        found = sorted(by_key[key], key=lambda gain: gain.standalone_bpp)
        yield Line(
            **style,
            xs=tuple(gain.standalone_bpp for gain in found),
            ys=tuple(gain.saved_percent for gain in found),
            hover=tuple(_gain_lines(gain) for gain in found),
            improving=(False,) * len(found),
        )


def _styles(keys: Sequence[CurveKey], scale: Scale) -> Iterator[dict[str, Any]]:
    seeds = Counter(map(curve_text, keys))
    for key in keys:
        arm, at = arm_of(key), key.fixed.get("lambda_b")
        shape = FAMILY_SHAPES.get(key.family, SHAPES[0])
        if at is not None:
            shape = SHAPES[scale.bases.index(at) % len(SHAPES)]
        yield {
            "family": family_text(key.family),
            "arm": arm_text(key),
            "at": at_text(key),
            "shown": key.family not in HIDDEN,
            "slot": None if arm is None else scale.arms.index(arm),
            "dash": DASHES.get(key.family, "solid"),
            "shape": shape,
            "fill": FILLS[1 if arm is None else scale.arms.index(arm) % len(FILLS)],
            "level": False,
            "faint": seeds[curve_text(key)] > 1,
        }


def point_lines(curve: RDCurve, point: RDPoint) -> tuple[str, ...]:
    """All that leads from a drawn point back to its trial."""
    key, metric = curve.key, curve.metric
    layers = dict.fromkeys(stream.partition(".")[0] for stream in point.bpp_by_stream)
    split = (f"{_layer(name)} {rate_of(point.bpp_by_stream, name):.4g}" for name in layers)
    rate = f" at {point.rate_bpp:.4g} bpp, {point.source}" if layers else ""
    improving = ", still improving" if point.still_improving else ""
    lines = (
        f"{family_text(key.family)}, {pair_text(key.tasks)}",
        f"{metric_text(metric.name)} {value_text(point.value, metric.unit)}{rate}",
        " + ".join(split) + " bpp" if layers else "",
        _gap_text(point.gap),
        ", ".join(part for part in (axes_text(point.axes), f"seed {point.seed}") if part),
        f"{point.kind} trial {point.trial}, step {point.step}{improving}",
        f"base trial {point.base}" if point.base and point.base != point.trial else "",
    )
    return tuple(line for line in lines if line)


def _gain_lines(gain: SideInformation) -> tuple[str, ...]:
    axes = axes_text({**gain.key.fixed, "lambda_e": gain.lambda_e})
    return (
        f"saves {gain.saved_percent:.3g} % of the enhancement's rate, "
        f"{gain.saved_percent_of_base:.3g} % of the base's",
        f"{gain.standalone_bpp:.4g} bpp without, {gain.enhancement_bpp:.4g} bpp with the base",
        f"{axes}, seed {gain.key.seed}",
        f"enhancement trial {gain.trial}",
        f"standalone trial {gain.standalone}",
    )


def _gap_text(gap: CodingGap | None) -> str:
    if gap is None:
        return ""
    return f"files of {gap.images} images are {number(gap.percent, '+.2f')} % off the estimate"


def _layer(name: str) -> str:
    return name.replace("_", " ")
