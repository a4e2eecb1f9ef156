"""The paper's own curves: what its formula says of them, and what the verdict says."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from tcc.curves.bdrate import verdict
from tcc.curves.claims import FALLS, IN_SIGN, PAPER, STANDS, claims, claims_json, claims_text
from tcc.errors import DataError
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
def table() -> Path:
    shared = os.environ.get("TCC_SHARED")
    if not shared:
        pytest.skip("TCC_SHARED is not set")
    return Path(shared) / "reference" / "paper_curves.csv"


@pytest.fixture(scope="module")
def panels(table) -> dict[tuple[str, str], dict[str, Points]]:
    """Panel → method → (bpp, value)."""
    found: dict[tuple[str, str], dict[str, Points]] = {}
    with table.open(encoding="utf-8") as file:
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


# --- each claim -----------------------------------------------------------------------------------


def test_each_claim_of_the_paper_is_judged(table):
    found = {(c.panel["figure"], c.panel["panel"]): c for c in claims(table) if c.percent}
    assert {panel: claim.percent for panel, claim in found.items()} == CLAIMS
    findings = {panel: (claim.finding, claim.under) for panel, claim in found.items()}
    assert findings == {
        BASE_DETECTION: (FALLS, ("cubic",)),
        BASE_DEPTH: (FALLS, ("cubic",)),
        DIRECT_DEPTH: (FALLS, ()),
        ("Fig5", "a"): (IN_SIGN, ("cubic",)),
        ("Fig5", "b"): (STANDS, ("pchip", "akima", "cubic")),
        ("Fig6", ""): (STANDS, ("pchip", "akima", "cubic")),
    }
    assert found[BASE_DETECTION].text.startswith(
        "claimed -1.295 %: does not stand (caution; pchip +7.07 %, akima +9.71 %, cubic -1.29 %); "
        "within 2 points under cubic; overlap of the mAP ranges is 53.9%, under 75%"
    )
    assert "no overlap of the PSNR ranges" in found[DIRECT_DEPTH].text
    assert "3 points after the reduction" in found[BASE_DEPTH].text


def test_against_another_baseline_nothing_is_claimed(table):
    found = claims(table, baseline="Standalone", metric="mIoU")
    assert {claim.result.test: claim.percent for claim in found} == {
        "Proposed": None,
        "Baseline": None,
    }


def test_all_curves_of_the_table_have_a_verdict(table):
    found = claims(table)
    assert len(found) == 10  # seven panels, three of them with a standalone curve as well
    by_role = {claim.panel["role"]: claim for claim in found if claim.result.test == "Proposed"}
    unclaimed = by_role["direct reconstruction from detection base"]
    assert (unclaimed.percent, unclaimed.finding) == (None, None)
    depth = by_role["depth (base task)"].result
    assert dict(depth.num_points) == {"anchor": 3, "test": 5}  # its RMSE was taken as falling
    content = claims_json(found)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    text = claims_text(found)
    assert text.count("BD-rate (") == 10
    assert text.count("claimed") == len(PAPER) == 6


def test_a_table_may_say_what_is_claimed(tmp_path):
    rows = [f"new,{rate / 2},{value},-50" for rate, value in ((1, 3.0), (2, 4), (4, 5), (8, 6))]
    rows += [f"old,{rate},{value}," for rate, value in ((1, 3.0), (2, 4), (4, 5), (8, 6))]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["method,bpp,value,claim,metric", *(f"{row},psnr" for row in rows)]))
    (claim,) = claims(path, baseline="old")
    assert (claim.finding, claim.percent, claim.result.percent) == (STANDS, -50, pytest.approx(-50))
    assert claims_text([claim]).startswith("psnr: new against old, claimed -50 %: stands (ok; ")
    with pytest.raises(DataError, match="unknown baseline 'Baseline': there is new, old"):
        claims(path)
    path.write_text("bpp,psnr\n0.1,30\n")
    with pytest.raises(DataError, match="no column metric, method, value; give a second file"):
        claims(path)
    path.write_text('{\n"results": {"bpp": [0.1, 0.2], "psnr": [30, 31]}}')
    with pytest.raises(DataError, match="no column metric, method, bpp, value; give a second file"):
        claims(path)
    path.write_text("metric,method,bpp,value\npsnr,Baseline,a,30\npsnr,Other,1,30\n")
    with pytest.raises(DataError, match="bpp: 'a' is not a number"):
        claims(path, baseline="Baseline")


# --- any table ------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    """``write(rows)``: a table of the columns metric, method, bpp, value, claim."""

    def text(rows: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text("metric,method,bpp,value,claim\n" + rows)
        return path

    return text


FALLING = "".join(
    f"MPJPE,{method},{dear * 2**n},{50 - 10 * n},\n"
    for method, dear in (("Baseline", 0.2), ("New", 0.1))
    for n in range(4)
)


def test_a_metric_that_falls_is_said_to(write):
    path = write(FALLING)
    (claim,) = claims(path)
    assert claim.result.verdict == "refused"
    (claim,) = claims(path, lower=True)
    assert claim.result.percent == pytest.approx(-50)
    assert not claims_text([claim]).startswith("\n")
    path = write(FALLING + "PSNR,Baseline,1,30,\nPSNR,New,1,31,\n")
    with pytest.raises(DataError, match=r"several metrics \(MPJPE, PSNR\); give --metric"):
        claims(path, lower=True)
    assert claims(path, lower=True, metric="mpjpe")[0].result.percent == pytest.approx(-50)
    with pytest.raises(DataError, match="unknown metric 'PSRN'"):
        claims(path, metric="PSRN")
    (claim,) = claims(path, lower=True, metric="PSNR")
    assert any("PSNR was taken as lower is better" in it for it in claim.result.reasons)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("PSNR,Baseline,1,30,\nPSNR,New,1,31,nan\n", "claim: 'nan' is not finite"),
        ("PSNR,Baseline,1,30,\nPSNR,New,1,31,\nPSNR,None,,inf,\n", "value: 'inf' is not finite"),
        ("PSNR,Baseline,1,30,\n", "holds no curve to compare with 'Baseline'"),
        ("", "holds no curve to compare with 'Baseline'"),
    ],
)
def test_what_cannot_be_judged_is_said(write, rows, message):
    with pytest.raises(DataError, match=message):
        claims(write(rows))
