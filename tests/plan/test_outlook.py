"""What a plan has ahead of it, in JSON and in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tcc.plan import Outlook, ledger, outlook, outlook_json
from tcc.plan.capacity import Node
from tcc.plan.outlook import cost_lines, duration_text
from tcc.records import Plan

Planned = Callable[..., Plan]
Store = Any  # the MemoryStore of conftest.py

LAPTOP = Node(name="this machine", cpu=4, gpu=0)
CLUSTER = [Node(name="head", cpu=8, gpu=1), Node(name="worker", cpu=16, gpu=2, count=3)]


def seen(plan: Plan, store: Store, *nodes: Node) -> Outlook:
    return outlook(plan, ledger(plan, store), store, nodes or [LAPTOP])


def test_nothing_is_known_of_a_first_study(planned: Planned, store: Store) -> None:
    plan = planned()
    ahead = seen(plan, store)
    assert [*cost_lines(ahead)] == ["cost: unknown, no like trial was measured yet"]
    cost = json.loads(json.dumps(outlook_json(ahead), allow_nan=False))["cost"]
    assert cost == {
        "cpu_hours": 0.0,
        "gpu_hours": 0.0,
        "unknown": len(plan),
        "measured": 0,
        "makespan_s": None,
        "nodes": [{"name": "this machine", "cpu": 4, "gpu": 0, "count": 1}],
        "too_large": [],
    }


def test_a_finished_study_has_nothing_ahead(planned: Planned, store: Store) -> None:
    plan = planned()
    store.finish_all(plan)
    ahead = seen(plan, store)
    assert [*cost_lines(ahead)] == ["nothing is left to do"]
    assert outlook_json(ahead)["cost"]["makespan_s"] == 0.0


def test_hours_and_makespan_are_of_what_is_left(planned: Planned, store: Store) -> None:
    store.finish_all(planned(), seconds=300.0)
    resources = "resources: {default: {cpu: 2}}\ntrain: {steps: 40"
    plan = planned(changes={"train: {steps: 20": resources})
    one, two = seen(plan, store), seen(plan, store, LAPTOP, LAPTOP)
    each_s = 2 * 300 + 2.0 + 1.5
    assert one.cost.cpu_hours == pytest.approx(len(plan) * each_s * 2 / 3600)
    assert one.makespan_s == pytest.approx(-(-len(plan) // 2) * each_s)  # two at once
    assert one.makespan_s / 2 <= two.makespan_s < one.makespan_s
    cost, makespan = cost_lines(one)
    assert cost == (
        f"cost: {one.cost.cpu_hours:.2f} CPU-hours, 0.00 GPU-hours for {len(plan)} trials, "
        f"as {one.cost.measured} like ones took"
    )
    assert makespan == f"makespan: {duration_text(one.makespan_s)} on this machine (4 CPU, 0 GPU)"


def test_what_is_not_known_is_said(planned: Planned, store: Store) -> None:
    plan = planned()
    first = next(trial for trial in plan if trial.kind == "base")
    store.finish(first)
    cost, uncounted, makespan = cost_lines(seen(plan, store))
    assert cost.endswith("as 1 like one took")
    bases = sum(trial.kind == "base" for trial in plan)
    assert f"{len(plan) - bases} trials not counted" in uncounted
    assert makespan.endswith("those not counted taken as the mean of the others")


def test_a_cluster_is_named_node_by_node(planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    plan = planned(changes={"steps: 20": "steps: 40"})
    *_, makespan = cost_lines(seen(plan, store, *CLUSTER))
    assert makespan.endswith("on head (8 CPU, 1 GPU), 3 × worker (16 CPU, 2 GPU)")


def test_what_no_node_holds_is_said_and_has_no_makespan(planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    resources = "resources: {base: {cpu: 99}}\ntrain: {steps: 40"
    plan = planned(changes={"train: {steps: 20": resources})
    ahead = seen(plan, store)
    assert ahead.makespan_s is None
    *_, refused = cost_lines(ahead)
    assert refused.startswith("`tcc run` would refuse: each base trial wants 99 CPU and 0 GPU")
    assert outlook_json(ahead)["cost"]["too_large"] == [*ahead.too_large]
    store.finish_all(planned(changes={"steps: 20": "steps: 40"}))
    assert seen(plan, store).too_large == ()  # what is done needs no room


@pytest.mark.parametrize(
    "seconds,text",
    [(0.25, "0.25 s"), (89, "89 s"), (90, "1.5 min"), (3600, "60 min"), (36000, "10 h"),
     (4.2 * 86400, "4.2 days")],
)  # fmt: skip
def test_durations_to_read(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
