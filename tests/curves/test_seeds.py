"""Means and intervals over seeds."""

from __future__ import annotations

import pytest

from tcc.curves.seeds import average, bootstrap_interval, summarise, t_interval
from tcc.records import BDRate


def result(percent: float | None, *reasons: str, akima: float | None = None) -> BDRate:
    return BDRate(
        anchor="a",
        test="t",
        metric="m",
        percent=percent,
        method="pchip",
        cross_checks={"akima": percent if akima is None else akima, "cubic": None},
        overlap=0.9,
        num_points={"anchor": 4, "test": 5},
        dropped=("anchor (1 bpp, 2)",) if reasons else (),
        interval=None,
        verdict="refused" if percent is None else "caution" if reasons else "ok",
        reasons=reasons,
        metric_change=None if percent is None else -percent / 10,
        rate_overlap=0.8,
    )


def test_three_seeds_give_a_mean_and_students_interval():
    summary, bootstrap = summarise({0: result(-4.0), 1: result(-5.0), 2: result(-6.0)})
    assert summary.percent == pytest.approx(-5)
    # t(0.975, 2) = 4.302653, standard error 1/√3
    assert summary.interval == pytest.approx((-5 - 2.484138, -5 + 2.484138), abs=1e-6)
    assert (summary.verdict, summary.reasons) == ("ok", ())
    assert summary.cross_checks["akima"] == pytest.approx(-5)
    assert bootstrap is None
    assert summary.metric_change == pytest.approx(0.5)
    assert summary.metric_interval == pytest.approx((0.5 - 0.2484138, 0.5 + 0.2484138), abs=1e-6)


def test_below_three_seeds_there_is_no_interval_and_the_verdict_says_so():
    for count in (1, 2):
        summary, _ = summarise({seed: result(-4.0) for seed in range(count)})
        assert summary.percent == pytest.approx(-4)
        assert summary.interval is None
        assert summary.verdict == "caution"
        assert summary.reasons == (f"fewer than 3 seeds: {count}, so no interval",)


def test_five_seeds_give_a_bootstrap_interval_too():
    values = [-4.0, -5.0, -6.0, -4.5, -5.5]
    summary, bootstrap = summarise({seed: result(value) for seed, value in enumerate(values)})
    assert bootstrap is not None
    assert summary.interval is not None
    assert -6 < bootstrap[0] < -5 < bootstrap[1] < -4
    assert bootstrap[1] - bootstrap[0] < summary.interval[1] - summary.interval[0]
    assert bootstrap_interval(values[::-1]) == bootstrap  # neither order nor call changes it
    assert bootstrap_interval(values[:4]) is None


def test_a_refused_seed_is_left_out_and_named():
    seeds = {0: result(-4.0), 1: result(None, "no overlap", akima=0.0), 2: result(-6.0)}
    summary, _ = summarise(seeds)
    assert summary.percent == pytest.approx(-5)
    assert summary.verdict == "caution"
    assert summary.interval is None  # two values are no three
    assert "fewer than 3 seeds with a BD-rate: 2, so no interval" in summary.reasons
    assert "1 of 3 refused and left out of the mean" in summary.reasons
    assert "seed 1: no overlap" in summary.reasons
    assert summary.dropped == ("seed 1: anchor (1 bpp, 2)",)


def test_all_refused_is_refused():
    summary, _ = summarise({seed: result(None, "no overlap") for seed in range(3)})
    assert (summary.verdict, summary.percent, summary.interval) == ("refused", None, None)
    assert "fewer than 3 seeds with a BD-rate: 0, so no interval" in summary.reasons
    assert "seed 0, seed 1, seed 2: no overlap" in summary.reasons


def test_an_average_takes_the_worst_overlap_and_counts():
    narrow = average({"λ_b 1": result(-1.0), "λ_b 3": result(-3.0, "overlap is little")})
    assert narrow.percent == pytest.approx(-2)
    assert narrow.reasons == ("λ_b 3: overlap is little",)
    assert dict(narrow.num_points) == {"anchor": 4, "test": 5}


def test_an_interval_does_not_pass_below_minus_100():
    interval = t_interval([-99.0, -20.0, -99.0], least=-100.0)
    assert interval is not None
    assert interval[0] == -100
    assert t_interval([1.0, 2.0]) is None
    assert t_interval([1.0, 1.0, 1.0]) == (1.0, 1.0)
