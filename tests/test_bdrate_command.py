"""`tcc bdrate A B`: every kind of curve gets its verdict, its reason and exit code 0; what is no
curve gets one line on stderr and exit code 2."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

from tcc.cli import main

RATES = (0.1, 0.2, 0.4, 0.8)
PSNR = (28.0, 31.0, 33.5, 35.5)


@pytest.fixture
def bdrate(monkeypatch, capsys):
    """``bdrate(*arguments)``: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["tcc", "bdrate", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture(params=["json", "csv"])
def write(request, tmp_path):
    """``write(name, rates, values)``: an RD file in either format."""

    def make(name, rates, values):
        path = tmp_path / f"{name}.{request.param}"
        if request.param == "json":
            results = {"bpp": list(rates), "psnr": list(values)}
            path.write_text(json.dumps({"name": name, "results": results}))
        else:
            rows = [f"{rate},{value}" for rate, value in zip(rates, values, strict=True)]
            path.write_text("\n".join(["bpp,psnr", *rows]) + "\n")
        return path

    return make


# numbers: by scipy's PCHIP and a quadrature of it
CASES = {  # rates and values of the test curve, BD-rate, verdict, a reason
    "itself": (RATES, PSNR, 0, "ok", ""),
    "twice the rate": ((0.2, 0.4, 0.8, 1.6), PSNR, 100, "ok", ""),
    "unsorted": ((0.8, 0.1, 0.4, 0.2), (35.5, 28.0, 33.5, 31.0), 0, "ok", ""),
    "unequal": ((*RATES, 1.6), (*PSNR, 35.75), -1.737490, "ok", ""),
    "non-monotone": ((*RATES, 0.5), (*PSNR, 32.0), 0, "caution", "1 of 5 points dropped, not mono"),
    "tied in value": (
        (*RATES, 0.5),
        (*PSNR, 33.5),
        0,
        "caution",
        "1 of 5 points dropped, not mono",
    ),
    "tied in rate": ((*RATES, 0.4), (*PSNR, 30.0), 0, "caution", "1 of 5 points dropped, not mono"),
    "one point twice": ((*RATES, 0.4), (*PSNR, 33.5), 0, "caution", "1 of 5 points dropped"),
    "NaN": ((*RATES, 0.5), (*PSNR, math.nan), 0, "caution", "1 of 5 points dropped, not finite"),
    "inf": ((*RATES, math.inf), (*PSNR, 40.0), 0, "caution", "1 of 5 points dropped, not finite"),
    "zero rate": ((*RATES, 0.0), (*PSNR, 25.0), 0, "caution", "without a positive rate"),
    "negative rate": ((*RATES, -1.0), (*PSNR, 25.0), 0, "caution", "without a positive rate"),
    "near-disjoint": (
        RATES,
        (35.0, 36.0, 37.0, 38.0),
        -83.681580,
        "caution",
        "overlap of the psnr ranges",
    ),
    "disjoint": (RATES, (38.0, 39.0, 40.0, 41.0), None, "refused", "no overlap of the psnr ranges"),
    "touching": (RATES, (35.5, 36.0, 37.0, 38.0), None, "refused", "no overlap of the psnr ranges"),
    "3 points": (RATES[:3], PSNR[:3], None, "refused", "test: 3 points, at least 4 are needed"),
    "1 point": (RATES[:1], PSNR[:1], None, "refused", "test: 1 point, at least 4 are needed"),
    "no point": ((), (), None, "refused", "test: 0 points, at least 4 are needed"),
    "falling": (RATES, PSNR[::-1], None, "refused", "test: 1 point after the reduction"),
    "all alike": ((0.2,) * 4, (30.0,) * 4, None, "refused", "test: 1 point after the reduction"),
    "too few finite": (
        RATES,
        (28.0, 31.0, 33.5, math.nan),
        None,
        "refused",
        "test: 3 points after",
    ),
}


@pytest.mark.parametrize(
    ("rates", "values", "percent", "verdict", "reason"), CASES.values(), ids=CASES
)
def test_each_kind_of_curve_has_its_verdict_and_reason(
    bdrate, write, rates, values, percent, verdict, reason
):
    files = write("anchor", RATES, PSNR), write("test", rates, values)
    code, out, err = bdrate(*files, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out, parse_constant=pytest.fail)  # no NaN in it
    assert found["verdict"] == verdict
    if percent is None:
        assert found["bd_rate_percent"] is None
    else:
        assert found["bd_rate_percent"] == pytest.approx(percent, abs=5e-7)
    assert any(reason in line for line in found["reasons"]) == bool(reason)
    code, out, err = bdrate(*files)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].endswith(f"by PCHIP, {verdict}")


