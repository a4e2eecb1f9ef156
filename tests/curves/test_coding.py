"""How far files are from the estimate, over the points of a curve and its seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcc.curves.coding import curve_gaps
from tcc.curves.points import curves_of
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


@pytest.mark.parametrize("of_base", [gap(110.0, 100.0), gap(110.0, 100.0, images=3), None])
@pytest.mark.parametrize("known_by", ["base", "direct"])
def test_an_enhancement_alone_has_its_own_gap_and_simulcast_that_of_two_files(
    of_base, known_by, make
):
    def record(kind, tasks, bpp, found, needs=(), **axes):
        spec = make.spec(kind, tasks, axes, needs=needs)
        values = {"depth/rmse": 3.0} if kind == "base" else {"reconstruction/psnr": 30.0}
        return make.record(spec, replace(make.evaluation(spec.id, bpp, values), gap=found))

    pair, at = ("depth", "reconstruction"), {"lambda_b": 1.0, "beta": 0.0}
    of_its_own = of_base if known_by == "base" else None
    base = record("base", pair[:1], {"base.y": 0.1}, of_its_own, **at)
    on_base = {"needs": (base.trial.id,), **at}
    of_direct = of_base if known_by == "direct" else None
    both = {"base.y": 0.1, "enhancement.y": 0.4}
    records = [
        base,
        record("direct", pair, {"base.y": 0.1}, of_direct, **on_base),
        record("enhancement", pair, both, gap(518.0, 500.0), lambda_e=1.0, **on_base),
        record("single_layer", pair[1:], {"single_layer.y": 0.6}, gap(630.0, 600.0), lambda_e=1.0),
    ]
    found = {
        curve.key.family: point.gap for curve in curves_of(records, {}) for point in curve.points
    }
    assert found["scalable"] == gap(518.0, 500.0)
    if of_base is None or of_base.images != 4:
        assert found["enhancement_only"] is found["simulcast"] is None
    else:
        assert found["enhancement_only"] == replace(gap(408.0, 400.0), header_bits=0.0)
        assert found["simulcast"] == replace(gap(740.0, 700.0), header_bits=20.0)
