"""What a store holds of a plan."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from tcc.plan import ledger, standing
from tcc.records import Plan, TrialSpec
from tcc.stores import open_store

Planned = Callable[..., Plan]
Store = Any  # the MemoryStore of conftest.py


@pytest.fixture
def plan(planned: Planned) -> Plan:
    return planned()


def first(plan: Plan, kind: str) -> TrialSpec:
    return next(trial for trial in plan if trial.kind == kind)


def child_of(plan: Plan, parent: TrialSpec, kind: str) -> TrialSpec:
    return next(trial for trial in plan if trial.kind == kind and parent.id in trial.needs)


def test_an_empty_store(plan: Plan, store: Store) -> None:
    states = ledger(plan, store)
    assert [*states] == [trial.id for trial in plan]
    for trial in plan:
        assert states[trial.id].state == ("blocked" if trial.needs else "new")
        assert all(need in states[trial.id].because for need in trial.needs)
    assert store.reads == []


def test_a_finished_study(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    states = ledger(plan, store)
    assert {state.state for state in states.values()} == {"cached"}
    assert Counter(store.reads) == dict.fromkeys(states, 1)
    assert all(standing(trial, store).state == "cached" for trial in plan)


def test_children_of_finished_trials_are_new(plan: Plan, store: Store) -> None:
    base = first(plan, "base")
    store.finish(base)
    states = ledger(plan, store)
    assert states[base.id].state == "cached"
    assert states[child_of(plan, base, "direct").id].state == "new"
    waiting = states[child_of(plan, base, "enhancement").id]
    assert waiting.state == "blocked"  # for its warm start
    assert base.id not in waiting.because


def test_what_failed_in_an_evaluation_keeps_nobody_waiting(plan: Plan, store: Store) -> None:
    base = first(plan, "base")
    store.finish(base)
    store.forget_evaluations(base.id)
    store.fail(base)
    states = ledger(plan, store)
    assert states[base.id].state == "failed"
    assert states[base.id].missing == base.evaluations
    assert states[child_of(plan, base, "direct").id].state == "new"


def test_a_failed_trial_and_those_that_stand_on_it(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    base = first(plan, "base")
    enhancement = child_of(plan, base, "enhancement")
    standalone = child_of(plan, enhancement, "standalone")
    for trial in (base, enhancement, standalone):
        del store.records[trial.id]
    store.fail(base, "a loss of NaN")
    states = ledger(plan, store)
    assert (states[base.id].state, states[base.id].because) == ("failed", "a loss of NaN")
    for trial in (enhancement, standalone):
        assert (states[trial.id].state, states[trial.id].because) == ("skipped", base.id)
    assert states[child_of(plan, base, "direct").id].state == "cached"


def test_a_deleted_result_alone_is_redone(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    base = first(plan, "base")
    del store.records[base.id]
    states = ledger(plan, store)
    assert Counter(state.state for state in states.values()) == {"new": 1, "cached": len(plan) - 1}
    store.finish(base)  # the same weights again
    assert {state.state for state in ledger(plan, store).values()} == {"cached"}


def test_other_weights_of_a_parent_make_its_children_be_redone(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    base = first(plan, "base")
    store.finish(base, checkpoint="other weights")
    states = ledger(plan, store)
    for trial in plan:
        expected = "new" if base.id in trial.needs else "cached"
        assert states[trial.id].state == expected, (
            trial.label
        )  # a standalone waits for the new hash
    enhancement = child_of(plan, base, "enhancement")
    assert states[enhancement.id].because.startswith(f"the checkpoint of {base.id}")
    assert states[enhancement.id].record is None
    assert standing(enhancement, store).state == "new"
    store.finish(enhancement, checkpoint="other weights too")
    states = ledger(plan, store)
    assert states[enhancement.id].state == "cached"
    assert states[child_of(plan, enhancement, "standalone").id].state == "new"


def test_missing_evaluations_are_new_work_of_their_own(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    base = first(plan, "base")
    store.forget_evaluations(base.id)
    states = ledger(plan, store)
    assert states[base.id].state == "new"
    assert states[base.id].missing == base.evaluations
    assert states[base.id].record == store.records[base.id]
    assert standing(base, store) == states[base.id]
    others = {state.state for id, state in states.items() if id != base.id}
    assert others == {"cached"}


def test_a_trained_parent_that_lacks_evaluations_blocks_nothing(plan: Plan, store: Store) -> None:
    base = first(plan, "base")
    store.finish(base)
    store.forget_evaluations(base.id)
    assert ledger(plan, store)[child_of(plan, base, "direct").id].state == "new"


def test_evaluations_wait_for_a_parent_that_is_to_be_redone(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    base = first(plan, "base")
    direct = child_of(plan, base, "direct")
    del store.records[base.id]
    store.forget_evaluations(direct.id)
    state = ledger(plan, store)[direct.id]
    assert (state.state, state.missing) == ("blocked", direct.evaluations)


def test_an_evaluation_that_failed_stays_failed(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    base = first(plan, "base")
    store.forget_evaluations(base.id)
    store.fail(base, "no such file")
    assert ledger(plan, store)[base.id].state == "failed"
    assert standing(base, store).because == "no such file"


def test_an_evaluation_that_only_another_study_asked_for_fails_nothing(
    plan: Plan, store: Store
) -> None:
    base = first(plan, "base")
    (asked,) = base.evaluations
    other = replace(asked, id="another", split="train")
    store.finish(base)
    store.fail(base, "no such file", evaluation="another")
    both = replace(base, evaluations=(asked, other))
    assert standing(base, store).state == "cached"
    assert standing(both, store).because == "no such file"
    store.forget_evaluations(base.id)
    assert standing(base, store).state == "new", "it was not tried"
    del store.records[base.id]
    assert standing(base, store).state == "new", "its training did not fail"
    store.fail(base, "a loss of NaN")
    assert standing(base, store).state == "failed"


def test_a_result_outweighs_an_older_failure(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    base = first(plan, "base")
    store.fail(base)
    assert ledger(plan, store)[base.id].state == "cached"


def test_a_result_that_cannot_be_trusted_is_redone(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    base = first(plan, "base")
    torn = type(store)(records={**store.records})
    torn.record = lambda id: None if id == base.id else store.records[id]
    assert ledger(plan, torn)[base.id].state == "new"


def test_a_trial_of_more_evaluations_than_were_made(plan: Plan, store: Store) -> None:
    base = first(plan, "base")
    store.finish(base)
    more = replace(base.evaluations[0], id="another", split="train")
    asked = replace(base, evaluations=(*base.evaluations, more))
    assert standing(asked, store).missing == (more,)
    assert standing(asked, store).because == "1 of 2 evaluations are missing"


def test_a_checkpoint_that_cannot_be_trusted_is_made_again(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    base = first(plan, "base")
    store.problems[base.id] = "its file is missing"
    states = ledger(plan, store)
    assert (states[base.id].state, states[base.id].because) == ("new", "its file is missing")
    assert states[base.id].record is None
    assert states[base.id].missing == ()
    assert standing(base, store) == states[base.id]
    others = {state.state for id, state in states.items() if id != base.id}
    assert others == {"cached"}  # the new weights may be the same
    store.forget_evaluations(child_of(plan, base, "direct").id)
    assert ledger(plan, store)[child_of(plan, base, "direct").id].state == "blocked"
    store.fail(base, "it broke")
    assert standing(base, store).state == "failed"


def test_who_asks_for_it_is_thorough(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    asked: list[bool] = []

    def problem(id: str, *, thorough: bool) -> None:
        asked.append(thorough)

    store.checkpoint_problem = problem
    ledger(plan, store)
    ledger(plan, store, thorough=True)
    standing(plan.trials[0], store)
    assert Counter(asked) == {False: len(plan), True: len(plan) + 1}


def test_a_checkpoint_is_looked_at_in_a_real_store(
    plan: Plan, store: Store, tmp_path: Path
) -> None:
    real, written = open_store(tmp_path), {}
    for trial in plan:
        weights = {"w": numpy.array([len(written)], dtype=numpy.float32)}
        sha256 = real.save_checkpoint(trial.id, lambda path, w=weights: save_file(w, path))
        store.finish(trial, checkpoint=sha256)
        real.commit(store.records[trial.id])
        written[trial.id] = weights
    assert {state.state for state in ledger(plan, real, thorough=True).values()} == {"cached"}
    gone, cut, changed, *_ = (trial.id for trial in plan if not trial.needs)
    real.checkpoint(gone).unlink()
    real.checkpoint(cut).write_bytes(real.checkpoint(cut).read_bytes()[:-1])
    save_file({"w": numpy.array([-1], dtype=numpy.float32)}, real.checkpoint(changed))
    later = real.checkpoint(changed).stat().st_mtime + 1
    os.utime(real.checkpoint(changed), (later, later))
    for opened in (real, open_store(tmp_path, write=False)):
        for thorough in (False, True):
            states = ledger(plan, opened, thorough)
            redone = {id for id, state in states.items() if state.state == "new"}
            assert redone == ({gone, cut, changed} if thorough else {gone, cut})
            assert {states[id].because for id in redone} == set(opened.problems())
    for trial in plan:
        if trial.id in redone:
            real.begin(trial)
            real.save_checkpoint(trial.id, lambda path, id=trial.id: save_file(written[id], path))
            real.commit(store.records[trial.id])
    assert {state.state for state in ledger(plan, real, thorough=True).values()} == {"cached"}
    assert real.problems() == ()


def test_a_far_store_is_asked_for_the_whole_plan_at_once(plan: Plan, store: Store) -> None:
    store.finish_all(plan)
    asked: list[list[str]] = []

    class Far:
        def preloaded(self, ids: list[str], /) -> Store:
            asked.append(ids)
            return store

    far: Store = Far()
    assert ledger(plan, far) == ledger(plan, store)
    assert asked == [[trial.id for trial in plan]]
