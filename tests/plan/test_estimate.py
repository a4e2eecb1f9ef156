"""What a plan costs, from history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tcc.plan import Estimate, estimate, ledger, plan_to_json
from tcc.plan.estimate import SAMPLES, STUDIES
from tcc.plan.past import keep_past
from tcc.records import Plan

Planned = Callable[..., Plan]
Store = Any  # the MemoryStore of conftest.py
STEPS = "train: {steps: 20"
NAME = "study: some"


def estimated(plan: Plan, store: Store) -> Estimate:
    return estimate(plan, ledger(plan, store), store)


def test_without_history_nothing_is_known(planned: Planned, store: Store) -> None:
    plan = planned()
    assert estimated(plan, store) == Estimate(
        seconds={}, cpu_hours=0.0, gpu_hours=0.0, unknown=len(plan), measured=0
    )


def test_a_finished_study_costs_nothing(planned: Planned, store: Store) -> None:
    plan = planned()
    store.finish_all(plan)
    cost = estimated(plan, store)
    assert (cost.seconds, cost.unknown) == ({}, 0)


def test_like_trials_cost_what_was_measured(planned: Planned, store: Store) -> None:
    resources = f"resources: {{base: {{cpu: 4, gpu: 0.5}}}}\n{STEPS}"
    plan = planned(changes={STEPS: resources})
    bases = [trial for trial in plan if trial.kind == "base"]
    store.finish(bases[0], seconds=10.0)
    store.finish(bases[1], seconds=30.0)
    cost = estimated(plan, store)
    assert [*cost.seconds] == [base.id for base in bases[2:]]
    assert set(cost.seconds.values()) == {20.0 + 2.0 + 1.5}
    assert cost.cpu_hours == pytest.approx(2 * 23.5 * 4 / 3600)
    assert cost.gpu_hours == pytest.approx(2 * 23.5 * 0.5 / 3600)
    assert cost.unknown == len(plan) - 4
    assert cost.measured == 2


def test_the_history_of_another_study_counts_by_its_steps(planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    plan = planned(changes={NAME: "study: other", "steps: 20": "steps: 40"})
    cost = estimated(plan, store)
    assert cost.unknown == 0
    assert set(cost.seconds.values()) == {20.0 + 3.5}


def test_the_history_of_an_older_recipe_counts(planned: Planned, store: Store) -> None:
    old, new = planned(), planned(changes={"steps: 20": "steps: 40"})
    store.finish_all(old)
    assert set(estimated(new, store).seconds.values()) == {20.0 + 3.5}
    far = planned(changes={"channels: [4, 4, 8]": "channels: [8, 8, 8]"})
    keep_past("some", store, "study: some\n", plan_to_json(far))
    assert set(estimated(new, store).seconds.values()) == {20.0 + 3.5}


def test_few_records_of_other_studies_are_read(planned: Planned, store: Store) -> None:
    """A trial of each kind of training that is looked for, wherever among thousands it is."""
    seeds = ", ".join(str(seed) for seed in range(1, 9))
    grid = {"beta: [0, 0.1]": f"beta: [0, 0.1]\n  seed: [{seeds}]"}
    store.finish_all(planned(changes={NAME: "study: a", "latent: 4": "latent: 8"} | grid))
    store.finish_all(planned(changes={NAME: "study: z"} | grid))
    plan = planned()
    states = ledger(plan, store)
    store.reads.clear()
    cost = estimate(plan, states, store)
    assert cost.unknown == 0
    records = [read for read in store.reads if "/" not in read]
    kinds = 2 * 4 + 3 + 2  # of two enhancements, of the base's own, of pixels
    assert cost.measured <= len(records) <= SAMPLES * (kinds + 3) < len(store.records) / 10


def test_the_plans_of_a_limited_number_of_studies_are_read(planned: Planned, store: Store) -> None:
    plan = planned(changes={"steps: 20": "steps: 40"})
    store.finish_all(planned(changes={NAME: "study: zz"}))
    for number in range(STUDIES + 10):
        store.write_study(f"a{number:03}", "plan.json", "torn")
    assert estimated(plan, store).unknown == len(plan)
    assert {read.split("/")[0] for read in store.reads} == {
        "some", *(f"a{number:03}" for number in range(10, STUDIES + 10))
    }  # fmt: skip
    store.files["zz"] = store.files.pop("zz")  # of all studies, it was planned last
    assert estimated(plan, store).unknown == 0


def test_a_larger_model_is_not_alike(planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    plan = planned(changes={NAME: "study: other", "channels: [4, 4, 8]": "channels: [8, 8, 8]"})
    cost = estimated(plan, store)
    assert cost.seconds == {}  # nor is a standalone, whose sizes are those of its parents
    assert cost.unknown == sum(trial.kind != "pixels" for trial in plan)  # which have no codec


@pytest.mark.parametrize(
    "train",
    [
        "accumulate: 2", "devices: 2", "deterministic: true", "batch: 4", "precision: bf16",
        "threads: 2",
    ],
)  # fmt: skip
def test_another_way_to_step_is_not_alike(train: str, planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    plan = planned(changes={NAME: "study: other", "train: {": f"train: {{{train}, "})
    assert estimated(plan, store).unknown == len(plan)


def test_what_its_parents_were_trained_like_makes_a_trial_no_slower(
    planned: Planned, store: Store
) -> None:
    store.finish_all(planned())
    plan = planned(changes={NAME: "study: other", STEPS: f"{STEPS}, base: {{batch: 4}}"})
    known, states = estimated(plan, store).seconds, ledger(plan, store)
    assert {trial.kind for trial in plan if trial.id in known} == {
        "enhancement", "direct", "standalone"
    }  # fmt: skip
    unknown = {id for id, state in states.items() if state.state != "cached"} - known.keys()
    assert {trial.kind for trial in plan if trial.id in unknown} == {"base"}


def test_a_gpu_is_not_a_cpu(planned: Planned, store: Store) -> None:
    on_gpu = {STEPS: f"resources: {{default: {{gpu: 1}}}}\n{STEPS}"}
    plan = planned(changes=on_gpu | {"steps: 20": "steps: 40"})
    store.finish_all(planned())
    assert estimated(plan, store).unknown == len(plan)
    store.finish_all(planned(changes=on_gpu), seconds=1.0)  # the same trials, run on one
    assert set(estimated(plan, store).seconds.values()) == {2.0 + 3.5}


def test_where_a_trial_really_ran_counts(planned: Planned, store: Store) -> None:
    """A trial that was to have a GPU, run by `tcc trial` on a machine without one."""
    on_gpu = {STEPS: f"resources: {{default: {{gpu: 1}}}}\n{STEPS}"}
    store.finish_all(planned(changes=on_gpu))
    for id, record in store.records.items():
        store.records[id] = replace(record, provenance=replace(record.provenance, device="cpu"))
    another = {"steps: 20": "steps: 40"}
    assert not estimated(planned(changes=on_gpu | another), store).seconds
    own = planned(changes=on_gpu)
    store.forget_evaluations(own.trials[0].id)
    assert estimated(own, store).unknown == 1


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
    cost = estimated(plan, store)
    assert cost.seconds
    assert cost.unknown == 0


def test_evaluations_alone_cost_no_training(planned: Planned, store: Store) -> None:
    plan = planned()
    store.finish_all(plan)
    store.forget_evaluations(plan.trials[0].id)
    assert estimated(plan, store).seconds == {plan.trials[0].id: 1.5 + 2.0}


def test_each_kind_of_evaluation_costs_its_own(planned: Planned, store: Store) -> None:
    both = f"evaluate: [{{split: val}}, {{split: train}}]\n{STEPS}"
    base = next(trial for trial in planned(changes={STEPS: both}) if trial.kind == "base")
    store.finish(base)
    record = store.records[base.id]
    slow = {"val": 1.0, "train": 100.0}
    measured = [
        replace(item, timings={"evaluate": slow[item.evaluation.split]})
        for item in record.evaluations
    ]
    store.records[base.id] = replace(record, evaluations=tuple(measured))

    def seconds(splits: str) -> set[float]:
        plan = planned(changes={STEPS: f"evaluate: [{splits}]\n{STEPS}"})
        found = estimated(plan, store).seconds
        others = [trial.id for trial in plan if trial.kind == "base" and trial.id != base.id]
        return {found[id] - 11.5 for id in others}

    assert seconds("{split: val}, {split: train}") == {101.0}
    assert seconds("{split: train}") == {100.0}
    assert seconds("{split: select}") == {4 * (1.0 / 4 + 100.0 / 16) / 2}  # as any evaluation


@pytest.mark.parametrize("data", ["size: 128", "train: 64", "select: 8", "classes: 3"])
def test_other_images_are_not_alike(data: str, planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    name = data.partition(":")[0]
    count = {"train": "train: 16", "select": "select: 4"}.get(name)
    changes = {count: data} if count else {"data: {scenes: {": f"data: {{scenes: {{{data}, "}
    plan = planned(changes={NAME: "study: other"} | changes)
    assert estimated(plan, store).unknown == len(plan)


def test_other_scenes_of_the_same_kind_are_alike(planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    another = {"data: {scenes: {": "data: {scenes: {seed: 7, root: elsewhere, "}
    plan = planned(changes=another)
    assert not set(store.records) & {trial.id for trial in plan}
    assert estimated(plan, store).unknown == 0


def test_an_evaluation_costs_by_its_images(planned: Planned, store: Store) -> None:
    store.finish_all(planned())
    many = {"val: 4": "val: 4000"}
    cost = estimated(planned(changes=many | {"steps: 20": "steps: 40"}), store)
    assert set(cost.seconds.values()) == {1.5 + 20.0 + 2.0 * 1000}
    again = estimated(planned(changes=many), store)  # what is trained stands
    assert set(again.seconds.values()) == {1.5 + 2.0 * 1000}
    assert again.unknown == 0


def test_the_images_of_a_folder_are_told_by_its_files(
    planned: Planned, store: Store, tmp_path: Path
) -> None:
    def on(name: str, count: int, *, at: str = "") -> Plan:
        folder = tmp_path / (at or name)
        for split in ("train", "val"):
            for number in range(count):
                path = folder / split / "a" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (16 + number, 16)).save(path)
        data = f"{{imagefolder: {{root: {folder}}}}}"
        text = f"study: {name}\ndata: {data}\npairs: [{{base: classification, enhancement: "
        text += "reconstruction}]\ngrid: {lambda_b: [1], lambda_e: [1]}\n"
        return planned(text)

    store.finish_all(on("one", 3))
    assert estimated(on("one", 3, at="copy"), store).unknown == 0
    more = on("two", 30)
    assert estimated(more, store).unknown == len(more)
