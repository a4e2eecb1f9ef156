"""Which rows a study gives, and what stands in them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcc.curves.comparisons import compare, describe
from tcc.curves.points import curves_of
from tcc.curves.side_information import savings, side_information

PSNR = "reconstruction/psnr"
ANCHOR = {"beta": 0.0}


def rows_of(records, **options):
    rows = compare(curves_of(records, {}), anchor=ANCHOR, **options)
    return [row for row in rows if row.metric.name in (PSNR, "depth/rmse")]


def find(rows, family, reference="baseline", **fixed):
    found = [
        row
        for row in rows
        if (row.test.family, row.reference) == (family, reference)
        and all(row.test.fixed.get(axis) == value for axis, value in fixed.items())
        and not (row.over and "lambda_b" in fixed)
    ]
    assert len(found) == 1, [describe(row.test) for row in found]
    return found[0]


def means(rows):
    return [row for row in rows if row.over]


def test_the_rows_of_a_study(study):
    rows = rows_of(study(0, 1, 2))
    kinds = [(row.test.family, row.reference, bool(row.over)) for row in rows]
    for family in ("base", "direct", "direct_published"):
        assert kinds.count((family, "baseline", False)) == 1
    for family in ("scalable", "enhancement_only"):
        assert kinds.count((family, "baseline", False)) == 2  # one a λ_b
        assert kinds.count((family, "baseline", True)) == 1
    for reference in ("standalone", "single_layer", "simulcast"):
        assert kinds.count(("scalable", reference, False)) == 4  # λ_b × β
        assert kinds.count(("scalable", reference, True)) == 2  # β
    for reference in ("standalone", "simulcast"):  # a single layer has no base to leave out
        assert kinds.count(("enhancement_only", reference, False)) == 4
        assert kinds.count(("enhancement_only", reference, True)) == 2
    assert len(kinds) == 3 + 6 + 18 + 12
    assert len({(row.reference, row.test) for row in rows}) == len(rows)


def test_seeds_are_paired_and_summarised(study):
    row = find(rows_of(study(0, 1, 2)), "enhancement_only", lambda_b=0.3)
    assert row.rate == "enhancement"
    assert [seed for seed, _ in row.per_seed] == [0, 1, 2]
    # within a seed the arms differ by 20 % exactly, whatever the seed's own noise
    for _, result in row.per_seed:
        assert result.percent == pytest.approx(-20)
    assert row.summary.percent == pytest.approx(-20)
    assert row.summary.interval == pytest.approx((-20, -20), abs=1e-6)
    assert row.summary.verdict == "ok"
    assert row.bootstrap is None
    assert find(rows_of(study(*range(5))), "enhancement_only", lambda_b=0.3).bootstrap is not None


def test_the_total_rate_shows_less_than_the_enhancements_own(study):
    rows = rows_of(study(0))
    own = find(rows, "enhancement_only", lambda_b=0.3).summary.percent
    row = find(rows, "scalable", lambda_b=0.3)
    assert row.rate == "total"
    assert own < row.summary.percent < 0


def test_fewer_than_three_seeds_are_a_caution_without_interval(study):
    summary = find(rows_of(study(0, 1)), "direct").summary
    assert summary.interval is None
    assert summary.verdict == "caution"
    assert "fewer than 3 seeds: 2, so no interval" in summary.reasons


def test_a_seed_without_its_anchor_is_left_out_and_named(study):
    records = [r for r in study(0, 1, 2) if not (r.trial.seed == 1 and r.trial.kind == "direct"
                                                 and r.trial.axes["beta"] == 0)]  # fmt: skip
    row = find(rows_of(records), "direct")
    assert [seed for seed, _ in row.per_seed] == [0, 2]
    assert "seed 1 is left out: it has no anchor curve" in row.summary.reasons


def test_the_base_has_its_differences_at_equal_lambda(study):
    row = find(rows_of(study(0, 1, 2)), "base")
    assert [delta.axes["lambda_b"] for delta in row.deltas] == [0.1, 0.3, 1.0, 3.0]
    for delta in row.deltas:
        base = 0.2 * delta.axes["lambda_b"] ** 0.5
        change = ((base * 1.04 + 0.01) / (base + 0.01) - 1) * 100
        assert delta.seeds == (0, 1, 2)
        assert delta.rate_percent == pytest.approx([change] * 3)
        assert delta.mean_rate_percent == pytest.approx(change)
        assert delta.mean_value == pytest.approx(0)
    published = find(rows_of(study(0)), "direct_published")
    assert all(delta.mean_value > 0 for delta in published.deltas)


def test_the_mean_over_bases_is_each_seeds_first(study):
    rows = rows_of(study(0, 1, 2))
    (mean,) = [row for row in means(rows) if row.test.family == "scalable"
               and row.reference == "baseline"]  # fmt: skip
    parts = [find(rows, "scalable", lambda_b=lmbda) for lmbda in (0.3, 1.0)]
    assert mean.over == (0.3, 1.0)
    assert "lambda_b" not in mean.test.fixed
    assert mean.deltas == ()
    for seed, result in mean.per_seed:
        values = [dict(part.per_seed)[seed].percent for part in parts]
        assert result.percent == pytest.approx(sum(values) / 2)
    assert mean.summary.interval is not None


def test_references_are_met_at_equal_base_and_beta(study):
    rows = rows_of(study(0))
    row = find(rows, "scalable", "standalone", lambda_b=1.0, beta=0.1)
    assert dict(row.anchor.fixed) == {"lambda_b": 1.0, "beta": 0.1}
    assert row.summary.percent < 0
    single = find(rows, "scalable", "single_layer", lambda_b=1.0, beta=0.1)
    assert single.anchor.tasks == ("reconstruction",)
    simulcast = find(rows, "scalable", "simulcast", lambda_b=1.0, beta=0.1)
    assert simulcast.summary.percent < single.summary.percent


def test_references_with_a_base_are_met_on_the_second_layers_rate_too(study):
    rows = rows_of(study(0))
    alone = find(rows, "enhancement_only", "standalone", lambda_b=1.0, beta=0.1)
    assert alone.rate == "enhancement"
    assert alone.summary.percent == pytest.approx(-25)  # the base saves a quarter
    total = find(rows, "scalable", "standalone", lambda_b=1.0, beta=0.1)
    assert alone.summary.percent < total.summary.percent < 0
    other = find(rows, "enhancement_only", "simulcast", lambda_b=1.0, beta=0.1)
    assert other.anchor.family == "single_layer"
    assert other.summary.percent == pytest.approx((3 * 0.8 / 4 - 1) * 100)


PAIRS = [(0.1, 0.02), (0.3, 0.05), (1.0, 0.1), (3.0, 0.3)]  # λ_b, λ_e


def test_zipped_lambdas_make_one_curve_over_all_bases(zipped):
    curves = curves_of(zipped(0, 1, 2), {})
    for family in ("scalable", "enhancement_only", "standalone", "simulcast"):
        found = [c for c in curves if c.key.family == family and c.key.metric == PSNR]
        assert len(found) == 2 * 3  # β, seeds
        for curve in found:
            assert dict(curve.key.fixed) in ({"beta": 0.0}, {"beta": 0.1})
            pairs = {(p.axes["lambda_b"], p.axes["lambda_e"]) for p in curve.points}
            assert pairs == set(PAIRS)
            assert len({p.base for p in curve.points}) == 4
    rows = rows_of(zipped(0, 1, 2))
    assert not means(rows)
    row = find(rows, "enhancement_only", beta=0.1)
    assert row.summary.percent == pytest.approx(-20)
    assert row.summary.verdict == "caution"
    assert any("the base moves along the curves" in line for line in row.summary.reasons)
    assert [delta.axes for delta in row.deltas] == [
        {"lambda_b": b, "lambda_e": e} for b, e in PAIRS
    ]


def test_the_plan_tells_zipped_from_unfinished(study, zipped):
    """Of a product, the first enhancements to finish may look like a zip."""
    plan = {record.trial.id: record.trial for record in study(0, at_every_base=True)}
    curves = curves_of(zipped(0), plan)
    assert {len(c.points) for c in curves if c.key.family == "scalable"} == {1}


def test_a_beta_mode_is_compared_with_the_baseline_that_has_none(study):
    records = []
    for record in study(0):
        beta = record.trial.axes.get("beta", 0.0)
        variant = "relative" if beta > 0 else ""
        records.append(replace(record, trial=replace(record.trial, variant=variant)))
    rows = rows_of(records)
    row = find(rows, "base")
    assert (row.test.variant, row.anchor.variant) == ("relative", "")
    assert find(rows, "scalable", "single_layer", lambda_b=0.3, beta=0.1)


def test_undertrained_points_are_a_caution_and_named(study):
    falling = tuple((step, 5.0 - step / 50) for step in range(10, 101, 10))
    records = []
    for record in study(0):
        if record.trial.kind == "base" and dict(record.trial.axes) == {
            "lambda_b": 1.0,
            "beta": 0.1,
        }:
            record = replace(record, training=replace(record.training, rd_cost=falling))
        records.append(record)
    reasons = dict(find(rows_of(records), "base").per_seed)[0].reasons
    assert any("test: undertrained" in line and "λ_b 1 trial" in line for line in reasons)


def test_where_refused_the_rate_near_the_ceiling_is_given(study):
    records = list(study(0))
    for index, record in enumerate(records):  # three bases; the best is within 1 % of the ceiling
        if record.trial.kind == "base" and record.trial.axes["lambda_b"] == 3:
            records[index] = replace(record, evaluations=())
        if record.trial.kind == "pixels":
            (evaluation,) = record.evaluations
            metrics = (replace(evaluation.metrics[0], value=6.0),)
            records[index] = replace(record, evaluations=(replace(evaluation, metrics=metrics),))
        if record.trial.kind == "uncompressed":
            records[index] = replace(record, evaluations=())
    result = dict(find(rows_of(records), "base").per_seed)[0]
    assert result.verdict == "refused"
    assert any("at depth/rmse 6.06 (1% short of the ceiling)" in line for line in result.reasons)


def test_a_study_may_refuse_all_bd_rates(study):
    for row in rows_of(study(0), refusals=["15 photographs are memorised"]):
        assert row.summary.verdict == "refused"
        assert row.summary.percent is None
        assert any("memorised" in line for line in row.summary.reasons)


def test_without_anchor_curves_there_are_no_baseline_rows(study):
    curves = curves_of(study(0), {})
    rows = compare(curves, anchor={"beta": 0.7})
    assert {row.reference for row in rows} == {"standalone", "single_layer", "simulcast"}
    assert compare((), anchor=ANCHOR) == ()


def test_the_anchor_axes_alone_make_the_baseline(study):
    rows = compare(curves_of(study(0), {}), anchor={"lambda_b": 0.3})
    tests = [row.test for row in rows if row.reference == "baseline"]
    assert {key.family for key in tests} == {"scalable", "enhancement_only"}
    assert {key.fixed["lambda_b"] for key in tests} == {1.0}


def test_what_the_base_saves_is_measured_at_equal_transforms(study):
    gains = side_information(curves_of(study(0, 1), {}))
    assert len(gains) == 2 * 2 * 2 * 4  # seeds, β, λ_b, λ_e; the second metric counts no twice
    for gain in gains:
        assert gain.saved_percent == pytest.approx(25)
        assert gain.saved_bpp == pytest.approx(gain.standalone_bpp - gain.enhancement_bpp)
        assert gain.saved_percent_of_base == pytest.approx(100 * gain.saved_bpp / gain.base_bpp)
        assert gain.standalone.startswith("standalone")
        assert gain.trial.startswith("enhancement")
    assert [gain.lambda_e for gain in gains[:4]] == [0.02, 0.05, 0.1, 0.3]


def test_what_bases_save_is_summarised_for_each_pair_and_beta(study):
    found = savings(side_information(curves_of(study(0, 1, 2), {})))
    per_base = [it for it in found if "lambda_b" in it.key.fixed]
    means = [it for it in found if "lambda_b" not in it.key.fixed]
    assert (len(per_base), len(means)) == (4, 2)  # β × λ_b, β
    for it in found:
        assert it.seeds == 3
        assert it.percent == pytest.approx(25)
        assert it.percent_interval == pytest.approx((25, 25))
        assert it.bits == pytest.approx(it.bpp * 4096)
    for mean in means:
        parts = [it for it in per_base if it.key.fixed["beta"] == mean.key.fixed["beta"]]
        assert mean.bpp == pytest.approx(sum(it.bpp for it in parts) / 2)
        assert mean.gains == sum(it.gains for it in parts) == 3 * 2 * 4
        shares = [it.percent_of_base for it in parts]
        assert mean.percent_of_base == pytest.approx(sum(shares) / 2)
    (two,) = savings(side_information(curves_of(study(0, 1), {})))[:1]
    assert two.bpp_interval is None
    gains = side_information(curves_of(study(0), {}))
    one = [it for it in gains if it.key.fixed["lambda_b"] == gains[0].key.fixed["lambda_b"]]
    assert all("lambda_b" in it.key.fixed for it in savings(one))  # a mean over one base is none
