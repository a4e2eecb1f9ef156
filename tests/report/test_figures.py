"""Figures come in the sizes of paper and README, and equal input gives equal files."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from tcc.curves.side_information import side_information
from tcc.report.figures import PAPER_INCH, draw_figures
from tcc.report.lines import band
from tcc.report.panels import pair_panels
from tcc.report.sheets import sheets


@pytest.fixture(scope="module")
def draw():
    def drawn(curves, folder, notice=""):
        return list(draw_figures(pair_panels(curves, side_information(curves)), notice, folder))

    return drawn


def test_one_pair_is_one_figure_of_all_its_panels(draw, make_curves, tmp_path):
    curves = [curve for curve in make_curves() if "segmentation" not in curve.key.tasks]
    paths = draw(curves, tmp_path, "means nothing")
    stem = "depth-reconstruction-scenes-val-ttcc"
    assert [path.name for path in paths] == [f"{stem}.png", f"{stem}.pdf"]
    with Image.open(paths[0]) as image:
        assert image.width == round(PAPER_INCH * 200)
        colours = image.convert("RGB").getcolors(1 << 24)
    assert len(colours or ()) > 50
    assert paths[1].read_bytes().startswith(b"%PDF")

    again = draw(curves, tmp_path / "again", "means nothing")
    for one, other in zip(paths, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def renamed(curve, old, new):
    tasks = tuple(new if task == old else task for task in curve.key.tasks)
    return replace(curve, key=replace(curve.key, tasks=tasks))


def test_pairs_of_one_enhancement_stand_side_by_side_as_in_the_paper(make_curves):
    curves = [curve for curve in make_curves() if "segmentation" not in curve.key.tasks]
    curves += [
        renamed(curve, "depth", "detection") for curve in curves if "depth" in curve.key.tasks
    ]
    pairs = pair_panels(curves, ())
    *_, together = found = list(sheets(pairs))
    assert [sheet.name.split("-")[0] for sheet in found] == ["depth", "detection", "paper"]
    assert together.name == "paper-reconstruction"
    assert together.heads == ("depth → reconstruction", "detection → reconstruction")
    roles = [[cell.panel.role for cell in row] for row in together.rows]
    assert roles == [["base"] * 2, ["direct"] * 2, ["total"] * 2]


def test_many_pairs_have_no_figure_each(make_curves):
    curves = [curve for curve in make_curves() if "segmentation" not in curve.key.tasks]
    bases = [f"task{index}" for index in range(9)]
    many = [renamed(curve, "depth", base) for base in bases for curve in curves]
    found = list(sheets(pair_panels(many, ())))
    assert [sheet.name for sheet in found] == [f"paper-reconstruction-{n}" for n in (1, 2, 3)]
    assert [sheet.columns for sheet in found] == [4, 4, 1]


@pytest.mark.parametrize("name", [r"a $\frac{x$ <b>&\"'_^", "very long " * 60])
def test_any_name_can_be_drawn_and_names_a_file(draw, make_curves, tmp_path, name):
    curves = [
        replace(curve, key=replace(curve.key, variant=name, dataset=name))
        for curve in make_curves()
        if "segmentation" not in curve.key.tasks
    ]
    paths = draw(curves, tmp_path, name)
    assert len(paths) == 2
    assert all(path.stat().st_size > 10_000 for path in paths)
    with Image.open(paths[0]) as image:
        assert image.width == round(PAPER_INCH * 200)


def test_a_long_metric_name_is_cut_beside_both_axes(make_curves, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr("tcc.report.figures._save", lambda figure, path, dpi: drawn.append(figure))
    pair = pair_panels(make_curves(), ())[0]
    panels = tuple(replace(panel, x="metric" * 50, y="metric" * 50) for panel in pair.panels)
    list(draw_figures([replace(pair, panels=panels)], "", tmp_path))
    for ax in drawn[0].axes:
        assert len(ax.get_xlabel()) < 60
        assert len(ax.get_ylabel()) < 60


def test_the_band_lies_between_the_seeds(make_curves):
    panel = pair_panels(make_curves((0, 1, 2)), ())[0].panels[1]
    line = next(line for line in panel.lines if line.group == "direct, β = 0")
    xs, low, high = band(line)
    assert len(line.strands) == 3
    starts, ends = zip(*((strand.xs[0], strand.xs[-1]) for strand in line.strands))
    assert xs[0] >= sorted(starts)[1] * 0.99999  # two seeds at least
    assert xs[-1] <= sorted(ends)[1] * 1.00001
    for strand in line.strands:
        for x, y in zip(strand.xs, strand.ys, strict=True):
            inside = [at for at, edge in enumerate(xs) if abs(edge - x) < 1e-5 * x]
            assert all(low[at] * 0.99999 <= y <= high[at] * 1.00001 for at in inside)
    assert any(top > bottom for bottom, top in zip(low, high, strict=True))
    alone = pair_panels(make_curves(), ())[0].panels[1].lines
    assert all(band(line) is None for line in alone)


def test_nothing_to_draw_makes_no_folder(draw, tmp_path):
    assert draw((), tmp_path / "figures") == []
    assert not (tmp_path / "figures").exists()
