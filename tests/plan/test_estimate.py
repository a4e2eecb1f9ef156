"""What a plan costs, from history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcc.plan import estimate, ledger
from tcc.records import Plan

Planned = Callable[..., Plan]
Store = Any  # the MemoryStore of conftest.py


def test_without_history_nothing_is_known(planned: Planned, store: Store) -> None:
    plan = planned()
    cost = estimate(plan, ledger(plan, store), store)
    assert (cost.seconds, cost.cpu_hours, cost.gpu_hours, cost.unknown) == ({}, 0.0, 0.0, len(plan))


def test_a_finished_study_costs_nothing(planned: Planned, store: Store) -> None:
    plan = planned()
    store.finish_all(plan)
    cost = estimate(plan, ledger(plan, store), store)
    assert (cost.seconds, cost.unknown) == ({}, 0)


def test_like_trials_cost_what_was_measured(planned: Planned, store: Store) -> None:
    resources = "resources: {base: {cpu: 4, gpu: 0.5}}\ntrain: {steps: 20"
    plan = planned(changes={"train: {steps: 20": resources})
    bases = [trial for trial in plan if trial.kind == "base"]
    store.finish(bases[0], seconds=10.0)
    store.finish(bases[1], seconds=30.0)
    cost = estimate(plan, ledger(plan, store), store)
    assert [*cost.seconds] == [base.id for base in bases[2:]]
    assert set(cost.seconds.values()) == {20.0 + 2.0 + 1.5}
    assert cost.cpu_hours == pytest.approx(2 * 23.5 * 4 / 3600)
    assert cost.gpu_hours == pytest.approx(2 * 23.5 * 0.5 / 3600)
    assert cost.unknown == len(plan) - 4


def test_the_history_of_another_study_counts_by_its_steps(planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    plan = planned(changes={"steps: 20": "steps: 40"})
    cost = estimate(plan, ledger(plan, store), store)
    assert cost.unknown == 0
    assert set(cost.seconds.values()) == {20.0 + 3.5}


def test_a_larger_model_is_not_alike(planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    plan = planned(changes={"channels: [4, 4, 8]": "channels: [8, 8, 8]"})
    cost = estimate(plan, ledger(plan, store), store)
    assert cost.seconds == {}  # nor is a standalone, whose sizes are those of its parents
    assert cost.unknown == sum(trial.kind != "pixels" for trial in plan)  # which have no codec


@pytest.mark.parametrize(
    "train", ["accumulate: 2", "devices: 2", "deterministic: true", "batch: 4", "precision: bf16"]
)
def test_another_way_to_step_is_not_alike(train: str, planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    plan = planned(changes={"train: {": f"train: {{{train}, "})
    assert estimate(plan, ledger(plan, store), store).unknown == len(plan)


def test_what_a_model_starts_from_makes_its_steps_no_slower(
    planned: Planned, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "a.pt").write_bytes(b"a")
    (tmp_path / "b.pt").write_bytes(b"b")

    def on(file: str) -> Plan:
        tasks = f"tasks: {{depth: {{weights: {tmp_path}/{file}}}}}\ntrain: {{"
        return planned(changes={"train: {": tasks})

    store.finish_all(on("a.pt"))
    plan = on("b.pt")
    cost = estimate(plan, ledger(plan, store), store)
    assert cost.seconds
    assert cost.unknown == 0


def test_evaluations_alone_cost_no_training(planned: Planned, store: Store) -> None:
    plan = planned()
    store.finish_all(plan)
    store.forget_evaluations(plan.trials[0].id)
    cost = estimate(plan, ledger(plan, store), store)
    assert cost.seconds == {plan.trials[0].id: 3.5}
