"""Figures come in the sizes of paper and README, and equal input gives equal files."""

from __future__ import annotations

import pytest
from PIL import Image

from tcc.curves.side_information import side_information
from tcc.report.figures import PAPER_WIDTH_INCH, draw_figures
from tcc.report.panels import pair_panels


@pytest.fixture(scope="module")
def draw():
    def drawn(curves, folder, notice=""):
        return list(draw_figures(pair_panels(curves, side_information(curves)), notice, folder))

    return drawn


def test_one_figure_a_pair_and_an_overview(draw, make_curves, tmp_path):
    curves = [curve for curve in make_curves() if "segmentation" not in curve.key.tasks]
    paths = draw(curves, tmp_path, "means nothing")
    stem = "depth-reconstruction-scenes-val-ttcc"
    assert [path.name for path in paths] == [f"{stem}.png", f"{stem}.pdf", "overview.png"]
    with Image.open(paths[0]) as image:
        assert image.width == round(PAPER_WIDTH_INCH * 200)
        colours = image.convert("RGB").getcolors(1 << 24)
    assert len(colours or ()) > 50
    assert paths[1].read_bytes().startswith(b"%PDF")

    again = draw(curves, tmp_path / "again", "means nothing")
    for one, other in zip(paths, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_nothing_to_draw_makes_no_folder(draw, tmp_path):
    assert draw((), tmp_path / "figures") == []
    assert not (tmp_path / "figures").exists()
