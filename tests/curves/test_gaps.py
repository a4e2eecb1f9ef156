"""Which λ a verdict lacks, and what no λ can mend."""

from __future__ import annotations

import math

import pytest

from tcc.curves.comparisons import compare
from tcc.curves.gaps import REACH, gaps
from tcc.curves.points import curves_of

LAMBDAS = (0.1, 0.3, 1.0, 3.0)


@pytest.fixture
def gap(make):
    """``gap(anchor, test)``: of the bases of two β, each λ_b → (rate, error), over three seeds."""

    def build(anchor, test, *, planned=(), lost=(), seeds=(0, 1, 2)):
        records = []
        for beta, points in ((0.0, anchor), (0.1, test)):
            for lmbda, (rate, error) in points.items():
                for seed in seeds:
                    axes = {"lambda_b": lmbda, "beta": beta}
                    spec = make.spec("base", ("depth",), axes, seed=seed)
                    measured = make.evaluation(spec.id, {"base.y": rate}, {"depth/rmse": error})
                    records.append(make.record(spec, measured))
        trials = [record.trial for record in records]
        for beta, lmbda in planned:
            trials.append(make.spec("base", ("depth",), {"lambda_b": lmbda, "beta": beta}))
        records = [
            it
            for it in records
            if (it.trial.axes["beta"], it.trial.axes["lambda_b"], it.trial.seed) not in lost
        ]
        curves = curves_of(records, {})
        return gaps(compare(curves, anchor={"beta": 0.0}), curves, trials)

    return build


def power(lambdas=LAMBDAS, *, dear: float = 1.0, better: float = 0.0):
    """Rate ∝ √λ, error falling by 1 with each factor e of the rate."""
    points = {}
    for lmbda in lambdas:
        rate = 0.2 * lmbda**0.5
        points[lmbda] = (dear * rate, 5 - math.log(rate) - better)
    return points


def proposed(gap):
    return {it.key.fixed["beta"]: [axes["lambda_b"] for axes in it.axes] for it in gap.proposals}


def test_what_is_ok_lacks_nothing(gap):
    assert gap(power(), power(dear=0.9)) == ()


def test_too_few_points_get_one_in_the_widest_gap_of_the_rates(gap):
    (found,) = gap(power(), power((0.1, 0.3, 3.0), dear=0.9))
    assert proposed(found) == {0.1: [pytest.approx(math.sqrt(0.3 * 3.0), rel=0.03)]}
    assert found.proposals[0].why == "fewer than 4 points"
    assert found.advice == ()
    (found,) = gap(power(), power((0.1,)))  # one point has no slope
    assert proposed(found)[0.1] == [0.033, 0.3, 0.9]
    assert any("no slope" in line for line in found.advice)


def test_little_overlap_is_closed_from_both_ends(gap):
    shift = 1.0
    anchor, test = power(), power(better=shift)
    (found,) = gap(anchor, test)
    # the anchor reaches the test's best where its rate is e times as high: λ e² times
    up, down = proposed(found)[0.0], proposed(found)[0.1]
    assert up[-1] == pytest.approx(3.0 * math.e**2, rel=0.05)
    assert down[0] == pytest.approx(0.1 / math.e**2, rel=0.05)
    assert len(up) == len(down) == 2  # no step wider than half as much again as the grid's
    longer = power((*LAMBDAS, *up)), power((*down, *LAMBDAS), better=shift)
    assert gap(*longer) == ()


def test_no_lambda_goes_beyond_the_stated_factor(gap):
    (found,) = gap(power(), power(better=1.9))
    assert max(proposed(found)[0.0]) == pytest.approx(3.0 * REACH)
    assert min(proposed(found)[0.1]) == pytest.approx(0.1 / REACH)
    assert any("10 times beyond the grid, depth/rmse is expected to be" in line
               for line in found.advice)  # fmt: skip


def test_curves_too_far_apart_get_no_lambda(gap):
    (found,) = gap(power(), power(better=9))
    assert found.proposals == ()
    assert any("compare at equal rate" in line for line in found.advice)


def test_more_lambdas_do_not_help_a_curve_that_is_not_monotone(gap):
    bad = power() | {1.0: (0.2, 9.0)}
    (found,) = gap(bad, power())
    assert found.comparison.summary.verdict == "refused"
    assert found.proposals == ()
    assert any("anchor: not monotone: more seeds or longer training" in it for it in found.advice)
    assert any("more λ do not help" in line for line in found.advice)


def test_planned_lambdas_are_waited_for(gap):
    (found,) = gap(power((0.1, 0.3, 1.0)), power(), planned=[(0.0, 3.0)])
    assert found.proposals == ()
    first = "`tcc run` first, or `tcc retry` where it failed"
    undone = f"anchor: lambda_b 3 planned and not done: {first}"
    assert undone in found.advice
    (found,) = gap(power(), power(dear=0.9), lost=[(0.0, 3.0, 2)])  # of one seed alone
    assert found.proposals == ()
    assert found.advice == (undone,)


def test_few_seeds_are_no_matter_of_lambda(gap):
    (found,) = gap(power(), power(dear=0.9), seeds=(0, 1))
    assert found.proposals == ()
    assert found.advice == ("2 seeds: 3 or more (grid.seed) give an interval",)
    (found,) = gap(power(), power(dear=0.9), seeds=(0,))
    assert found.advice == ("1 seed: 3 or more (grid.seed) give an interval",)


def test_where_both_lambdas_move_both_are_proposed(zipped):
    lost = 1.0, 0.1  # λ_b, λ_e of a point that is in no plan
    records = [
        item
        for item in zipped(0, 1, 2)
        if (item.trial.axes.get("lambda_b"), item.trial.axes.get("lambda_e")) != lost
    ]
    curves = curves_of(records, {})
    rows = compare(curves, anchor={"beta": 0.0})
    found = gaps(rows, curves, [item.trial for item in records])
    own = next(gap for gap in found if gap.comparison.test.family == "enhancement_only")
    for proposal in own.proposals:
        (axes,) = proposal.axes
        assert 0.05 < axes["lambda_e"] < 0.3
        assert 0.3 < axes["lambda_b"] < 3.0
    assert len(own.proposals) == 2
