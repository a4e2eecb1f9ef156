"""How far files are from the estimate, over the points of a curve and its seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcc.curves.coding import curve_gaps
from tcc.records import CodingGap, CurveKey, MetricInfo, RDCurve, RDPoint

POINT = RDPoint(
    trial="a", base="a", evaluation="e", kind="base", label="", axes={"lambda_b": 1.0}, seed=0,
    step=1, rate_bpp=0.1, bpp_by_stream={"base.y": 0.1}, source="coded", value=1.0,
    still_improving=False,
)  # fmt: skip
KEY = CurveKey(
    family="base", method="ttcc", tasks=("depth",), dataset="scenes", split="val", source="coded",
    metric="depth/rmse", fixed={"beta": 0.0}, variant="", seed=0,
)  # fmt: skip
INFO = MetricInfo(name="depth/rmse", unit="px", higher_is_better=False, per_image=False)


def gap(coded: float, estimated: float = 1000.0, images: int = 4) -> CodingGap:
    return CodingGap(images=images, coded_bits=coded, header_bits=10.0, estimated_bits=estimated)


def curve(seed: int, *points: RDPoint, metric: str = "depth/rmse") -> RDCurve:
    return RDCurve(key=replace(KEY, seed=seed, metric=metric), metric=INFO, points=points)


def test_seeds_and_metrics_share_a_row_and_no_point_counts_twice():
    one = replace(POINT, gap=gap(1010.0))
    two = replace(POINT, trial="b", gap=gap(3090.0, 3000.0, images=2))
    (found,) = curve_gaps([curve(0, one), curve(0, one, metric="depth/mae"), curve(1, two)])
    assert (found.points, found.images) == (2, 2)
    assert found.percent == pytest.approx(100 * (4100 / 4000 - 1))
    assert (found.least, found.most) == pytest.approx((1.0, 3.0))
    assert found.headers_percent == pytest.approx(100 * 20 / 4000)


def test_curves_of_which_nothing_was_coded_have_no_row():
    assert curve_gaps([curve(0, POINT), curve(0, replace(POINT, gap=gap(0.0, 0.0)))]) == []