def test_lower_is_better_turns_the_metric_and_nothing_else(bdrate, write):
    test = (0.09, 0.19, 0.42, 0.7), (28.2, 31.1, 33.4, 35.0)
    files = write("anchor", RATES, PSNR), write("test", *test)
    _, higher, _ = bdrate(*files, "--json")
    files = (
        write("anchor", RATES, [-it for it in PSNR]),
        write("test", test[0], [-it for it in test[1]]),
    )
    code, lower, _ = bdrate(*files, "--lower-is-better", "--json")
    assert code == 0
    higher, lower = json.loads(higher), json.loads(lower)
    for name in ("bd_rate_percent", "cross_checks", "overlap", "points"):
        assert lower[name] == higher[name]
    assert lower["bd_metric"] == -higher["bd_metric"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", 'needs a list or column "bpp"'),
        ("psnr\n30\n", 'needs a list or column "bpp"'),
        ("bpp,psnr\n0.1\n", "point 1 has 1 cells, not 2"),
        ("bpp,psnr\n0.1,30\n0.2,x\n", "psnr: 'x' is not a number"),
        ("bpp,rmse\n0.1,30\n", "a BD-rate compares one metric"),
        ("bpp,psnr,ssim\n0.1,30,1\n", ""),  # the one that both have is taken
        ("{", "is not valid JSON"),
        (
            '{"results": {"bpp": [0.1, 0.2], "psnr": [30]}}',
            "bpp has length 2 and psnr has length 1",
        ),
        ('{"results": {"bpp": [[0.1]], "psnr": [30]}}', "[0.1] is not a number"),
        ('{"results": {"bpp": [0.1], "psnr": [true]}}', "needs a list or column"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_curve_is_one_line_and_exit_code_2(bdrate, tmp_path, content, complaint):
    anchor, test = tmp_path / "a.csv", tmp_path / "t"
    anchor.write_text("bpp,psnr\n0.1,28\n0.2,31\n0.4,33\n0.8,35\n")
    if content is not None:
        test.write_text(content)
    for files in ((anchor, test), (test, anchor)):
        for options in ((), ("--json",)):
            code, out, err = bdrate(*files, *options)
            if not complaint:
                assert (code, err) == (0, "")
                continue
            assert (code, out) == (2, "")
            assert err.count("\n") == 1
            assert err.startswith("tcc: ")
            assert complaint in err


def test_an_unknown_metric_is_one_line_and_exit_code_2(bdrate, write):
    anchor = write("anchor", RATES, PSNR)
    code, out, err = bdrate(anchor, anchor, "--metric", "vmaf")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "unknown metric 'vmaf': there is psnr" in err


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_that_cannot_be_written_are_escaped(tmp_path, encoding):
    path = tmp_path / "a.json"
    results = {"bpp": list(RATES), "psnr": list(PSNR)}
    path.write_text(json.dumps({"name": "λ \ud800", "results": results}))
    command = [sys.executable, "-m", "tcc", "bdrate", str(path), str(path)]
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    name = "λ \\ud800" if encoding == "utf-8" else "\\u03bb \\ud800"
    assert f"anchor        {name}\n" in done.stdout.decode(encoding)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reader_that_is_gone_changes_no_exit_code(write, options):
    path = write("a", RATES, PSNR)
    command = [sys.executable, "-m", "tcc", "bdrate", str(path), str(path), *options]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
