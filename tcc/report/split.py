"""The rate split: which bits of a scalable point are the base's, which the enhancement's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tcc.curves.points import rate_of
from tcc.records import RDCurve, RDPoint
from tcc.report.lineage import point_lines, trials_of
from tcc.report.lines import arm_of
from tcc.report.panels import PairPanels
from tcc.report.words import axis_name, number

LAYERS = ("base", "enhancement")
MAX_SEEDS = 3  # with more, bars would be hairlines


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One layer's bars of one arm and seed; ``x``: λ_b, λ_e in words."""

    layer: str
    group: str  # bars of one group stand on each other
    slot: int
    x: tuple[tuple[str, ...], tuple[str, ...]]
    y: tuple[float, ...]  # bits per pixel
    hover: tuple[tuple[str, ...], ...]
    trials: tuple[tuple[str, ...], ...]


def seeds_of(pair: PairPanels) -> tuple[int, ...]:
    """The seeds that have bars: all of a few, of many the lowest."""
    seeds = sorted({curve.key.seed for curve in pair.scalable})
    return tuple(seeds if len(seeds) <= MAX_SEEDS else seeds[:1])


def rate_split(pair: PairPanels) -> Iterator[Bars]:
    """The bars of a pair's scalable curves, by arm, seed and layer; λ_b and λ_e rising."""
    found: dict[tuple[int, int], list[tuple[RDCurve, RDPoint]]] = {}
    shown = seeds_of(pair)
    for curve in (curve for curve in pair.scalable if curve.key.seed in shown):
        arm = arm_of(curve.key)
        slot = 0 if arm is None else pair.scale.arms.index(arm)
        found.setdefault((slot, curve.key.seed), []).extend((curve, p) for p in curve.points)
    for (slot, seed), points in sorted(found.items(), key=lambda item: item[0]):
        points.sort(key=lambda item: (_at(item[1], "lambda_b"), _at(item[1], "lambda_e")))
        labels = tuple(
            tuple(f"{axis_name(axis)} {number(_at(point, axis))}" for _, point in points)
            for axis in ("lambda_b", "lambda_e")
        )
        for layer in LAYERS:
            yield Bars(
                layer=layer,
                group=f"{slot} {seed}",
                slot=slot,
                x=(labels[0], labels[1]),
                y=tuple(rate_of(point.bpp_by_stream, layer) for _, point in points),
                hover=tuple(point_lines(c.key, c.metric, point) for c, point in points),
                trials=tuple(trials_of(point) for _, point in points),
            )


def _at(point: RDPoint, axis: str) -> float:
    return point.axes.get(axis, 0.0)
