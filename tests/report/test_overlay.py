"""Curves of a file over the panels that they fit: drawn and nothing else."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tcc.cli import cli
from tcc.curves.side_information import side_information
from tcc.errors import DataError
from tcc.report import build_report
from tcc.report.overlay import lay_over, read_overlay
from tcc.report.panels import pair_panels

HEAD = "figure,panel,role,dataset,metric,method,point,bpp,value\n"
PUBLISHED = (
    HEAD
    + """Fig1,a,depth (base task),City,RMSE,Ours <1>,0,0.1,6.5
Fig1,a,depth (base task),City,RMSE,Ours <1>,1,0.05,6.9
Fig1,a,depth (base task),City,RMSE,Uncompressed,0,,5.8
Fig2,,direct reconstruction from depth base,City,PSNR,Ours <1>,0,0.1,29
Fig3,,depth -> segmentation (scalable),City,mIoU,Ours <1>,0,2.0,0.7
Fig3,,detection -> segmentation (scalable),City,mIoU,Ours <1>,0,2.0,0.7
Fig4,,depth → reconstruction (scalable),City,MS-SSIM,Ours <1>,0,2.0,0.9
"""
)


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "some_paper.csv"
    path.write_text(PUBLISHED, encoding="utf-8")
    return path


@pytest.fixture
def panels(make_curves):
    curves = make_curves()
    return pair_panels(curves, side_information(curves))


def foreign(pairs):
    """(enhancement task, role of the panel) → its curves of the file."""
    return {
        (pair.tasks[1], panel.role): found
        for pair in pairs
        for panel in pair.panels
        if (found := [line for line in panel.lines if line.foreign])
    }


def test_a_curve_lies_on_every_panel_of_its_role_tasks_and_metric(panels, published):
    pairs, overlaid = lay_over(panels, read_overlay(published))
    found = foreign(pairs)
    assert set(found) == {
        ("reconstruction", "base"),
        ("segmentation", "base"),
        ("reconstruction", "direct"),
        ("segmentation", "total"),
    }
    assert (overlaid.curves, overlaid.fit) == (6, 4)
    ours, level = found["reconstruction", "base"]
    assert ours.family == "some paper: Ours <1>"
    assert ours.strands[0].xs == (0.05, 0.1)  # by rising rate
    assert ours.strands[0].ys == (6.9, 6.5)
    assert ours.strands[0].trials == ((), ())
    assert (level.level, level.strands[0].ys) == (True, (5.8, 5.8))
    assert ours.shape != level.shape


def test_a_panel_reaches_as_far_as_what_lies_on_it(panels, published):
    pairs, _ = lay_over(panels, read_overlay(published))
    total = next(panel for panel in pairs[1].panels if panel.role == "total")
    assert total.reach == pytest.approx(2.1)
    levels = [line for line in total.lines if line.level]
    assert levels
    assert all(line.strands[0].xs[-1] == pytest.approx(total.reach) for line in levels)


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_the_papers_own_file_is_read():
    overlay = read_overlay(Path(os.environ["TCC_SHARED"]) / "reference" / "paper_curves.csv")
    assert len(overlay.curves) == 19
    assert sum(len(curve.points) for curve in overlay.curves) == 77
    levels = [c for c in overlay.curves if all(math.isnan(bpp) for bpp, _ in c.points)]
    assert {curve.method for curve in levels} == {"Uncompressed"}


@pytest.mark.parametrize(
    "text, said",
    [
        ("a,b\n1,2\n", "lacks the columns figure, panel"),
        (HEAD, "holds no point"),
        (HEAD + "F,a,depth,City,RMSE,Ours,0,0.1,6\n", ":2: role 'depth' does not say which panel"),
        (HEAD + "F,a,depth (base task),C,RMSE,O,0,x,6\n", ":2: bpp 'x' is not a number"),
        (HEAD + "F,a,depth (base task),C,RMSE,O,0,0.1,\n", ":2: value '' is not a number"),
        (HEAD + "F,a,depth (base task),C,RMSE,O,0,0.1,inf\n", ":2: value 'inf' is not a number"),
        (HEAD + "F,a,depth (base task)\n", ":2: value '' is not a number"),
    ],
)
def test_what_cannot_be_read_is_one_message(tmp_path, text, said):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_overlay(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_one_message(tmp_path, make_store):
    path = tmp_path / "none.csv"
    with pytest.raises(DataError, match=r"none\.csv: cannot be read: No such file"):
        build_report("made_up", make_store(), overlay=path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"none\.csv: is not a text file"):
        read_overlay(path)


def test_it_is_on_the_page_and_in_no_table(make_store, published):
    store = make_store()
    plain = build_report("made_up", store)
    tables = plain.points.read_bytes(), plain.bd_rates.read_bytes(), plain.summary.read_bytes()
    place = ["report", "made_up", "--store", store.uri, "--overlay", str(published)]
    told = CliRunner().invoke(cli, [*place, "--json"])
    assert told.exit_code == 0, told.output
    page = Path(json.loads(told.stdout)["files"]["html"]).read_text()
    assert "some paper: Ours \\u003c1>" in page
    assert "4 of that file's 6 curves" in " ".join(page.split())
    assert (plain.points.read_bytes(), plain.bd_rates.read_bytes()) == tables[:2]
    with plain.mpeg.open(newline="") as file:
        assert not any("Ours" in row["curve"] for row in csv.DictReader(file))
    assert "some paper" not in build_report("made_up", store).page.read_text()
