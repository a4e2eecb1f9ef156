"""What the tracker is told of a report."""

from __future__ import annotations

import csv
import json

import pytest

from tcc import registry
from tcc.report import build_report, mirror_report
from tcc.report.mirror import study_copy
from tcc.report.study import read_study

FIRST = {"depth/rmse", "reconstruction/psnr", "segmentation/miou"}
SAID = ("bd_rate_percent", "interval_low", "interval_high", "verdict", "reasons")  # of a comparison


@pytest.fixture
def told(reported, monkeypatch):
    """What the tracker was given."""
    calls = []

    class Listener:
        def summarise(self, settings, copy, *, directory):
            calls.append((settings, copy))

    monkeypatch.setattr(registry, "load", lambda room, name: Listener())
    mirror_report("made_up", *reported)
    (call,) = calls
    return call


def test_the_tables_are_those_of_the_csv_files_with_numbers_as_numbers(told, reported):
    tables = told[1].tables
    for name, path in (("rd_points", reported[1].points), ("bd_rates", reported[1].bd_rates)):
        with path.open(encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert list(tables[name].columns) == header
        assert len(tables[name].rows) == len(rows) > 50
    points = [dict(zip(tables["rd_points"].columns, row)) for row in tables["rd_points"].rows]
    assert all(isinstance(point["value"], float) for point in points)
    assert all(isinstance(point["trial"], str) for point in points)
    assert {point["rate_bpp"] for point in points if point["family"] == "pixels"} == {None}
    assert {point["still_improving"] for point in points} <= {True, False}
    assert {point["seed"] for point in points} == {0, 1, 2}


def test_the_cells_of_a_column_are_of_one_type_whatever_the_names(told, reported):
    copy = study_copy("2024", read_study("made_up", reported[0]).settings, reported[1])
    for table in (*told[1].tables.values(), *copy.tables.values()):
        for column in zip(*table.rows):
            types = {float if type(cell) is int else type(cell) for cell in column} - {type(None)}
            assert len(types) <= 1
    assert {row[0] for row in copy.tables["rd_points"].rows} == {"2024"}
    seeds = copy.tables["bd_rates"].columns.index("seed")
    assert {row[seeds] for row in copy.tables["bd_rates"].rows} == {"0", "1", "2", "mean"}


def test_settings_figures_and_spec_go_along(told):
    settings, copy = told
    assert (settings["project"], settings["mode"]) == ("tcc", "offline")
    assert copy.study == "made_up"
    assert copy.config["spec"]["grid"]["beta"] == [0.0, 0.1]
    assert "depth-reconstruction-scenes-val-ttcc" in copy.images
    assert all(path.suffix == ".png" and path.is_file() for path in copy.images.values())


def test_the_verdicts_are_a_table_of_one_row_for_each_comparison(told, reported):
    table = told[1].tables["verdicts"]
    rows = [dict(zip(table.columns, row)) for row in table.rows]
    bd_rates = json.loads(reported[1].summary.read_text(encoding="utf-8"))["bd_rates"]
    assert len(rows) == sum(row["seed"] is None for row in bd_rates) > 10
    assert {row["verdict"] for row in rows} <= {"ok", "caution", "refused"}
    assert all(row["reasons"] for row in rows if row["verdict"] != "ok")
    assert any(row["interval_low"] < row["bd_rate_percent"] for row in rows if row["interval_low"])


def test_the_first_verdicts_are_of_what_beta_buys_by_each_tasks_first_metric(told):
    table = told[1].tables["verdicts"]
    rows = [dict(zip(table.columns, row)) for row in table.rows]
    asked = [row["reference"] == "baseline" and row["metric"] in FIRST for row in rows]
    assert sum(asked) > 2
    assert all(asked[: sum(asked)])


def test_what_was_measured_elsewhere_too_is_told_apart(make_store):
    store = make_store()
    files = build_report("made_up", store)
    content = json.loads(files.summary.read_text(encoding="utf-8"))
    for name, elsewhere in (("bd_rates", {"split": "select"}), ("curves", {"trained_on": "voc"})):
        content[name] += [{**row, **elsewhere} for row in content[name]]
    files.summary.write_text(json.dumps(content), encoding="utf-8")
    copy = study_copy("made_up", read_study("made_up", store).settings, files)
    table = copy.tables["verdicts"]
    told = [dict(zip(table.columns, row)) for row in table.rows]
    assert len({tuple(row[it] for it in row if it not in SAID) for row in told}) == len(told)
    assert sum("trained on voc" in chart.title for chart in copy.charts.values()) >= 2
    curves = {chart.title: chart.curves for chart in copy.charts.values()}
    for title in curves:
        assert curves[title.replace(", trained on voc", "")] == curves[title]


def test_each_pair_has_its_curves_as_a_chart_with_the_points_of_the_csv_file(told, reported):
    charts = told[1].charts
    with reported[1].points.open(encoding="utf-8") as file:
        points = {
            (float(row["rate_bpp"]), float(row["value"]))
            for row in csv.DictReader(file)
            if row["rate_bpp"]
        }
    shown = [curve for chart in charts.values() for curve in chart.curves.values()]
    titles = {chart.title for chart in charts.values()}
    assert len(titles) == len(charts) >= 2
    assert all(curve == tuple(sorted(curve)) for curve in shown)
    assert {point for curve in shown for point in curve} <= points
    assert any("scalable" in name for chart in charts.values() for name in chart.curves)
    assert "depth: RMSE (px), lower is better; scenes val, estimated rate" in titles
    assert "depth → reconstruction: PSNR (dB); scenes val, estimated rate" in titles


def test_the_whole_report_goes_along_as_files(told, reported):
    files = told[1].files
    assert {"index.html", "points.csv", "bd_rates.csv"} <= set(files)
    assert set(files.values()) == set(reported[1])
