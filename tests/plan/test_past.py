"""Plans that were replaced, and what is left of their results."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tcc import registry
from tcc.plan import ledger, outlook, outlook_json, plan_to_json
from tcc.plan.capacity import Node
from tcc.plan.outlook import older_lines
from tcc.plan.past import Older, keep_past, older_results, past
from tcc.records import LOOP_VERSION, Plan
from tcc.stores import Store, open_store

Planned = Callable[..., Plan]
Finish = Callable[..., None]
Memory = Any  # the MemoryStore of conftest.py

LOOP = LOOP_VERSION
TASK = registry.load("tasks", "segmentation").version
LOOP_RAISED = f"training loop {LOOP} (now {LOOP + 1})"
TASK_RAISED = f"task segmentation {TASK} (now {TASK + 1})"
HERE = [Node(name="here", cpu=1, gpu=0)]


@pytest.fixture
def opened(tmp_path: Path) -> Store:
    """A real store in a folder."""
    return open_store(tmp_path / "runs")


@pytest.fixture
def finish(opened: Store, store: Memory) -> Callable[..., None]:
    """Leaves the real store as a run of a plan does, but for trials of some kinds."""

    def finished(plan: Plan, *without: str) -> None:
        keep(opened, plan)
        for trial in plan:
            if trial.kind not in without:
                sha = opened.save_checkpoint(
                    trial.id, lambda path: save_file({"w": np.zeros(1, np.float32)}, path)
                )
                store.finish(trial, checkpoint=sha)
                opened.commit(store.records[trial.id])

    return finished


def keep(store: Store, plan: Plan, spec_text: str = "") -> None:
    keep_past(plan.study, store, spec_text or f"study: {plan.study}\n", plan_to_json(plan))


def found(plan: Plan, store: Store) -> tuple[Older, ...]:
    return older_results(plan, ledger(plan, store), store)


def said(older: Older) -> str:
    return ", ".join(str(change) for change in older.changes)


def test_a_study_without_a_past(planned: Planned, opened: Store) -> None:
    assert past("some", opened) == ()
    plan = planned()
    assert found(plan, opened) == ()
    keep(opened, plan, "study: some\n")
    assert opened.read_study("some", "spec.yaml") == "study: some\n"
    assert opened.read_study("some", "plan.json") == plan_to_json(plan)
    assert past("some", opened) == ()


def test_a_plan_whose_trials_are_lost_is_kept(
    planned: Planned, opened: Store, finish: Finish
) -> None:
    old, new = planned(), planned(changes={"latent: 4": "latent: 8"})
    finish(old, "direct")
    keep(opened, new, "study: some  # new\n")
    (kept,) = past("some", opened)
    assert kept.plan == old
    assert kept.results == sum(trial.kind != "direct" for trial in old)
    assert len(kept.digest) == 12
    assert kept.replaced_at[:2] == "20"
    assert kept.replaced_at.endswith("+00:00")
    folder = f"past/{kept.digest}"
    assert opened.read_study("some", f"{folder}/spec.yaml") == "study: some\n"
    assert opened.read_study("some", f"{folder}/plan.json") == plan_to_json(old)
    assert opened.read_study("some", "spec.yaml") == "study: some  # new\n"
    assert opened.read_study("some", "plan.json") == plan_to_json(new)


def test_a_plan_that_lost_nothing_is_not_kept(planned: Planned, opened: Store) -> None:
    keep(opened, planned())
    keep(opened, planned(changes={"lambda_b: [0.1, 1]": "lambda_b: [0.1, 1, 10]"}))
    labels = planned(changes={"lambda_b: [0.1, 1]": "lambda_b: [0.1, 1, 10]",
                              "train: {": "evaluate: [{split: train}]\ntrain: {"})  # fmt: skip
    keep(opened, labels, "study: some\nevaluate: [{split: train}]\n")
    assert past("some", opened) == ()
    assert opened.read_study("some", "plan.json") == plan_to_json(labels)


def test_what_goes_and_comes_back_is_kept_once(planned: Planned, opened: Store) -> None:
    one, two = planned(), planned(changes={"latent: 4": "latent: 8"})
    three = planned(changes={"latent: 4": "latent: 6"})
    for plan in (one, two, one, two, three):
        keep(opened, plan)
    assert [kept.plan for kept in past("some", opened)] == [one, two]


def test_what_is_written_already_keeps_its_date(
    planned: Planned, opened: Store, tmp_path: Path
) -> None:
    keep(opened, planned())
    folder = tmp_path / "runs" / "studies" / "some"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    keep(opened, planned())
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_plan_of_a_foreign_version_is_kept_though_it_cannot_be_read(
    planned: Planned, opened: Store, tmp_path: Path
) -> None:
    foreign = plan_to_json(planned()).replace('{"schema": 2', '{"schema": 1')
    opened.write_study("some", "spec.yaml", "study: some\n")
    opened.write_study("some", "plan.json", foreign)
    plan = planned(changes={"latent: 4": "latent: 8"})
    assert found(plan, opened) == ()
    keep(opened, plan)
    assert past("some", opened) == ()
    kept = [*(tmp_path / "runs" / "studies" / "some" / "past").glob("*/plan.json")]
    assert [file.read_text() for file in kept] == [foreign]


@pytest.mark.parametrize(
    "text",
    ["", "[", "{}", "[3]", '[{"digest": "x"}]', "null",
     '[{"digest": "../../x", "replaced_at": "2026-11-20"}]'],
)  # fmt: skip
def test_a_spoilt_index_hides_the_past_and_stops_nothing(
    planned: Planned, opened: Store, text: str
) -> None:
    keep(opened, planned())
    keep(opened, planned(changes={"latent: 4": "latent: 8"}))
    assert len(past("some", opened)) == 1
    opened.write_study("some", "past/index.json", text)
    assert past("some", opened) == ()
    keep(opened, planned(changes={"latent: 4": "latent: 6"}))
    assert len(past("some", opened)) == 1


def raise_versions(monkeypatch: pytest.MonkeyPatch, *, loop: bool, task: str = "") -> None:
    module = import_module("tcc.plan.expand")
    if loop:
        monkeypatch.setattr(module, "LOOP_VERSION", module.LOOP_VERSION + 1)
    if task:
        plugin = registry.load("tasks", task)
        monkeypatch.setattr(plugin, "version", plugin.version + 1)


def test_results_of_an_older_loop_are_found_and_said(
    planned: Planned, opened: Store, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = planned()
    finish(old, "direct")
    assert found(old, opened) == ()
    raise_versions(monkeypatch, loop=True)
    new = planned()
    assert not {trial.id for trial in old} & {trial.id for trial in new}
    (older,) = found(new, opened)
    assert said(older) == LOOP_RAISED
    assert older.present
    by_id = {trial.id: trial for trial in (*old, *new)}
    assert len(older.trials) == sum(trial.kind != "direct" for trial in old)
    assert all(by_id[now].label == by_id[then].label for now, then in older.trials.items())
    keep(opened, new)
    (kept,) = past("some", opened)
    (again,) = found(new, opened)
    assert again.past == older.past == kept.digest
    assert not again.present
    assert again.trials == older.trials


def test_a_raised_task_is_loud_where_it_counts_and_below(
    planned: Planned, opened: Store, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = planned()
    finish(old)
    raise_versions(monkeypatch, loop=False, task="segmentation")
    new = planned()
    (older,) = found(new, opened)
    assert said(older) == TASK_RAISED
    touched = {trial.id for trial in new} - {trial.id for trial in old}
    assert older.trials.keys() == touched
    kinds = {trial.kind for trial in new if trial.id in touched}
    assert "base" not in kinds  # of depth
    assert "standalone" in kinds  # by the enhancement that it stands on


def test_each_combination_of_versions_is_told_apart(
    planned: Planned, opened: Store, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(planned())
    raise_versions(monkeypatch, loop=True, task="segmentation")
    new = planned()
    told = {said(older): len(older.trials) for older in found(new, opened)}
    assert set(told) == {
        LOOP_RAISED,
        f"{LOOP_RAISED}, {TASK_RAISED}",
    }
    assert sum(told.values()) == len(new)


def test_what_has_been_trained_again_is_not_told(
    planned: Planned, opened: Store, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(planned())
    raise_versions(monkeypatch, loop=True)
    new = planned()
    finish(new, "direct", "standalone")
    (older,) = found(new, opened)
    by_id = {trial.id: trial for trial in new}
    assert {by_id[id].kind for id in older.trials} == {"direct", "standalone"}
    finish(new)
    assert found(new, opened) == ()


def test_the_newest_results_are_told(
    planned: Planned, opened: Store, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(planned())
    raise_versions(monkeypatch, loop=True)
    finish(planned(), "direct")
    raise_versions(monkeypatch, loop=True)
    last = planned()
    keep(opened, last)
    told = {said(older): older for older in found(last, opened)}
    oldest, newer = (f"training loop {version} (now {LOOP + 2})" for version in (LOOP, LOOP + 1))
    assert set(told) == {oldest, newer}
    assert [kept.digest for kept in past("some", opened)] == [told[oldest].past, told[newer].past]


def test_another_meaning_is_no_older_recipe(
    planned: Planned, opened: Store, finish: Finish
) -> None:
    finish(planned())
    assert found(planned(changes={"steps: 20": "steps: 21"}), opened) == ()
    more = planned(changes={"lambda_b: [0.1, 1]": "lambda_b: [0.1, 1, 10]"})
    assert found(more, opened) == ()


def test_other_files_under_one_name_are_told(
    planned: Planned, opened: Store, finish: Finish
) -> None:
    finish(planned())
    new = planned(changes={"train: 16": "train: 18"})
    (older,) = found(new, opened)
    assert said(older) == "other files of scenes"
    assert len(older.trials) == len(new)


def test_the_outlook_says_so_in_text_and_json(
    planned: Planned, opened: Store, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(planned())
    raise_versions(monkeypatch, loop=True)
    plan = planned()
    ahead = outlook(plan, ledger(plan, opened), opened, HERE)
    (line,) = older_lines("some", ahead)
    digest = ahead.older[0].past
    assert line == (
        f"{len(plan)} trials have results of {LOOP_RAISED}: to be trained again; "
        f"`tcc report some` until then and `tcc report some --past {digest}` report on the old ones"
    )
    (told,) = json.loads(json.dumps(outlook_json(ahead)))["older"]
    assert told["past"] == digest
    assert told["changes"] == [{"what": "training loop", "before": LOOP, "now": LOOP + 1}]
    assert told["trials"] == dict(ahead.older[0].trials)
    assert ahead.cost.unknown == 0  # the old ones took as long
    keep(opened, plan)
    (line,) = older_lines("some", outlook(plan, ledger(plan, opened), opened, HERE))
    assert line.endswith(f"again; `tcc report some --past {digest}` reports on the old ones")
