"""The numbers of a report are complete, flat and exact."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from tcc.curves.comparisons import compare
from tcc.report.tables import (
    BD_RATE_COLUMNS,
    POINT_COLUMNS,
    bd_rate_rows,
    csv_text,
    curve_rows,
    flat,
    point_rows,
)


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_point_of_every_curve_is_a_row_with_exact_numbers(make_curves):
    curves = make_curves()
    rows = read(csv_text(POINT_COLUMNS, point_rows("s", curve_rows(curves))))
    points = [(curve, point) for curve in curves for point in curve.points]
    assert len(rows) == len(points) > 100
    for row, (curve, point) in zip(rows, points, strict=True):
        assert row["family"] == curve.key.family
        assert float(row["value"]) == point.value
        assert row["trial"] == point.trial
        if row["rate_bpp"]:
            assert float(row["rate_bpp"]) == point.rate_bpp
        else:
            assert curve.key.family == "pixels"


def test_the_total_rate_of_a_scalable_row_is_base_plus_enhancement(make_curves):
    rows = [
        row for row in point_rows("s", curve_rows(make_curves())) if row["family"] == "scalable"
    ]
    assert rows
    for row in rows:
        assert abs(row["base_bpp"] + row["enhancement_bpp"] - row["rate_bpp"]) < 1e-12
        assert row["base_trial"] not in ("", row["trial"])


def test_a_layer_that_is_not_there_has_an_empty_cell(make_curves):
    rows = read(csv_text(POINT_COLUMNS, point_rows("s", curve_rows(make_curves()))))
    base = next(row for row in rows if row["family"] == "base")
    assert base["enhancement_bpp"] == ""
    assert base["lambda_e"] == ""
    assert float(base["base_bpp"]) > 0


def test_undertrained_points_are_marked(make_curves):
    rows = read(csv_text(POINT_COLUMNS, point_rows("s", curve_rows(make_curves()))))
    marked = {row["lambda_b"] for row in rows if row["still_improving"] == "true"}
    assert marked == {"1.0"}


def test_bd_rates_have_a_row_for_each_seed_and_their_mean(make_curves):
    comparisons = compare(make_curves((0, 1, 2)), anchor={"beta": 0.0})
    rows = read(csv_text(BD_RATE_COLUMNS, map(flat, bd_rate_rows("s", comparisons))))
    assert len(rows) == 4 * len(comparisons)
    for at, comparison in enumerate(comparisons):
        group = rows[4 * at : 4 * at + 4]
        assert [row["seed"] for row in group] == ["0", "1", "2", "mean"]
        assert {row["rate"] for row in group} == {comparison.rate}
        summary = group[-1]
        if summary["verdict"] == "refused":
            assert summary["bd_rate_percent"] == ""
            assert summary["reasons"]
        else:
            assert float(summary["bd_rate_percent"]) == comparison.summary.percent
            assert float(summary["interval_low"]) <= float(summary["bd_rate_percent"])


def test_the_interval_over_images_is_in_every_row_that_has_one(make_curves):
    row, *_ = compare(make_curves((0, 1, 2)), anchor={"beta": 0.0})
    (seed, result), *others = row.per_seed
    told = replace(
        row,
        per_seed=((seed, replace(result, image_interval=(-3.0, 1.5))), *others),
        summary=replace(row.summary, image_interval=(-2.0, 0.5)),
    )
    rows = list(bd_rate_rows("s", [told]))
    assert [it["image_interval"] for it in rows] == [[-3.0, 1.5], None, None, [-2.0, 0.5]]
    cells = [
        (it["image_low"], it["image_high"])
        for it in read(csv_text(BD_RATE_COLUMNS, map(flat, rows)))
    ]
    assert cells == [("-3.0", "1.5"), ("", ""), ("", ""), ("-2.0", "0.5")]


def test_total_and_enhancement_only_rates_are_apart(make_curves):
    rows = list(bd_rate_rows("s", compare(make_curves(), anchor={"beta": 0.0})))
    assert {row["rate"] for row in rows} == {"total", "enhancement"}
    assert {row["family"] for row in rows if row["rate"] == "enhancement"} == {"enhancement_only"}


def test_a_curve_entry_holds_its_points_and_direction(make_curves):
    curves = make_curves()
    for entry, curve in zip(curve_rows(curves), curves, strict=True):
        assert entry["higher_is_better"] == (entry["metric"] != "depth/rmse")
        assert [point["trial"] for point in entry["points"]] == [p.trial for p in curve.points]
