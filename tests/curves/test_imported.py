"""Codecs from outside as anchors."""

from __future__ import annotations

import json

import pytest

from tcc.curves.comparisons import compare, describe
from tcc.curves.imported import imported_curves
from tcc.curves.points import curves_of
from tcc.errors import DataError

PSNR = "reconstruction/psnr"


@pytest.fixture
def outside(tmp_path):
    """``outside(name, **results)``: the path of an RD file."""

    def write(name, **results):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"name": name, "results": results}))
        return str(path)

    return write


@pytest.fixture
def curves(study):
    return curves_of(study(0, 1, 2), {})


def twice(curves):
    """Rates twice those of the single layer, at its metric."""
    single = next(c for c in curves if c.key.family == "single_layer" and c.key.metric == PSNR)
    points = single.points
    return {"bpp": [2 * p.rate_bpp for p in points], "psnr-rgb": [p.value for p in points]}


def test_all_with_a_total_rate_and_the_metric_is_compared(curves, outside):
    vtm = imported_curves([(outside("VTM", **twice(curves)), "scenes", "")], curves)
    assert [(c.key.metric, describe(c.key)) for c in vtm] == [(PSNR, "VTM")]
    rows = compare(curves, anchor={"beta": 0.0}, imported=vtm)
    found = [row for row in rows if row.reference == "imported"]
    assert {row.test.family for row in found} == {"direct", "scalable", "single_layer"}
    single = next(row for row in found if row.test.family == "single_layer")
    assert single.summary.percent == pytest.approx(-50)
    assert (single.summary.anchor, single.summary.verdict) == ("VTM", "caution")
    (why,) = single.summary.reasons
    assert why.endswith("the test's rates are estimated, the anchor's are of a codec from outside")
    assert [seed for seed, _ in single.per_seed] == [0, 1, 2]
    assert len(rows) - len(found) == len(compare(curves, anchor={"beta": 0.0}))


def test_two_codecs_keep_their_means_over_bases_apart(curves, outside):
    results = twice(curves)
    files = [(outside("VTM", **results), "scenes", "")]
    results["bpp"] = [2 * rate for rate in results["bpp"]]
    files.append((outside("JPEG", **results), "scenes", ""))
    rows = compare(curves, anchor={"beta": 0.0}, imported=imported_curves(files, curves))
    means = [row for row in rows if row.reference == "imported" and row.over]
    assert sorted(row.summary.anchor for row in means) == ["JPEG", "JPEG", "VTM", "VTM"]  # two β
    by_codec = {(row.summary.anchor, row.test.fixed["beta"]): row.summary.percent for row in means}
    assert by_codec["JPEG", 0.1] < by_codec["VTM", 0.1]


def test_what_is_not_measured_yet_is_not_compared(curves, outside):
    path = outside("VTM", **twice(curves))
    assert imported_curves([(path, "kodak", "")], curves) == ()  # nothing is measured there yet
    other = outside("other", bpp=[0.1], vmaf=[90.0])
    assert imported_curves([(other, "scenes", "")], curves) == ()


def test_a_column_is_found_by_its_full_name_first(curves, outside):
    results = {"bpp": [0.1, 0.2], "psnr-rgb": [1.0, 2.0], "psnr": [3.0, 4.0]}
    path = outside("VTM", **results)
    (vtm,) = imported_curves([(path, "scenes", "")], curves)
    assert [point.value for point in vtm.points] == [3.0, 4.0]
    path = outside("VTM", **results, **{PSNR: [5.0, 6.0]})
    (vtm,) = imported_curves([(path, "scenes", "")], curves)
    assert [point.value for point in vtm.points] == [5.0, 6.0]


def test_two_codecs_of_one_name_are_refused(curves, outside):
    path = outside("VTM", **twice(curves))
    with pytest.raises(DataError, match="its codec is named 'VTM', as that of another file"):
        imported_curves([(path, "scenes", ""), (path, "scenes", "")], curves)
