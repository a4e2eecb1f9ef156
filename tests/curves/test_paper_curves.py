"""The paper's own curves: what its formula says of them, and what the verdict says."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest

from tcc.curves.bdrate import verdict
from tcc.records import BDRate

Points = list[tuple[float, float]]

# figure, panel → the authors' cubic, PCHIP, overlap; None: not defined or refused
BASE_DETECTION, BASE_DEPTH = ("Fig3", "a"), ("Fig3", "b")
DIRECT_DETECTION, DIRECT_DEPTH = ("Fig4", "a"), ("Fig4", "b")
SCALABLE = {
    ("Fig5", "a"): (-10.32, -5.87),
    ("Fig5", "b"): (-22.17, -21.50),
    ("Fig6", ""): (-26.15, -25.46),
}
CLAIMS = {
    BASE_DETECTION: -1.295,
    BASE_DEPTH: -74.79,
    DIRECT_DEPTH: -85.19,
    **{panel: cubic for panel, (cubic, _) in SCALABLE.items()},
}


@pytest.fixture(scope="module")
def panels() -> dict[tuple[str, str], dict[str, Points]]:
    """Panel → method → (bpp, value)."""
    shared = os.environ.get("TCC_SHARED")
    if not shared:
        pytest.skip("TCC_SHARED is not set")
    found: dict[tuple[str, str], dict[str, Points]] = {}
    with (Path(shared) / "reference" / "paper_curves.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["bpp"]:
                methods = found.setdefault((row["figure"], row["panel"]), {})
                point = float(row["bpp"]), float(row["value"])
                methods.setdefault(row["method"], []).append(point)
    return found


def authors_cubic(anchor: Points, test: Points) -> float:
    """The paper's BD-rate in percent: least-squares cubics of log rate over the metric, raw points,
    no look at the overlap: with none it extrapolates."""
    low = max(min(value for _, value in curve) for curve in (anchor, test))
    high = min(max(value for _, value in curve) for curve in (anchor, test))
    areas = []
    for curve in (anchor, test):
        rates, values = np.array(curve).T
        integral = np.polyint(np.polyfit(values, np.log(rates), 3))
        areas.append(np.polyval(integral, high) - np.polyval(integral, low))
    return (math.exp((areas[1] - areas[0]) / (high - low)) - 1) * 100


def judge(methods: dict[str, Points], anchor: str = "Baseline", *, higher: bool = True) -> BDRate:
    return verdict(
        *zip(*methods[anchor], strict=True),
        *zip(*methods["Proposed"], strict=True),
        metric="metric",
        higher_is_better=higher,
    )


@pytest.mark.parametrize("panel", CLAIMS)
def test_the_authors_formula_reproduces_every_claim(panels, panel):
    methods = panels[panel]
    assert authors_cubic(methods["Baseline"], methods["Proposed"]) == pytest.approx(
        CLAIMS[panel], abs=0.005
    )


@pytest.mark.parametrize("panel", SCALABLE)
def test_the_scalable_claims_stand_and_by_how_much(panels, panel):
    cubic, pchip = SCALABLE[panel]
    result = judge(panels[panel])
    assert result.percent == pytest.approx(pchip, abs=0.01)
    assert result.cross_checks["cubic"] == pytest.approx(cubic, abs=0.005)
    assert result.cross_checks["akima"] == pytest.approx(pchip, abs=2)
    assert result.verdict == "ok"


def test_the_detection_base_turns_its_sign(panels):
    result = judge(panels[BASE_DETECTION])
    assert result.percent == pytest.approx(7.07, abs=0.005)
    assert result.overlap == pytest.approx(0.54, abs=0.005)
    assert result.cross_checks["cubic"] == pytest.approx(-1.295, abs=0.0005)
    assert result.verdict == "caution"
    assert any("overlap" in line for line in result.reasons)


def test_the_depth_base_is_refused(panels):
    result = judge(panels[BASE_DEPTH], higher=False)
    assert (result.verdict, result.percent) == ("refused", None)
    assert dict(result.num_points) == {"anchor": 3, "test": 5}
    assert result.overlap == pytest.approx(0.22, abs=0.005)
    assert result.dropped[0].startswith("anchor (0.229154 bpp, 6.07243)")
    assert result.reasons[0] == "anchor: 3 points after the reduction, at least 4 are needed"
    # the claim itself, for information: raw points, as the authors did
    assert result.cross_checks["cubic"] == pytest.approx(-74.79, abs=0.005)


@pytest.mark.parametrize("panel", [DIRECT_DETECTION, DIRECT_DEPTH])
def test_the_direct_panels_share_no_metric_range(panels, panel):
    result = judge(panels[panel])
    assert (result.verdict, result.percent, result.overlap) == ("refused", None, 0)
    assert result.reasons[0].startswith("no overlap")
    assert result.cross_checks["cubic"] is None  # extrapolation is no information
    assert any("instead: at" in line and "(inside both curves)" in line for line in result.reasons)
