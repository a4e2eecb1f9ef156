"""The graph of a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcc.plan import children, critical_path, descendants
from tcc.plan.graph import topological_order
from tcc.records import Plan

Planned = Callable[..., Plan]


def test_children_and_descendants(planned: Planned) -> None:
    plan = planned()
    needed = children(plan)
    assert [*needed] == [trial.id for trial in plan]
    by_id = {trial.id: trial for trial in plan}
    for trial in plan:
        assert all(trial.id in by_id[child].needs for child in needed[trial.id])
        assert descendants(plan, trial.id) == {
            below for child in needed[trial.id] for below in {child, *descendants(plan, child)}
        }
    base = next(trial for trial in plan if trial.kind == "base")
    below = {by_id[id].kind for id in descendants(plan, base.id)}
    assert below == {"enhancement", "direct", "standalone"}


def test_the_critical_path_is_the_longest_chain(planned: Planned) -> None:
    plan = planned()
    seconds = {"base": 10.0, "pretrain": 4.0, "enhancement": 5.0, "standalone": 2.0, "direct": 9.0}
    longest = critical_path(plan, {trial.id: seconds.get(trial.kind, 1.0) for trial in plan})
    expected = {"base": 19.0, "pretrain": 11.0, "enhancement": 7.0, "standalone": 2.0,
                "direct": 9.0, "single_layer": 1.0, "uncompressed": 1.0, "pixels": 1.0}  # fmt: skip
    for trial in plan:
        assert longest[trial.id] == expected[trial.kind]
    assert set(critical_path(plan, {}).values()) == {0.0}


@given(data=st.data())
def test_any_order_becomes_topological(data: st.DataObject) -> None:
    plan = PLAN[0]
    shuffled = data.draw(st.permutations(plan.trials))
    order = topological_order(shuffled)
    assert set(order) == set(plan.trials)
    seen: set[str] = set()
    for trial in order:
        assert seen.issuperset(trial.needs)
        seen.add(trial.id)


PLAN: list[Plan] = []


@pytest.fixture(autouse=True)
def _plan(planned: Planned) -> None:
    PLAN[:] = [planned()]


def test_a_topological_order_is_kept(planned: Planned) -> None:
    assert topological_order(planned().trials) == planned().trials


def test_circles_and_missing_trials_are_refused(planned: Planned) -> None:
    a, b = planned().trials[:2]
    circle = [replace(a, needs=(b.id,)), replace(b, needs=(a.id,))]
    with pytest.raises(ValueError, match="in a circle"):
        topological_order(circle)
    with pytest.raises(ValueError, match="gone is needed and not there"):
        topological_order([replace(a, needs=("gone",))])
