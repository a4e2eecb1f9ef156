"""Records to curves: which families there are, what moves along them, which rate they count."""

from __future__ import annotations

import math
import random

import pytest

from tcc.curves.points import FAMILIES, curves_of, still_improving
from tcc.errors import RecordError


def select(curves, family, metric="reconstruction/psnr", **fixed):
    found = [
        curve
        for curve in curves
        if curve.key.family == family
        and curve.key.metric == metric
        and all(curve.key.fixed.get(axis) == value for axis, value in fixed.items())
    ]
    assert len(found) == 1, (family, [curve.key for curve in found])
    return found[0]


def test_a_study_gives_every_family(study):
    curves = curves_of(study(0), {})
    assert {curve.key.family for curve in curves} == set(FAMILIES)
    keys = [curve.key for curve in curves]
    assert len(set(keys)) == len(keys)
    for curve in curves:
        rates = [point.rate_bpp for point in curve.points]
        assert curve.points
        assert rates == sorted(rates) or curve.key.family == "pixels"


def test_a_base_gives_its_own_task_and_the_published_direct_curve(study):
    curves = curves_of(study(0), {})
    base = select(curves, "base", "depth/rmse", beta=0.1)
    assert base.key.tasks == ("depth",)
    assert dict(base.key.fixed) == {"beta": 0.1}
    assert not base.metric.higher_is_better
    assert [point.axes["lambda_b"] for point in base.points] == [0.1, 0.3, 1.0, 3.0]
    assert base.points[0].rate_bpp == pytest.approx(0.2 * 0.1**0.5 * 1.04 + 0.01)
    assert all(point.base == point.trial for point in base.points)
    published = select(curves, "direct_published", beta=0.1)
    assert published.key.tasks == ("depth", "reconstruction")
    assert [p.rate_bpp for p in published.points] == [p.rate_bpp for p in base.points]
    direct = select(curves, "direct", beta=0.1)
    assert direct.key.tasks == ("depth", "reconstruction")
    assert {point.kind for point in direct.points} == {"direct"}
    assert [point.base for point in direct.points] == [point.trial for point in base.points]


def test_a_scalable_point_counts_base_and_enhancement_and_holds_the_base_fixed(study):
    curves = curves_of(study(0), {})
    total = select(curves, "scalable", lambda_b=0.3, beta=0.1)
    own = select(curves, "enhancement_only", lambda_b=0.3, beta=0.1)
    assert [point.axes["lambda_e"] for point in total.points] == [0.02, 0.05, 0.1, 0.3]
    assert len({point.base for point in total.points}) == 1
    for whole, part in zip(total.points, own.points, strict=True):
        streams = whole.bpp_by_stream
        assert set(streams) == {"base.y", "base.z", "enhancement.y"}
        assert whole.rate_bpp == pytest.approx(sum(streams.values()), rel=1e-12)
        assert part.rate_bpp == streams["enhancement.y"]
        assert (part.trial, part.value) == (whole.trial, whole.value)
    alone = select(curves, "standalone", lambda_b=0.3, beta=0.1)
    assert alone.points[0].base == total.points[0].base
    assert alone.points[0].rate_bpp > total.points[0].rate_bpp


def test_simulcast_is_one_base_plus_the_single_layer(study):
    curves = curves_of(study(0), {})
    both = select(curves, "simulcast", lambda_b=1.0, beta=0.0)
    single = select(curves, "single_layer")
    base = select(curves, "base", "depth/rmse", beta=0.0).points[2]
    assert (single.key.tasks, dict(single.key.fixed)) == (("reconstruction",), {})
    for sum_, part in zip(both.points, single.points, strict=True):
        assert sum_.rate_bpp == pytest.approx(base.rate_bpp + part.rate_bpp)
        assert sum_.rate_bpp == pytest.approx(sum(sum_.bpp_by_stream.values()))
        assert set(sum_.bpp_by_stream) == {"base.y", "base.z", "single_layer.y"}
        assert (sum_.trial, sum_.base, sum_.value) == (part.trial, base.trial, part.value)
        assert dict(sum_.axes) == {**part.axes, "lambda_b": 1.0, "beta": 0.0}


def test_levels_have_no_rate_source_and_pixels_no_rate(study):
    curves = curves_of(study(0), {})
    uncompressed = select(curves, "uncompressed", "depth/rmse")
    assert (uncompressed.key.source, dict(uncompressed.key.fixed)) == ("", {})
    assert sorted(point.value for point in uncompressed.points) == [3.9, 4.0]  # one a β
    pixels = select(curves, "pixels", "depth/rmse")
    assert math.isnan(pixels.points[0].rate_bpp)
    assert (pixels.key.source, pixels.points[0].source) == ("", "")


def test_the_order_of_the_records_changes_nothing(study):
    records = list(study(0, 1))
    shuffled = random.Random(0).sample(records, len(records))
    one, two = curves_of(records, {}), curves_of(shuffled, {})
    assert repr(one) == repr(two)  # NaN is not equal to itself


def test_the_headline_metric_comes_first(study):
    metrics = [c.key.metric for c in curves_of(study(0), {}) if c.key.family == "single_layer"]
    assert metrics == ["reconstruction/psnr", "reconstruction/ms_ssim"]


