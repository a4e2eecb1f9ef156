"""The verdict on two curves: known numbers, exact properties, and every way of going wrong."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from bjontegaard import bd_psnr, bd_rate
from hypothesis import given, settings
from hypothesis import strategies as st

from tcc.curves.bdrate import verdict
from tcc.errors import DataError
from tcc.records import BDRate

RATES = (0.1, 0.2, 0.4, 0.8, 1.6)
PSNR = (28.0, 31.0, 33.5, 35.5, 37.0)


def judge(anchor_bpp, anchor, test_bpp, test, *, higher: bool = True, **options) -> BDRate:
    return verdict(
        anchor_bpp, anchor, test_bpp, test, metric="psnr", higher_is_better=higher, **options
    )


def scaled(values, factor):
    return [value * factor for value in values]


def reason(result: BDRate, text: str) -> bool:
    return any(text in line for line in result.reasons)


# --- published and known numbers ------------------------------------------------------------------

# JCTVC-E137, (rate, PSNR) as reprinted in public BD-rate calculators' tests; PCHIP, in percent.
JCTVC_E137 = [
    (
        [(108048.8736, 43.6471), (61279.976, 40.3953), (33905.6656, 37.247), (18883.6928, 34.2911)],
        [
            (108061.2784, 43.6768),
            (61299.9936, 40.4232),
            (33928.7472, 37.2761),
            (18910.912, 34.3147),
        ],
        -0.465215,
    ),
    (
        [(40433.8848, 37.5761), (7622.7456, 35.3756), (2394.488, 33.8977), (1017.6184, 32.0603)],
        [(40370.12, 37.5982), (7587.0024, 35.4025), (2390.0944, 33.9194), (1017.0984, 32.0822)],
        -1.877982,
    ),
]


@pytest.mark.parametrize(("anchor", "test", "percent"), JCTVC_E137)
def test_published_cases_to_six_digits(anchor, test, percent):
    result = judge(*zip(*anchor), *zip(*test))
    assert result.percent == pytest.approx(percent, abs=5e-7)
    assert result.verdict == "ok"
    assert result.reasons == ()


def test_a_curve_against_itself_is_zero():
    result = judge(RATES, PSNR, RATES, PSNR)
    assert (result.percent, result.overlap, result.verdict) == (0.0, 1.0, "ok")
    assert result.cross_checks["akima"] == 0.0
    assert dict(result.num_points) == {"anchor": 5, "test": 5}


def test_doubled_rates_are_plus_100_percent():
    result = judge(RATES, PSNR, scaled(RATES, 2), PSNR)
    assert result.percent == pytest.approx(100, rel=1e-12)
    assert result.cross_checks["cubic"] == pytest.approx(100, rel=1e-9)


def test_the_metric_at_equal_rate_stands_beside_the_rate_at_equal_metric():
    half_a_db = judge(RATES, PSNR, RATES, [value + 0.5 for value in PSNR])
    assert half_a_db.metric_change == pytest.approx(0.5, rel=1e-12)
    assert half_a_db.rate_overlap == 1
    errors = judge(RATES, scaled(PSNR, -1), RATES, [0.5 - value for value in PSNR], higher=False)
    assert errors.metric_change == pytest.approx(0.5, rel=1e-12)  # half a unit more error
    assert errors.percent > 0
    # no metric value in common, and yet rates: BD-metric needs these alone
    apart = judge(RATES, PSNR, RATES, [value + 20 for value in PSNR])
    assert (apart.verdict, apart.metric_change) == ("refused", pytest.approx(20))
    dear = judge(RATES, PSNR, scaled(RATES, 100), PSNR)
    assert (dear.metric_change, dear.rate_overlap) == (None, 0)
    assert dear.percent == pytest.approx(9900)
    assert judge(RATES[:3], PSNR[:3], RATES, PSNR).metric_change is None
    assert judge(RATES, PSNR, RATES, PSNR, refusals=["no"]).metric_change is None


def test_unequal_counts_are_compared():
    result = judge(RATES, PSNR, RATES[:4], PSNR[:4])
    assert result.percent == pytest.approx(0, abs=0.5)
    assert dict(result.num_points) == {"anchor": 5, "test": 4}


# --- properties -----------------------------------------------------------------------------------


@st.composite
def curves(draw: st.DrawFn) -> tuple[list[float], list[float]]:
    """A rising curve of 4 to 7 points on dyadic grids, so that negating and scaling are exact."""
    count = draw(st.integers(4, 7))
    steps = st.lists(st.integers(1, 200), min_size=count, max_size=count)
    rates, values, rate, value = [], [], 0.05, 20 + draw(st.integers(0, 4))
    for up, right in zip(draw(steps), draw(steps), strict=True):
        rate, value = rate * (1 + right / 64), value + up / 64
        rates.append(rate)
        values.append(value)
    return rates, values


fast = settings(deadline=None, max_examples=60)


@fast
@given(curves(), curves())
@pytest.mark.filterwarnings("ignore")  # the package's, of curves that hardly overlap
def test_the_numbers_are_those_of_the_bjontegaard_package(anchor, test):
    ours = judge(*anchor, *test)
    options = {"require_matching_points": False, "min_overlap": 0}

    def theirs(function, method):
        """None where it has no finite number."""
        found = function(*anchor, *test, method=method, **options)
        return found if math.isfinite(found) else None

    shown = ours.cross_checks
    if ours.percent is not None:
        assert ours.percent == pytest.approx(theirs(bd_rate, "pchip"), rel=1e-12, abs=1e-9)
        assert shown["akima"] == pytest.approx(theirs(bd_rate, "akima"), rel=1e-9, abs=1e-9)
        assert shown["cubic"] == pytest.approx(theirs(bd_rate, "cubic"), rel=1e-6, abs=1e-6)
    if ours.metric_change is not None:
        assert ours.metric_change == pytest.approx(theirs(bd_psnr, "pchip"), rel=1e-9, abs=1e-9)


@fast
@given(curves(), curves(), st.floats(0.01, 100))
def test_scaling_the_test_rates_scales_the_ratio_exactly(anchor, test, factor):
    before, after = judge(*anchor, *test), judge(*anchor, scaled(test[0], factor), test[1])
    if before.percent is None:
        assert after.percent is None
    else:
        assert after.percent is not None
        ratio = (1 + after.percent / 100) / (1 + before.percent / 100)
        assert ratio == pytest.approx(factor, rel=1e-9)


@fast
@given(curves(), st.integers(-640, 640))
def test_raising_the_metric_everywhere_is_the_bd_metric_exactly(curve, steps):
    rates, values = curve
    raised = judge(rates, values, rates, [value + steps / 64 for value in values])
    assert raised.metric_change == pytest.approx(steps / 64, abs=1e-9)


@fast
@given(curves(), curves(), st.integers(-6, 6))
def test_a_common_factor_on_all_rates_changes_nothing(anchor, test, power):
    before = judge(*anchor, *test)
    after = judge(scaled(anchor[0], 2.0**power), anchor[1], scaled(test[0], 2.0**power), test[1])
    for name in ("percent", "metric_change"):
        one, two = getattr(before, name), getattr(after, name)
        assert two == (None if one is None else pytest.approx(one, rel=1e-6, abs=1e-9))


@fast
@given(curves(), curves())
def test_negating_the_metric_changes_nothing(anchor, test):
    up = judge(*anchor, *test)
    down = judge(anchor[0], scaled(anchor[1], -1), test[0], scaled(test[1], -1), higher=False)
    assert (down.percent, down.overlap, down.verdict) == (up.percent, up.overlap, up.verdict)
    assert down.cross_checks == up.cross_checks
    assert down.metric_change == (up.metric_change and -up.metric_change)
    assert len(down.reasons) == len(up.reasons)


@fast
@given(curves(), curves(), st.randoms(use_true_random=False))
def test_the_order_of_the_points_changes_nothing(anchor, test, random):
    shuffled = []
    for rates, values in (anchor, test):
        order = random.sample(range(len(rates)), len(rates))
        shuffled += [[rates[i] for i in order], [values[i] for i in order]]
    assert judge(*shuffled) == judge(*anchor, *test)


@fast
@given(curves())
def test_any_curve_against_itself_is_zero_and_against_twice_its_rate_100(curve):
    assert judge(*curve, *curve).percent == 0
    double = judge(*curve, scaled(curve[0], 2), curve[1])
    assert double.percent == pytest.approx(100, rel=1e-9)


@fast
@given(curves(), curves())
def test_swapping_the_curves_inverts_the_ratio(anchor, test):
    one, two = judge(*anchor, *test), judge(*test, *anchor)
    there, back = one.percent, two.percent
    if one.metric_change is not None:
        assert one.metric_change == pytest.approx(-two.metric_change, rel=1e-9, abs=1e-9)
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1, rel=1e-9)


anything = st.one_of(
    st.floats(), st.integers(-3, 3).map(float), st.sampled_from([1e-308, 5e-324, 1e308, -1e308])
)
garbage = st.lists(st.tuples(anything, anything), max_size=7)


@settings(deadline=None, max_examples=400)
@given(garbage, garbage, st.booleans(), st.one_of(st.none(), anything))
def test_no_numbers_make_it_raise(anchor, test, higher, ceiling):
    sides = [[point[axis] for point in curve] for curve in (anchor, test) for axis in (0, 1)]
    result = judge(*sides, higher=higher, ceiling=ceiling)
    assert 0 <= result.overlap <= 1
    assert (result.percent is None) == (result.verdict == "refused")
    assert (result.verdict == "ok") == (result.reasons == ())
    for number in (result.percent, result.metric_change, *result.cross_checks.values()):
        assert number is None or math.isfinite(number)


# --- refusals -------------------------------------------------------------------------------------


def test_disjoint_ranges_are_refused_with_the_metric_at_a_rate_instead():
    result = judge(RATES, PSNR, RATES, [value + 20 for value in PSNR])
    assert (result.verdict, result.percent, result.overlap) == ("refused", None, 0)
    assert result.reasons[0] == "no overlap of the psnr ranges: anchor 28 to 37, test 48 to 57"
    assert reason(result, "instead: at 0.4 bpp (inside both curves) psnr is anchor 33.5, test 53.5")
    assert dict(result.cross_checks) == {"akima": None, "cubic": None}


def test_ranges_that_touch_in_one_value_are_refused():
    result = judge(RATES, PSNR, RATES, [value + 9 for value in PSNR])
    assert result.verdict == "refused"
    assert reason(result, "no overlap")
    assert reason(result, "instead: at psnr 37 (the best that both reach)")


def test_disjoint_in_rate_and_metric_says_that_nothing_can_be_compared():
    result = judge(RATES, PSNR, scaled(RATES, 100), [value + 20 for value in PSNR])
    assert reason(result, "neither a metric level nor a rate")


def test_three_points_are_refused_with_the_rate_at_a_level_instead():
    result = judge(RATES[:3], PSNR[:3], scaled(RATES, 0.5), PSNR)
    assert result.verdict == "refused"
    assert reason(result, "anchor: 3 points, at least 4 are needed")
    level = "instead: at psnr 33.5 (the best that both reach) the rate is "
    assert reason(result, level + "anchor 0.4, test 0.2 bpp (-50.0 %)")


def test_the_level_is_just_below_the_ceiling_where_both_reach_it():
    result = judge(RATES[:3], PSNR[:3], RATES[:3], PSNR[:3], ceiling=33.0)
    assert reason(result, "at psnr 32.67 (1% short of the ceiling)")
    lower = judge(RATES[:3], scaled(PSNR[:3], -1), RATES[:3], scaled(PSNR[:3], -1), higher=False,
                  ceiling=-33.0)  # fmt: skip
    assert reason(lower, "at psnr -32.67 (1% short of the ceiling)")
    out_of_reach = judge(RATES[:3], PSNR[:3], RATES[:3], PSNR[:3], ceiling=50.0)
    assert reason(out_of_reach, "at psnr 33.5 (the best that both reach)")


def test_fewer_than_four_points_after_the_reduction_are_refused():
    values = (28.0, 31.0, 30.0, 32.0)
    result = judge(RATES[:4], values, RATES, PSNR)
    assert reason(result, "anchor: 3 points after the reduction, at least 4 are needed")
    assert result.dropped == (
        "anchor (0.4 bpp, 30): no better than anchor (0.2 bpp, 31)",
    )  # fmt: skip
    assert result.cross_checks["cubic"] is not None  # least squares over all four points


def test_empty_and_single_point_curves_are_refused():
    assert judge([], [], RATES, PSNR).verdict == "refused"
    assert judge([], [], [], []).reasons[0] == "anchor: 0 points, at least 4 are needed"
    assert reason(judge([0.1], [30.0], [0.1], [30.0]), "anchor: 1 point, at least 4")


def test_a_curve_of_one_value_has_no_range():
    for rates, values in ((RATES, [30.0] * 5), ([0.2] * 5, [30.0] * 5), ([0.2], [30.0])):
        result = judge(RATES, PSNR, rates, values)
        assert result.verdict == "refused"
        assert reason(result, "no overlap of the psnr ranges: anchor 28 to 37, test 30 alone")
        assert reason(result, "test: 1 point")
        assert reason(result, "instead: at psnr 30 (the best that both reach) the rate is ")


def test_a_refusal_of_the_caller_stands_before_all_else():
    result = judge(RATES, PSNR, RATES, PSNR, refusals=["the training images are memorised"])
    assert (result.verdict, result.percent) == ("refused", None)
    assert result.reasons == ("the training images are memorised",)
    assert dict(result.cross_checks) == {"akima": None, "cubic": None}


def test_values_too_close_for_floats_are_refused():
    values = [5e-324, 1e-323, 1.5e-323, 2e-323, 1e300]
    result = judge(RATES, values, RATES, values)
    assert result.verdict == "refused"
    assert reason(result, "no finite number")


def test_the_unit_of_the_metric_does_not_matter():
    """Cubes of large values overflow, and least squares on what comes of it may never end."""
    huge = [-7.222472729124197e153, -1.0, 0.0, 1e-308, 3.0]
    assert judge(RATES, huge, RATES, huge).verdict == "refused"
    assert judge(RATES, [2.0, 3.0, 1e52, 1e103, 2e103], RATES, PSNR).verdict == "refused"
    usual = judge(RATES, PSNR, scaled(RATES, 1.5), (*PSNR[:4], 36.5))
    for factor in (1e-300, 2.0**400):
        values = scaled(PSNR, factor), scaled((*PSNR[:4], 36.5), factor)
        other = judge(RATES, values[0], scaled(RATES, 1.5), values[1])
        assert other.percent == pytest.approx(usual.percent, rel=1e-9)
        assert other.cross_checks["cubic"] == pytest.approx(usual.cross_checks["cubic"], rel=1e-6)


@pytest.mark.parametrize("offset", [0, 0.99, 99.99, 1e4, -1e6])
def test_where_the_metric_begins_does_not_matter(offset):
    """The powers of values that differ in their last digits alone are alike to least squares."""
    rates = [rate * by for rate, by in zip(RATES, (0.9, 1.1, 1.05, 0.93, 1.2), strict=True)]
    curves = [[offset + value for value in values] for values in (
        (0, 0.31, 0.6, 0.82, 1), (0.1, 0.35, 0.57, 0.85, 1.05))]  # fmt: skip
    for shrunk in (1, 0.01):
        anchor, test = ([offset + (v - offset) * shrunk for v in values] for values in curves)
        result = judge(RATES, anchor, rates, test)
        assert result.percent == pytest.approx(-4.946504, abs=2e-6)
        assert result.cross_checks["akima"] == pytest.approx(-4.917410, abs=2e-6)
        assert result.cross_checks["cubic"] == pytest.approx(-3.941145, abs=2e-6)


def test_unequal_lengths_name_the_side():
    with pytest.raises(DataError, match="test: 3 rates, 2 values"):
        judge(RATES, PSNR, [1, 2, 3], [1, 2])


# --- cautions -------------------------------------------------------------------------------------


def test_a_non_monotone_curve_is_reduced_and_the_points_are_named():
    rates, values = [*RATES, 0.5, 3.2], [*PSNR, 30.0, 36.0]
    result = judge(rates, values, scaled(RATES, 2), PSNR)
    assert result.verdict == "caution"
    assert result.percent == pytest.approx(100)
    assert result.dropped == (
        "anchor (0.5 bpp, 30): no better than anchor (0.4 bpp, 33.5)",
        "anchor (3.2 bpp, 36): no better than anchor (1.6 bpp, 37)",
    )
    assert reason(result, "anchor: 2 of 7 points dropped, not monotone")


def test_of_tied_points_the_cheaper_and_the_better_stay():
    rates, values = [*RATES, 0.9, 0.4], [*PSNR, 35.5, 32.0]
    result = judge(RATES, PSNR, rates, values)
    assert result.percent == 0
    assert result.dropped == (
        "test (0.4 bpp, 32): no better than test (0.4 bpp, 33.5)",
        "test (0.9 bpp, 35.5): no better than test (0.8 bpp, 35.5)",
    )


def test_points_that_are_not_finite_or_cost_nothing_are_dropped_and_named():
    rates = [*RATES, 0.3, 0.0, -1.0, math.nan, math.inf]
    values = [*PSNR, math.nan, 30.0, 30.0, 30.0, 38.0]
    result = judge(RATES, PSNR, rates, values)
    assert result.percent == 0
    assert result.verdict == "caution"
    assert set(result.dropped) == {
        "test (0.3 bpp, nan): not finite",
        "test (0 bpp, 30): the rate is not positive",
        "test (-1 bpp, 30): the rate is not positive",
        "test (nan bpp, 30): not finite",
        "test (inf bpp, 38): not finite",
    }
    assert reason(result, "test: 5 of 10 points dropped, not finite or without a positive rate")


def test_little_overlap_is_cautioned_however_little():
    result = judge(RATES, PSNR, RATES, [value + 8.5 for value in PSNR])
    assert (result.verdict, result.overlap) == ("caution", pytest.approx(0.5 / 17.5))
    assert reason(result, "overlap of the psnr ranges is 2.9%, under 75%")
    hardly = judge(RATES, PSNR, RATES, [value + 8.9999 for value in PSNR])
    assert reason(hardly, "overlap of the psnr ranges is below 0.1%, under 75%")
    edge = judge(RATES[:4], [0.0, 1, 2, 4], RATES[:4], [0.0, 1, 2, 3])  # exactly three quarters
    assert not reason(edge, "overlap")


def test_pchip_and_akima_far_apart_are_cautioned():
    values = (20.0, 20.1, 33.0, 33.1, 34.0)
    result = judge(RATES, PSNR, scaled(RATES, 1.1), values)
    akima = result.cross_checks["akima"]
    assert result.percent is not None
    assert akima is not None
    assert abs(result.percent - akima) > 2
    assert reason(result, "PCHIP and Akima differ by more than 2 points")


def test_pchip_and_akima_of_different_sign_are_cautioned():
    values = (28.0, 30.9, 33.3, 35.9, 37.0)
    found = None
    for step in range(400):  # crosses zero: at some shift the two straddle it
        result = judge(RATES, PSNR, scaled(RATES, 0.9 + step / 2000), values)
        akima = result.cross_checks["akima"]
        assert result.percent is not None
        assert akima is not None
        if result.percent * akima < 0:
            found = result
    assert found is not None
    assert reason(found, "differ in sign")


def test_what_the_caller_knows_is_a_caution():
    result = judge(RATES, PSNR, RATES, PSNR, cautions=["test: undertrained: λ_e 0.1"])
    assert (result.verdict, result.reasons) == ("caution", ("test: undertrained: λ_e 0.1",))


def test_every_reason_is_listed():
    result = judge([*RATES, 9.0, -1.0], [*PSNR, 1.0, 1.0], RATES[2:4], [41.0, 42.0],
                   cautions=["undertrained"])  # fmt: skip
    for text in (
        "no overlap",
        "test: 2 points",
        "anchor: 1 of 7 points dropped, not monotone",
        "anchor: 1 of 7 points dropped, not finite",
        "undertrained",
        "instead",
    ):
        assert reason(result, text), text


def test_points_can_carry_names():
    result = judge([0.1, 0.2], [2.0, 1.0], RATES, PSNR, anchor_names=["λ 1", "λ 2"])
    assert result.dropped == ("anchor λ 2 (0.2 bpp, 1): no better than anchor λ 1 (0.1 bpp, 2)",)


# --- cost -----------------------------------------------------------------------------------------


def test_importing_and_refusing_load_neither_torch_nor_matplotlib():
    code = """
import sys
import tcc.curves.files, tcc.curves.comparisons, tcc.curves.side_information
from tcc.curves.bdrate import verdict
refused = verdict([1, 2], [1, 2], [1], [3], metric="m", higher_is_better=True)
assert refused.verdict == "refused"
print([m for m in ("torch", "matplotlib", "bjontegaard", "ray") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
