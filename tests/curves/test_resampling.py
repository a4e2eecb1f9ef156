"""BD-rates of many resamples at once are those that `bjontegaard` gives of each."""

from __future__ import annotations

import numpy as np
import pytest

from tcc.curves.bdrate import verdict
from tcc.curves.resampling import resampled_bd_rates, resampled_curve

RESAMPLES = 80


def one_by_one(anchor, test):
    """The verdict's BD-rate of each resample, NaN where it is refused."""
    columns = zip(*(values.T for values in (*anchor, *test)))
    found = [verdict(*pair, metric="m", higher_is_better=True).percent for pair in columns]
    return np.array([np.nan if percent is None else percent for percent in found])


def at_once(anchor, test):
    return resampled_bd_rates(resampled_curve(*anchor), resampled_curve(*test))


def noisy(random, points, noise, shift=0.0, slope=1.0):
    """A logarithmic curve: rates and scores, ``(points, RESAMPLES)``."""
    rate = 0.1 * np.exp(np.linspace(0, 3, points))[:, None]
    rates = rate * np.exp(noise * random.normal(size=(points, RESAMPLES)))
    scores = 30 + 3 * slope * np.log(rate) + 2 * noise * random.normal(size=(points, RESAMPLES))
    return rates, scores + shift


@pytest.mark.parametrize("points", [4, 5, 9])
@pytest.mark.parametrize("noise", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("shift", [0.0, 2.0, 7.0])
def test_each_resample_is_what_the_package_gives(points, noise, shift):
    random = np.random.default_rng(points)
    anchor, test = noisy(random, points, noise), noisy(random, 5, noise, shift, slope=1.3)
    expected = one_by_one(anchor, test)
    found = at_once(anchor, test)
    assert (np.isnan(found) == np.isnan(expected)).all()
    defined = ~np.isnan(expected)
    assert found[defined] == pytest.approx(expected[defined], rel=1e-9, abs=1e-9)


def test_flat_and_steep_ends_are_interpolated_alike():
    """A parabola through three points would fall there; the slope is nought instead."""
    rates = np.array([[0.1, 0.1], [0.11, 0.2], [0.9, 0.9], [0.91, 0.91]])
    scores = np.array([[28.0, 28.0], [33.0, 28.1], [33.1, 33.0], [37.0, 33.1]])
    other = (
        np.geomspace(0.1, 1, 4)[:, None].repeat(2, 1),
        np.linspace(27, 38, 4)[:, None].repeat(2, 1),
    )
    assert at_once((rates, scores), other) == pytest.approx(one_by_one((rates, scores), other))


def test_order_ties_zero_rates_and_dominated_points_are_as_in_the_reduction():
    rates = np.array([0.4, 0.1, 0.2, 0.4, 0.0, 0.8, 0.8, 0.3])[:, None]
    scores = np.array([33.0, 28.0, 31.0, 32.0, 40.0, 35.0, 36.0, 31.0])[:, None]
    anchor = np.array([[0.1], [0.2], [0.4], [0.8]]), np.array([[28.0], [31.0], [33.0], [36.0]])
    assert at_once(anchor, (rates, scores)) == pytest.approx([0.0], abs=1e-12)
    assert at_once(anchor, (2 * rates, scores)) == pytest.approx([100.0])


def test_what_would_be_refused_has_no_number():
    rates = np.array([[0.1], [0.2], [0.4], [0.8]])
    scores = np.array([[28.0], [31.0], [33.0], [36.0]])
    for other in (
        (rates, scores + 8),  # they touch
        (rates, scores + 20),
        (rates[:3], scores[:3]),
        (rates, scores[::-1]),
        (0 * rates, scores),
    ):
        assert np.isnan(at_once((rates, scores), other)).all()
        assert np.isnan(at_once(other, (rates, scores))).all()