def test_seeds_modes_and_data_sets_never_share_a_curve(make):
    records = []
    for seed, variant, trained_on, on in (
        (0, "", "scenes", "scenes"),
        (1, "", "scenes", "scenes"),
        (0, "relative", "scenes", "scenes"),
        (0, "", "photos", "scenes"),
        (0, "", "scenes", "kodak"),
    ):
        for lmbda in (0.1, 0.3):
            spec = make.spec("base", ("depth",), {"lambda_b": lmbda, "beta": 0.1}, seed=seed,
                             variant=variant, trained_on=trained_on)  # fmt: skip
            records.append(
                make.record(
                    spec, make.evaluation(spec.id, {"base.y": lmbda}, {"depth/rmse": 5.0}, on=on)
                )
            )
    curves = curves_of(records, {})
    assert [len(curve.points) for curve in curves] == [2] * 5
    assert {c.key.trained_on for c in curves} == {"scenes", "photos"}
    assert {c.key.dataset for c in curves} == {"scenes", "kodak"}


def test_estimated_and_coded_rates_never_share_a_curve(make):
    spec = make.spec("base", ("depth",), {"lambda_b": 0.1, "beta": 0.0})
    rates, values = {"base.y": 0.5}, {"depth/rmse": 5.0}
    both = make.evaluation(spec.id, rates, values, asked="coded", sources=("coded", "estimated"))
    coded, estimated = curves_of([make.record(spec, both)], {})
    assert (coded.key.source, coded.points[0].rate_bpp) == ("coded", pytest.approx(0.51))
    assert (estimated.key.source, estimated.points[0].rate_bpp) == ("estimated", 0.5)


def test_of_two_evaluations_with_one_source_the_one_asked_for_it_counts(make):
    spec = make.spec("base", ("depth",), {"lambda_b": 0.1, "beta": 0.0})
    coded = make.evaluation(spec.id, {"base.y": 0.5}, {"depth/rmse": 5.1}, asked="coded",
                            sources=("coded", "estimated"))  # fmt: skip
    asked = make.evaluation(spec.id, {"base.y": 0.5}, {"depth/rmse": 5.0})
    for order in ((coded, asked), (asked, coded)):
        curves = curves_of([make.record(spec, *order)], {})
        by_source = {curve.key.source: curve.points for curve in curves}
        assert [p.evaluation for p in by_source["estimated"]] == [asked.evaluation.id]
        assert [p.evaluation for p in by_source["coded"]] == [coded.evaluation.id]


def test_a_second_data_set_without_the_base_metric_gives_the_other_curves(make):
    """A detection base measured for reconstruction on photographs without boxes."""
    base = make.spec("base", ("depth",), {"lambda_b": 0.1, "beta": 0.0})
    values = {"reconstruction/psnr": 30.0}
    kodak = make.evaluation(base.id, {"base.y": 0.5}, values, on="kodak")
    (curve,) = curves_of([make.record(base, kodak)], {})
    assert (curve.key.family, curve.key.dataset) == ("direct_published", "kodak")
    assert curve.key.trained_on == "scenes"


def test_a_base_is_found_through_the_enhancement_and_may_lie_in_the_specs(make):
    base = make.spec("base", ("depth",), {"lambda_b": 0.1, "beta": 0.0})
    pretrain = make.spec("pretrain", ("reconstruction",), {"lambda_e": 1.0})
    axes = {"lambda_b": 0.1, "beta": 0.0, "lambda_e": 0.5}
    pair = ("depth", "reconstruction")
    enhancement = make.spec("enhancement", pair, axes, needs=(pretrain.id, base.id))
    alone = make.spec("standalone", pair, axes, needs=(enhancement.id,))
    rates = {"base.y": 0.1, "enhancement.y": 0.2}
    record = make.record(alone, make.evaluation(alone.id, rates, {"reconstruction/psnr": 30.0}))
    specs = {spec.id: spec for spec in (base, pretrain, enhancement)}
    (curve,) = curves_of([record], specs)
    assert (curve.key.family, curve.points[0].base) == ("standalone", base.id)
    del specs[base.id]
    with pytest.raises(RecordError, match=rf"needs trial {base.id}"):
        curves_of([record], specs)


def test_metrics_of_other_tasks_are_not_taken_for_the_trials_own(make):
    axes = {"lambda_b": 0.1, "beta": 0.0, "lambda_e": 0.5}
    base = make.spec("base", ("depth",), {"lambda_b": 0.1, "beta": 0.0})
    spec = make.spec("enhancement", ("depth", "reconstruction"), axes, needs=(base.id,))
    rates = {"base.y": 0.1, "enhancement.y": 0.2}
    values = {"depth/rmse": 5.0, "reconstruction/psnr": 30.0}
    curves = curves_of(
        [make.record(spec, make.evaluation(spec.id, rates, values))], {base.id: base}
    )
    assert {curve.key.metric for curve in curves} == {"reconstruction/psnr"}


@pytest.mark.parametrize(
    ("costs", "improving"),
    [
        ([5.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0], False),
        ([5.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 2.95], False),  # 1.7 %
        ([5.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 2.90], True),  # 3.3 %
        ([5.0, 4.0, 3.0, 3.0, 2.8, 3.0, 3.0, 3.0, 3.0, 2.80], False),  # as good as before
        ([5.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 9.00], False),
        ([1.0], False),
        ([], False),
    ],
)
def test_still_improving_looks_at_the_last_tenth(make, costs, improving):
    pairs = tuple((10 * step, cost) for step, cost in enumerate(costs, start=1))
    spec = make.spec("base", ("depth",), {"lambda_b": 0.1, "beta": 0.0})
    record = make.record(
        spec, make.evaluation(spec.id, {"base.y": 1.0}, {"depth/rmse": 5.0}), rd_cost=pairs
    )
    assert still_improving(record.training) is improving
    (curve,) = curves_of([record], {})
    assert curve.points[0].still_improving is improving
    assert not curves_of([record], {}, improving_share=0.5)[0].points[0].still_improving
