"""RD files in and out, and verdicts as JSON and text."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcc.curves.files import bdrate_json, bdrate_text, curve_json, direction, verdict_on_files
from tcc.curves.points import curves_of
from tcc.errors import DataError
from tcc.formats.rd import read_curve

BPP = [0.1, 0.2, 0.4, 0.8]
PSNR = [28.0, 31.0, 33.5, 35.5]


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return path

    return write


def compressai(bpp=BPP, **metrics):
    return {"name": "codec", "description": "…", "results": {"bpp": bpp, **metrics}}


def test_json_and_csv_read_alike(write):
    one = read_curve(write("a.json", compressai(psnr=PSNR)))
    rows = [f"{rate}, {value}, q{rate}" for rate, value in zip(BPP, PSNR, strict=True)]
    two = read_curve(write("a.csv", "\ufeff" + "\r\n".join(["bpp, psnr, note", *rows, "", ""])))
    assert (one.name, two.name) == ("codec", "a")
    assert (one.metric, one.bpp, one.values) == ("psnr", tuple(BPP), tuple(PSNR))
    assert (two.metric, two.bpp, two.values) == (one.metric, one.bpp, one.values)


@pytest.mark.parametrize(
    "text",
    [
        "psnr,bpp\n28,0.1\n31,0.2\n",
        "# kodak, 24 images\nnote;bpp;psnr\nx, y;0.1;28\n# the rest\n;0.2;31\n",
        "bpp\tpsnr\tencoding_time\n0.1\t28\t3\n0.2\t31\t4\n",
    ],
)
def test_columns_stand_in_any_order_apart_by_commas_semicolons_or_tabs(write, text):
    curve = read_curve(write("a.csv", text))
    assert (curve.metric, curve.bpp, curve.values) == ("psnr", (0.1, 0.2), (28.0, 31.0))


@pytest.mark.parametrize("header", [",bpp,psnr", "bpp,psnr,,", '"bpp","","psnr",""'])
def test_a_column_without_a_name_is_no_metric(write, header):
    """An index that pandas writes, the empty columns of a spreadsheet."""
    names = header.replace('"', "").split(",")
    rows = [
        ",".join({"bpp": str(rate), "psnr": str(value)}.get(name, "7") for name in names)
        for rate, value in zip(BPP, PSNR, strict=True)
    ]
    path = write("a.csv", "\n".join([header, *rows]))
    result = verdict_on_files(path, path)
    assert (result.metric, result.percent, result.verdict) == ("psnr", 0, "ok")


def test_files_that_share_no_metric_say_what_they_hold(write):
    one = write("a.json", compressai(**{"psnr-rgb": PSNR, "ms-ssim-rgb": PSNR}))
    other = write("b.json", compressai(vmaf=PSNR))
    with pytest.raises(DataError) as error:
        verdict_on_files(one, other)
    assert str(error.value) == (
        f"{one} holds psnr-rgb, ms-ssim-rgb and {other} holds vmaf: a BD-rate compares one metric; "
        "name it alike in both"
    )


def test_a_metric_under_two_names_is_one_and_said_so(write):
    """CompressAI's own files: psnr of VTM, psnr-rgb of JPEG."""
    jpeg = write(
        "jpeg.json", compressai(**{"psnr-rgb": PSNR, "ms-ssim-rgb": [0.8, 0.9, 0.95, 1.0]})
    )
    vtm = write("vtm.json", compressai(psnr=PSNR, **{"ms-ssim": [0.8, 0.9, 0.95, 1.0]}))
    result = verdict_on_files(jpeg, vtm, metric="psnr")
    assert result.percent == 0
    assert result.reasons == (
        "the anchor's psnr-rgb and the test's psnr were taken for one metric",
    )  # fmt: skip
    both = write("both.json", compressai(**{"psnr-rgb": PSNR, "psnr": [1.0, 2.0, 3.0, 4.0]}))
    assert read_curve(both, "psnr").values[0] == 1.0
    with pytest.raises(DataError, match=r"several metrics \(psnr-rgb, ms-ssim-rgb\)"):
        verdict_on_files(jpeg, vtm)


