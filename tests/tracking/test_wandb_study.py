"""The run of a study, written offline by the real SDK and read back from its files."""

from __future__ import annotations

import json
from dataclasses import replace

from PIL import Image

from tcc.tracking import Chart, StudyCopy, Table
from tcc.tracking.wandb.page import blocks


def test_the_study_has_a_run_with_tables_and_images(tracker, tmp_path, read_runs):
    Image.new("RGB", (8, 6), "red").save(tmp_path / "six.png")
    copy = StudyCopy(
        study="tiny",
        tables={
            "rd_points": Table(columns=("trial", "rate_bpp"), rows=(("aa11", 0.5), ("bb22", None))),
            "bd_rates": Table(columns=("verdict",), rows=()),
        },
        images={"figures/six": tmp_path / "six.png"},
        config={"trials": 30},
        digest="d1",
    )
    tracker.summarise({"project": "codecs"}, copy, directory=tmp_path / "runs")
    (read,) = read_runs(tmp_path / "runs")["study-tiny"]
    assert (read.project, read.group, read.job_type) == ("codecs", "tiny", "study")
    assert read.config["trials"] == 30
    (row,) = read.history
    assert row["rd_points/_type"] == "table-file"
    assert row["bd_rates/_type"] == "table-file"
    assert row["figures/six/_type"] == "image-file"
    files = read.folder / "files"
    table = json.loads((files / row["rd_points/path"]).read_text())
    assert table["columns"] == ["trial", "rate_bpp"]
    assert table["data"] == [["aa11", 0.5], ["bb22", None]]
    sent = read.artifacts["run-study-tiny-rd_points"].files["rd_points.table.json"]
    types = json.loads(sent.read_text())["column_types"]["params"]["type_map"]
    assert {name: _types(types[name]) for name in types} == {
        "trial": {"string", "none"},
        "rate_bpp": {"number", "none"},
    }
    assert Image.open(files / row["figures/six/path"]).size == (8, 6)


def test_the_study_has_its_curves_as_charts_and_the_report_as_an_artifact(
    tracker, tmp_path, read_runs
):
    page = tmp_path / "index.html"
    page.write_text("<title>tiny</title>")
    curves = {"β = 0, seed 0": ((0.1, 30.0), (0.2, 32.0)), "β = 1, seed 0": ((0.15, 31.0),)}
    copy = StudyCopy(
        study="tiny",
        tables={},
        images={},
        config={},
        digest="d1",
        charts={"rd-psnr": Chart(title="PSNR on Kodak", x="bpp", curves=curves)},
        files={"index.html": page},
    )
    tracker.summarise({}, copy, directory=tmp_path / "runs")
    tracker.summarise({"artifacts": []}, copy, directory=tmp_path / "without")
    (read,) = read_runs(tmp_path / "runs")["study-tiny"]
    shown = read.charts["rd-psnr"]["panel_config"]
    assert shown["panelDefId"] == "wandb/lineseries/v0"
    assert shown["stringSettings"] == {"title": "PSNR on Kodak", "xname": "bpp"}
    (row,) = read.history
    path = row["Custom Chart Tables/rd-psnr_table/path"]
    table = json.loads((read.folder / "files" / path).read_text())
    found = [dict(zip(table["columns"], line)) for line in table["data"]]
    assert {(it["lineKey"], it["step"], it["lineVal"]) for it in found} == {
        (name, *point) for name, points in curves.items() for point in points
    }
    report = read.artifacts["report-tiny"]
    assert report.type == "report"
    assert report.files["index.html"].read_text() == "<title>tiny</title>"
    page.write_text("<title>drawn anew</title>")  # what is sent later is what was logged
    assert report.files["index.html"].read_text() == "<title>tiny</title>"
    (plain,) = read_runs(tmp_path / "without")["study-tiny"]
    assert "report-tiny" not in plain.artifacts


def test_a_study_of_any_name_has_its_charts(tracker, tmp_path, read_runs, said):
    begin = "rd-cityscapes_segmentation-segmentation_miou-cityscapes-val-"
    charts = {
        f"{begin}{source}": Chart(
            title=source, x="bpp", curves={"β = 0": ((0.1, value), (0.2, 1.0))}
        )
        for source, value in (("estimated", 0.3), ("coded", 0.4))
    }
    copy = StudyCopy(
        study="s" * 99,
        tables={"verdicts": Table(columns=("pair",), rows=())},
        images={},
        config={},
        digest="d1",
        charts=charts,
    )
    other = replace(copy, study="s" * 99 + "2")  # as long as a name may be
    for each in (copy, other):
        tracker.summarise({}, each, directory=tmp_path)
    assert said() == []
    runs = read_runs(tmp_path)
    assert set(runs) == {copy.id, other.id}
    (read,), (read_other,) = runs.values()
    assert set(read.tags).isdisjoint(read_other.tags)
    (row,) = read.history
    for panel, shown in read.charts.items():
        config = shown["panel_config"]
        title = config["stringSettings"]["title"]
        (query,) = config["userQuery"]["queryFields"][0]["fields"][-1]["args"]
        table = json.loads((read.folder / "files" / row[f"{query['value']}/path"]).read_text())
        assert table["data"][0] == [0.1, "β = 0", charts[f"{begin}{title}"].curves["β = 0"][0][1]]
        assert panel.startswith("rd-cityscapes")
    assert len(read.charts) == 2
    panels = blocks("someone", "tcc", copy)[3].panels
    keys = {panel.query["summaryTable"]["tableKey"] for panel in panels}
    assert {f"{key}/path" for key in keys} < set(row)


def test_the_page_tells_a_bd_rate_with_its_interval_and_none_that_was_refused():
    columns = ("pair", "metric", "dataset", "split", "source", "rate", "anchor", "test")
    columns += ("bd_rate_percent", "interval_low", "interval_high", "verdict", "reasons")
    place = ("a → b", "b/psnr", "kodak", "val", "coded", "total", "β 0", "a|b")
    rows = (
        (*place, -11.94, -12.75, -11.12, "caution", "one; two; three"),
        (*place, 3.0, None, None, "ok", None),
        (*place, None, None, None, "refused", "no overlap"),
    )
    tables = {"verdicts": Table(columns=columns, rows=rows)}
    copy = StudyCopy(study="tiny", tables=tables, images={}, config={}, digest="d1")
    lines = blocks("someone", "tcc", copy)[1].text.splitlines()
    assert [line.split(" a\\|b | ")[1] for line in lines[2:]] == [
        "-11.94 (-12.75 to -11.12) | caution | one; two; 1 more |",
        "+3.00 | ok |  |",
        " | refused | no overlap |",
    ]
    assert lines[0].count("|") == lines[1].count("|") == lines[3].count("|") - 1


def _types(column: dict) -> set[str]:
    return {it["wb_type"] for it in column["params"]["allowed_types"]}
