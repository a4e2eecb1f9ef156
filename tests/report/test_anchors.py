"""Codecs from outside in a report: named by the spec, compared, listed; redrawn when changed."""

from __future__ import annotations

import csv
import json

import pytest
from made_up import STUDY

from tcc.errors import DataError, SpecError
from tcc.report import build_report
from tcc.spec import load_spec, parse_spec, resolved_yaml

RESULTS = {"bpp": [0.1, 0.2, 0.4, 0.8, 1.6], "psnr": [20.0, 21.5, 23.0, 25.0, 27.5]}


@pytest.fixture
def vtm(tmp_path):
    path = tmp_path / "vtm.json"
    path.write_text(json.dumps({"name": "VTM <&>", "results": RESULTS}))
    return path


def data_of(page: str) -> dict:
    """What the page's script draws."""
    start = page.index('id="data">') + len('id="data">')
    return json.loads(page[start : page.index("</script>", start)])


def families_of(panel: dict) -> set[str]:
    return {line["family"] for line in panel["lines"]}


def with_anchor(anchor: str) -> str:
    return STUDY.replace("report: {", f"report: {{anchors: [{anchor}], ")


def test_they_get_verdicts_and_rows(make_store, vtm):
    store = make_store((0, 1, 2))
    spec = resolved_yaml(parse_spec(with_anchor(str(vtm))))
    store.write_study("made_up", "spec.yaml", spec)
    files = build_report("made_up", store)
    with files.bd_rates.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["reference"] == "imported"]
    assert {row["anchor"] for row in rows} == {"VTM <&>"}
    assert {row["family"] for row in rows} == {"direct", "scalable", "single_layer"}
    assert {row["metric"] for row in rows} == {"reconstruction/psnr"}
    with files.points.open(newline="") as file:
        points = [row for row in csv.DictReader(file) if row["family"] == "imported"]
    assert [float(row["rate_bpp"]) for row in points] == RESULTS["bpp"]
    assert {(row["variant"], row["evaluation"]) for row in points} == {("VTM <&>", "vtm.json")}
    page = files.page.read_text()
    assert "VTM &lt;&amp;&gt;" in page
    assert "VTM <&>" not in page
    assert any("imported" in path.name for path in files.curves)
    drawn = [panel for panel in data_of(page)["panels"] if "VTM <&>" in families_of(panel)]
    assert [panel["role"] for panel in drawn] == ["direct", "total"]
    (line,) = (line for line in drawn[0]["lines"] if line["family"] == "VTM <&>")
    assert line["strands"][0]["xs"] == RESULTS["bpp"]
    assert (line["slot"], line["symbol"]) == (None, "x")
    assert not build_report("made_up", store).fresh
    vtm.write_text(vtm.read_text().replace("27.5", "27.6"))
    assert build_report("made_up", store).fresh
    vtm.write_text("{")
    with pytest.raises(DataError, match=r"vtm\.json: is not valid JSON"):
        build_report("made_up", store)
    vtm.unlink()  # as the working directory of a Ray job: what the spec was checked with is kept
    assert parse_spec(spec).report.anchors[0].content == json.dumps(
        {"name": "VTM <&>", "results": RESULTS}
    )
    with build_report("made_up", store).points.open(newline="") as file:
        points = [row for row in csv.DictReader(file) if row["family"] == "imported"]
    assert [float(row["rate_bpp"]) for row in points] == RESULTS["bpp"]


def test_a_point_without_a_number_is_left_out(make_store, tmp_path):
    path, empty = tmp_path / "vtm.csv", tmp_path / "empty.csv"
    path.write_text("bpp,psnr\n0.1,20\n0.2,\n,22\n0.4,23\n0.8,25\n")
    empty.write_text("bpp,psnr\n")
    store = make_store((0,))
    spec = parse_spec(with_anchor(f"{path}, {empty}"))
    store.write_study("made_up", "spec.yaml", resolved_yaml(spec))
    content = json.loads(build_report("made_up", store).summary.read_text())
    (curve,) = [curve for curve in content["curves"] if curve["family"] == "imported"]
    assert [(point["rate_bpp"], point["value"]) for point in curve["points"]] == [
        (0.1, 20),
        (0.4, 23),
        (0.8, 25),
    ]


def test_a_spec_names_file_and_data_set(tmp_path, vtm):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(with_anchor(str(vtm)))
    (anchor,) = load_spec(sweep).report.anchors
    assert (anchor.file, anchor.dataset) == (str(vtm), "scenes")
    again, broken, other, words = (tmp_path / f"{it}.json" for it in ("again", "broken", "o", "w"))
    again.write_text(vtm.read_text())
    broken.write_text("{")
    other.write_text(json.dumps({"results": {"bpp": [0.1], "vmaf": [90]}}))
    words.write_text(json.dumps({"results": {"bpp": ["low"], "psnr": [20]}}))
    for wrong, message in (
        ("none.json", r"report\.anchors\[0\]: there is no file '.*none\.json'"),
        (f"{{file: {vtm}, dataset: kodk}}", "unknown data set 'kodk'"),
        (f"{{fle: {vtm}}}", "fle"),
        (f"{vtm}, {again}", r"again\.json: its codec is named 'VTM <&>', as that of .*vtm\.json"),
        (str(broken), r"report\.anchors\[0\]: .*broken\.json: is not valid JSON"),
        (
            str(other),
            "holds vmaf, and the study measures on 'scenes' .*psnr.*: name",
        ),
        (str(words), "bpp: 'low' is not a number"),
        (str(tmp_path), "cannot be read: Is a directory"),
    ):
        sweep.write_text(with_anchor(wrong))
        with pytest.raises(SpecError, match=message):
            load_spec(sweep)
    several = with_anchor(str(vtm)).replace("data: {", "data: {more: {type: scenes}, ")
    sweep.write_text(several.replace("enhancement: ", "dataset: scenes, enhancement: "))
    with pytest.raises(SpecError, match="on which data set was it measured"):
        load_spec(sweep)
    sweep.write_text(
        with_anchor(f"{{file: {vtm}, dataset: more}}")
        .replace("data: {", "data: {more: {type: scenes}, ")
        .replace("enhancement: ", "dataset: scenes, enhancement: ")
    )
    with pytest.raises(SpecError, match="measures nothing on 'more', only on scenes: add"):
        load_spec(sweep)


def test_a_path_may_begin_at_home_or_at_the_working_directory(vtm, monkeypatch):
    monkeypatch.setenv("HOME", str(vtm.parent))
    monkeypatch.chdir(vtm.parent)
    for path in ("~/vtm.json", "vtm.json"):
        assert parse_spec(with_anchor(path)).report.anchors[0].file == str(vtm)