def test_the_metric_is_chosen_by_name_whatever_its_case(write):
    content = compressai(**{"psnr-rgb": PSNR, "ms-ssim": [0.9] * 4, "encoding_time": [1.0] * 4})
    path = write("a.json", content)
    assert read_curve(path, "PSNR-RGB").metric == "psnr-rgb"
    with pytest.raises(DataError, match=r"several metrics \(psnr-rgb, ms-ssim\); give --metric"):
        read_curve(path)
    with pytest.raises(DataError, match=r"unknown metric 'psnr-rg'.*did you mean 'psnr-rgb'"):
        read_curve(path, "psnr-rg")
    alone = write("b.json", compressai(psnr=PSNR, encoding_time=[1.0] * 4))
    assert read_curve(alone).metric == "psnr"


def test_missing_numbers_are_left_to_the_verdict(write):
    curve = read_curve(write("a.json", '{"results": {"bpp": [0.1, 0.2], "m": [null, NaN]}}'))
    assert curve.name == "a"
    assert all(math.isnan(value) for value in curve.values)
    curve = read_curve(write("a.csv", "BPP,m\n0.1,1\n0.2,\n0.3,inf\n"))
    assert math.isnan(curve.values[1])
    assert curve.values[2] == math.inf
    assert read_curve(write("e.json", compressai(bpp=[], m=[]))).bpp == ()
    assert read_curve(write("e.csv", "bpp,m\n")).bpp == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", 'needs a list or column "bpp"'),
        ("{", "is not valid JSON"),
        ("[1, 2]", 'has no "results"'),
        ('{"results": [1]}', 'has no "results"'),
        ('{"results": {"bpp": [0.1]}}', 'needs a list or column "bpp" and one of a metric'),
        ('{"results": {"m": [0.1]}}', "there are: m"),
        ('{"results": {"bpp": 0.1, "m": 3}}', "there are: none"),
        ('{"results": {"bpp": [0.1], "m": [1, 2]}}', "bpp has length 1 and m has length 2"),
        ('{"results": {"bpp": ["0.1"], "m": [1]}}', "bpp: '0.1' is not a number"),
        ('{"results": {"bpp": [0.1, 0.2], "m": [1, {}]}}', "m: {} is not a number"),
        ('{"results": {"bpp": [0.1, 0.2], "m": [1, true]}}', "m: True is not a number"),
        ('{"results": {"bpp": [0.1], "m": [1' + "0" * 400 + "]}}", "too large"),
        ('{"results": {"bpp": [0.1], "m": [' + "1" * 5000 + "]}}", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("bpp;m\n0,1;2\n", "bpp: '0,1' is not a number; write it such as 0.1"),
        ("bpp m\n0.1 2\n", "there are: bpp m"),
        ("# only a comment\n", "there are: none"),
        ("bpp,m\n0.1\n", "point 1 has 1 cells, not 2"),
        ("bpp,m\n0,1,28\n", "point 1 has 3 cells, not 2: '0,1,28'; give one for each column, "),
        ("bpp;m\n0,1;28,5\n0,2;30,5\n", "such as 0.1; there are: bpp ('0,1'), m ('28,5')"),
        ("bpp,m\n0.1,2\0\n", "is not a text file"),
        ("bpp,m\n0.1,2\nx,3\n", "bpp: 'x' is not a number"),
        ("bpp,m,m\n0.1,2,3\n", "two columns have the same name"),
        ("bpp,m\n0.1,abc\n", "there are: bpp, m ('abc')"),
    ],
)
def test_malformed_files_get_one_clear_error(write, content, message):
    path = write("broken", content)
    with pytest.raises(DataError) as error:
        read_curve(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: cannot be read: No such file"):
        read_curve(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_curve(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="not a text file"):
        read_curve(tmp_path / "binary")


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.text(max_size=60), st.text(alphabet='{}[]":,bpm0.1 \n', max_size=60)))
def test_no_text_raises_anything_else(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_text(text, "utf-8", newline="")
    with suppress(DataError):  # anything else fails the test
        read_curve(path)


def test_the_verdict_on_two_files(write):
    anchor = write("a.json", compressai(psnr=PSNR))
    test = write("t.csv", "bpp,psnr,lpips\n" + "\n".join(
        f"{2 * rate},{value},0.1" for rate, value in zip(BPP, PSNR, strict=True)))  # fmt: skip
    result = verdict_on_files(anchor, test)  # psnr is what they share
    assert result.percent == pytest.approx(100)
    assert (result.anchor, result.test, result.metric) == ("codec", "t", "psnr")
    assert result.verdict == "ok"  # the seeds rule is for summaries, not for files
    with pytest.raises(DataError, match=r"a\.json: unknown metric 'lpips'"):
        verdict_on_files(anchor, test, metric="lpips")
    other = write("o.json", compressai(ssim=[0.9] * 4))
    with pytest.raises(DataError, match="compares one metric"):
        verdict_on_files(anchor, other)


def test_a_lower_is_better_metric_is_said_not_guessed(write):
    anchor = write("a.json", compressai(depth_rmse=[9.0, 7.0, 6.0, 5.5]))
    test = write(
        "t.json", compressai(bpp=[2 * rate for rate in BPP], depth_rmse=[9.0, 7.0, 6.0, 5.5])
    )
    result = verdict_on_files(anchor, test, lower_is_better=True)
    assert (result.verdict, result.percent) == ("ok", pytest.approx(100))
    forgotten = verdict_on_files(anchor, test)
    assert any("its name suggests --lower-is-better" in line for line in forgotten.reasons)
    assert direction("abs_rel", False)
    psnr = write("p.json", compressai(psnr=PSNR))
    wrong = verdict_on_files(psnr, psnr, lower_is_better=True)
    assert any("its name suggests the opposite" in line for line in wrong.reasons)


def test_a_verdict_as_json_has_the_documented_keys_and_is_json(write):
    anchor = write("a.json", compressai(psnr=PSNR))
    keys = ["metric", "bd_rate_percent", "cross_checks", "overlap", "points", "dropped", "interval",
            "verdict", "reasons", "bd_metric", "bd_metric_interval", "rate_overlap"]  # fmt: skip
    for values in (PSNR, [50.0, 51.0, 52.0, math.nan]):
        test = write("t.json", compressai(psnr=values))
        content = bdrate_json(verdict_on_files(anchor, test))
        assert list(content) == keys
        assert json.loads(json.dumps(content, allow_nan=False)) == content
        assert set(content["cross_checks"]) == {"akima", "cubic"}
        assert set(content["points"]) == {"anchor", "test"}
    assert content["bd_rate_percent"] is None
    assert content["verdict"] == "refused"
    assert content["interval"] is None


def test_a_verdict_as_text_says_it_all(write):
    anchor = write("a.json", compressai(psnr=PSNR))
    good = bdrate_text(verdict_on_files(anchor, anchor))
    assert good.splitlines()[0] == "BD-rate (psnr): +0.00 % by PCHIP, ok"
    bad = bdrate_text(
        verdict_on_files(anchor, write("t.json", compressai(psnr=[50.0, 51, 52, 49])))
    )
    assert bad.splitlines()[0] == "BD-rate (psnr): none by PCHIP, refused"
    assert "because       no overlap" in bad
    assert "dropped       test (0.8 bpp, 49)" in bad


def test_a_curve_written_is_read_back(write, study):
    curves = curves_of(study(0), {})
    curve = next(c for c in curves if c.key.family == "scalable")
    path = write("curve.json", curve_json(curve, "scalable β 0"))
    back = read_curve(path)
    assert (back.name, back.metric) == ("scalable β 0", "psnr-rgb")
    from compressai.utils.plot.__main__ import parse_json_file

    plotted = parse_json_file(path, "psnr")
    assert (tuple(plotted["xs"]), tuple(plotted["ys"])) == (back.bpp, back.values)
    assert not direction(back.metric, False)
    assert back.bpp == tuple(point.rate_bpp for point in curve.points)
    assert back.values == tuple(point.value for point in curve.points)
    level = next(c for c in curves if c.key.family == "pixels")
    assert curve_json(level, "pixels")["results"] == {"bpp": [None], "rmse": [3.5]}
