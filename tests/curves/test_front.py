"""One curve cleaned and reduced."""

from __future__ import annotations

import pytest

from tcc.curves.front import overlap, reduce


def front(values, rates=(0.1, 0.2, 0.4, 0.8), *, sign: float = 1.0):
    return reduce("test", rates, values, sign=sign)


def test_rates_and_scores_rise_whatever_the_order_and_direction():
    lower = front((4.0, 9.0, 5.0, 7.0), rates=(0.8, 0.1, 0.4, 0.2), sign=-1.0)
    assert lower.rates == (0.1, 0.2, 0.4, 0.8)
    assert lower.scores == (-9.0, -7.0, -5.0, -4.0)
    assert lower.dropped == ()


def test_the_front_keeps_what_nothing_dominates():
    kept = front((30.0, 29.0, 33.0, 33.0))
    assert list(zip(kept.rates, kept.scores, strict=True)) == [(0.1, 30.0), (0.4, 33.0)]
    assert len(kept.usable) == 4
    assert [item.split(":")[0] for item in kept.dropped] == [
        "test (0.2 bpp, 29)",
        "test (0.8 bpp, 33)",
    ]


def test_overlap_is_intersection_over_union():
    one, two = front((0.0, 1.0, 2.0, 4.0)), front((3.0, 4.0, 5.0, 8.0))
    assert overlap(one, two) == pytest.approx(1 / 8)
    assert overlap(one, one) == 1
    assert overlap(one, reduce("a", [], [], sign=1)) == 0
    flat = reduce("a", [1.0], [2.0], sign=1)
    assert overlap(flat, flat) == 0


def test_between_points_the_logarithm_of_the_rate_is_linear():
    curve = front((10.0, 20.0, 30.0, 40.0))
    assert curve.rate_at(15.0) == pytest.approx((0.1 * 0.2) ** 0.5)
    assert curve.score_at((0.1 * 0.2) ** 0.5) == pytest.approx(15.0)
    assert curve.rate_at(10.0) == pytest.approx(0.1)
    assert curve.rate_at(40.0) == pytest.approx(0.8)
    assert curve.rate_at(9.99) is None
    assert curve.score_at(0.81) is None
