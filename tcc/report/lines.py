"""One line of a panel: its points, seed by seed, and its style. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tcc.curves.imported import FAMILY as IMPORTED
from tcc.curves.relative import RelativeRate
from tcc.curves.side_information import SideInformation
from tcc.records import CurveKey, RDCurve
from tcc.report.lineage import gain_lines, point_lines, relative_lines_of, trials_of
from tcc.report.words import arm_text, at_text, family_text

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
IMPORTED_SHAPES = ("x", "cross", "bowtie")
FILLS = ("open", "full", "open-dot", "dot")
DASHES = {
    "direct_published": "dash",
    "standalone": "dot",
    "single_layer": "dashdot",
    "simulcast": "longdash",
    "uncompressed": "dash",
    "pixels": "dot",
}
_RELATIVE_DASHES = {"enhancement_only": "longdashdot"}
HIDDEN = ("simulcast",)
_LEVEL_POINTS = 9  # hover finds a level at any of them

Arm = tuple[float, str]  # β and the variant, which sets β modes apart


@dataclass(frozen=True, kw_only=True)
class Strand:
    """The points of one seed by rising x. ``hover``: what a reader is told of each, lines of text;
    ``trials``: what each comes from, its own trial first; none where it is of no trial."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    hover: tuple[tuple[str, ...], ...]
    trials: tuple[tuple[str, ...], ...]
    improving: tuple[bool, ...]


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
    level: bool = False  # a horizontal line
    foreign: bool = False  # of a file, not of the study
    strands: tuple[Strand, ...]  # one a seed

    @property
    def group(self) -> str:
        """Its legend entry, shared by its bases."""
        return ", ".join(part for part in (self.family, self.arm) if part)

    @property
    def faint(self) -> bool:
        """Whether it is drawn once for each of several seeds."""
        return len(self.strands) > 1


Band = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]  # xs, lowest, highest


def band(line: Line) -> Band | None:
    """The area between the lowest and the highest of the seeds, each a polyline, wherever two or
    more of them are, to six digits; None for one seed."""
    import numpy as np

    strands = [strand for strand in line.strands if strand.xs]
    if len(strands) < 2:
        return None
    xs = np.unique(np.concatenate([strand.xs for strand in strands]))
    ys = np.array([np.interp(xs, s.xs, s.ys, left=np.nan, right=np.nan) for s in strands])
    there = np.isfinite(ys).sum(0) > 1
    if there.sum() < 2:
        return None
    area = xs[there], np.nanmin(ys[:, there], 0), np.nanmax(ys[:, there], 0)
    xs, low, high = (tuple(float(f"{value:.6g}") for value in edge) for edge in area)
    return xs, low, high


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
    """The curves of one panel, styled; seeds of one curve are strands of one line."""
    codecs = list(dict.fromkeys(c.key.variant for c in curves if c.key.family == IMPORTED))
    for key, seeds in _by_curve((curve.key, curve) for curve in curves).items():
        style = _style(key, scale)
        if key.family == IMPORTED:
            shape = IMPORTED_SHAPES[codecs.index(key.variant) % len(IMPORTED_SHAPES)]
            style |= {"family": key.variant, "arm": "", "shape": shape}
        yield Line(**style, strands=tuple(map(_strand, seeds)))


def _strand(curve: RDCurve) -> Strand:
    points = curve.points
    return Strand(
        xs=tuple(point.rate_bpp for point in points),
        ys=tuple(point.value for point in points),
        hover=tuple(point_lines(curve.key, curve.metric, point) for point in points),
        trials=tuple(map(trials_of, points)),
        improving=tuple(point.still_improving for point in points),
    )


def level_line(curves: Sequence[RDCurve], reach: float) -> Line:
    """The best value of a level over β and seeds, drawn from rate 0 to ``reach``."""
    curve, point = max(
        ((curve, point) for curve in curves for point in curve.points),
        key=lambda found: found[1].value * (1 if found[0].metric.higher_is_better else -1),
    )
    family = curve.key.family
    strand = Strand(
        xs=tuple(reach * index / (_LEVEL_POINTS - 1) for index in range(_LEVEL_POINTS)),
        ys=(point.value,) * _LEVEL_POINTS,
        hover=(point_lines(curve.key, curve.metric, point),) * _LEVEL_POINTS,
        trials=(trials_of(point),) * _LEVEL_POINTS,
        improving=(False,) * _LEVEL_POINTS,
    )
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
        strands=(strand,),
    )


def side_information_lines(gains: Sequence[SideInformation], scale: Scale) -> Iterator[Line]:
    """One line for each base: what it saves the enhancement, over the rate without it."""
    for key, seeds in _by_curve((gain.key, gain) for gain in gains).items():
        by_seed: dict[int, list[SideInformation]] = {}
        for gain in sorted(seeds, key=lambda gain: gain.standalone_bpp):
            by_seed.setdefault(gain.key.seed, []).append(gain)
        strands = tuple(
            Strand(
                xs=tuple(gain.standalone_bpp for gain in found),
                ys=tuple(gain.saved_percent for gain in found),
                hover=tuple(map(gain_lines, found)),
                trials=tuple((gain.trial, gain.standalone) for gain in found),
                improving=(False,) * len(found),
            )
            for _, found in sorted(by_seed.items())
        )
        yield Line(**_style(key, scale), strands=strands)


def relative_lines(rates: Sequence[RelativeRate], scale: Scale) -> Iterator[Line]:
    """One line a curve: what each of its points costs more than the baseline, over the metric."""
    for key, found in _by_curve((rate.key, rate) for rate in rates).items():
        by_seed: dict[int, list[RelativeRate]] = {}
        for rate in sorted(found, key=lambda rate: rate.point.value):
            by_seed.setdefault(rate.key.seed, []).append(rate)
        strands = tuple(
            Strand(
                xs=tuple(rate.point.value for rate in seed),
                ys=tuple(rate.percent for rate in seed),
                hover=tuple(map(relative_lines_of, seed)),
                trials=tuple(trials_of(rate.point) for rate in seed),
                improving=tuple(rate.point.still_improving for rate in seed),
            )
            for _, seed in sorted(by_seed.items())
        )
        yield Line(
            **{**_style(key, scale), "dash": _RELATIVE_DASHES.get(key.family, "solid")},
            strands=strands,
        )


_T = TypeVar("_T")


def _by_curve(items: Iterable[tuple[CurveKey, _T]]) -> dict[CurveKey, list[_T]]:
    """What belongs to one curve, whatever its seed."""
    found: dict[CurveKey, list[_T]] = {}
    for key, item in items:
        found.setdefault(replace(key, seed=0), []).append(item)
    return found


def _style(key: CurveKey, scale: Scale) -> dict[str, Any]:
    arm, at = arm_of(key), key.fixed.get("lambda_b")
    shape = FAMILY_SHAPES.get(key.family, SHAPES[0])
    if at is not None:
        shape = SHAPES[scale.bases.index(at) % len(SHAPES)]
    return {
        "family": family_text(key.family),
        "arm": arm_text(key),
        "at": at_text(key),
        "shown": key.family not in HIDDEN,
        "slot": None if arm is None else scale.arms.index(arm),
        "dash": DASHES.get(key.family, "solid"),
        "shape": shape,
        "fill": FILLS[1 if arm is None else scale.arms.index(arm) % len(FILLS)],
    }
