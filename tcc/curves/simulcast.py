"""Simulcast, the field's reference for scalable coding: the base and another codec beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tcc.curves.layers import BaseGaps, base_gaps, beside, place_of
from tcc.records import CurveKey, RDCurve, RDPoint


def simulcast(curves: Iterable[RDCurve]) -> Iterator[RDCurve]:
    """One curve for each scalable curve whose task has a single-layer curve of the same seed.

    Its rate is that base's plus the single layer's, its metric the single layer's. No trial is
    needed for it.
    """
    curves = tuple(curves)
    gaps = base_gaps(curves)
    singles = {_shared(curve.key): curve for curve in curves if curve.key.family == "single_layer"}
    for scalable in curves:
        single = singles.get(_shared(scalable.key))
        if scalable.key.family == "scalable" and single is not None and scalable.points:
            points = tuple(_points(scalable, single.points, gaps))
            key = replace(scalable.key, family="simulcast")
            if points:
                yield RDCurve(key=key, metric=single.metric, points=points)


def _shared(key: CurveKey) -> tuple[object, ...]:
    """What a single-layer curve and a scalable curve have in common."""
    return (
        key.method,
        key.tasks[-1],
        key.trained_on,
        key.dataset,
        key.split,
        key.source,
        key.metric,
        key.seed,
    )


def _points(scalable: RDCurve, singles: Sequence[RDPoint], gaps: BaseGaps) -> Iterator[RDPoint]:
    """Beside the one base of the curve; where its base moves, beside the one of the same λ_e."""
    by_lambda = {point.axes["lambda_e"]: point for point in scalable.points}
    one_base = "lambda_b" in scalable.key.fixed
    for single in singles:
        point = by_lambda.get(single.axes["lambda_e"], scalable.points[0] if one_base else None)
        if point is None:
            continue
        fixed = {name: value for name, value in point.axes.items() if name != "lambda_e"}
        bpp = _beside(point.bpp_by_stream, single.bpp_by_stream)
        yield replace(
            single,
            base=point.base,
            gap=beside(single.gap, gaps.get(place_of(scalable.key, point.base))),
            kind="simulcast",
            label=f"simulcast: {single.label} + base {point.base}",
            axes={**single.axes, **fixed},
            rate_bpp=sum(bpp.values()),
            bpp_by_stream=bpp,
            bits_by_stream=_beside(point.bits_by_stream, single.bits_by_stream),
            base_images=point.per_image,
        )


def _beside(scalable: Mapping[str, float], single: Mapping[str, float]) -> dict[str, float]:
    """The streams of a scalable file's base, and of a single layer's."""
    base = {stream: size for stream, size in scalable.items() if stream.startswith("base.")}
    own = {f"single_layer.{stream.rpartition('.')[2]}": size for stream, size in single.items()}
    return {**base, **own}
