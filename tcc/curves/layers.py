"""What files cost beyond the estimate, of parts of a file and of two files side by side.

A trial knows the gap of its whole files. Those of its base are with the base and its direct trials:
they coded the same images with the same weights, into files that hold nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tcc.records import CodingGap, CurveKey, RDCurve, RDPoint

Place = tuple[str, str, str, str, str]
BaseGaps = Mapping[Place, CodingGap]

_OF_BASES = ("base", "direct", "direct_published")


def place_of(key: CurveKey, base: str) -> Place:
    """What a base's gap is known by: the base's trial, and where and how it was measured."""
    return base, key.trained_on, key.dataset, key.split, key.source


def base_gaps(curves: Iterable[RDCurve]) -> BaseGaps:
    """The gaps of all bases that some curves' points tell of."""
    return {
        place_of(curve.key, point.base): point.gap
        for curve in curves
        if curve.key.family in _OF_BASES
        for point in curve.points
        if point.gap is not None
    }


def own_gap(point: RDPoint, key: CurveKey, gaps: BaseGaps) -> RDPoint:
    """A point of an enhancement whose gap is its layer's alone; None where its base's is not known
    for as many images."""
    return replace(point, gap=_times(-1, point.gap, gaps.get(place_of(key, point.base))))


def beside(gap: CodingGap | None, other: CodingGap | None) -> CodingGap | None:
    """Of two files that are kept side by side; None where they are not of as many images."""
    return _times(1, gap, other)


def _times(sign: int, gap: CodingGap | None, other: CodingGap | None) -> CodingGap | None:
    if gap is None or other is None or gap.images != other.images:
        return None
    return CodingGap(
        images=gap.images,
        coded_bits=gap.coded_bits + sign * other.coded_bits,
        header_bits=gap.header_bits + sign * other.header_bits,
        estimated_bits=gap.estimated_bits + sign * other.estimated_bits,
    )
