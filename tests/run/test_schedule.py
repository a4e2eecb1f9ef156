"""Readiness, urgency and consequences, on a real store and without Ray."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import fake_trials
import pytest
from fake_trials import make_plan, make_trial

from tcc.errors import ClusterError, StoreError
from tcc.plan import critical_path, ledger
from tcc.records import Plan, Resources
from tcc.run import schedule as schedule_module
from tcc.run.events import Event, Outcome
from tcc.run.losses import IN_A_ROW, Loss
from tcc.run.schedule import Schedule
from tcc.stores import Store, open_store


class Quiet:
    def log(self, *_: object) -> None: ...

    progress = finished = log


class Driver:
    """Runs a schedule as Tune would: takes what it gives, a slot at a time, oldest first."""

    def __init__(self, plan: Plan, store: Store, slots: int = 1, seconds: Mapping[str, float] = {}):
        states = ledger(plan, store)
        self.store, self.slots = store, slots
        self.events: list[Event] = []
        self.order: list[str] = []
        left = {id: seconds.get(id, 1.0) for id, it in states.items() if it.state in LEFT}
        self.schedule = Schedule(
            plan,
            store,
            states,
            left.keys(),
            run=RUN,
            priority=critical_path(plan, left),
            room=lambda shape: self.slots,
            tell=self.events.append,
        )

    def run(self) -> dict[str, str]:
        """Trial → state in the end."""
        taken = []
        while not self.schedule.exhausted or taken:
            while len(taken) < self.slots and (trial := self.schedule.next()):
                self.schedule.started(trial.id)
                self.order.append(trial.id)
                taken.append(trial)
            trial = taken.pop(0)
            record = fake_trials.attempt(trial, self.store, Quiet(), study="test", run=RUN)
            self.schedule.ended(
                trial.id, Outcome(how="done" if hasattr(record, "training") else "failed")
            )
            self.schedule.settle()
        assert not self.schedule.given
        return {id: state.state for id, state in self.schedule.states.items()}


RUN = "this-run"
LEFT = ("new", "blocked")
BASE, OTHER = make_trial("base"), make_trial("other")
CHILD = make_trial("child", ("base",), kind="enhancement")
GRANDCHILD = make_trial("grandchild", ("child",), kind="standalone")
FAMILY = make_plan(BASE, CHILD, GRANDCHILD, OTHER)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    changed: dict[str, str] = {}
    monkeypatch.setattr(fake_trials, "WEIGHTS", changed)
    return changed


def test_parents_come_first_and_each_trial_once(store: Store) -> None:
    driver = Driver(FAMILY, store, slots=3)
    assert set(driver.run().values()) == {"done"}
    assert sorted(driver.order) == ["base", "child", "grandchild", "other"]
    assert driver.order.index("base") < driver.order.index("child")
    assert driver.order.index("child") < driver.order.index("grandchild")


def test_the_trial_that_most_work_hangs_on_comes_first(store: Store) -> None:
    plan = make_plan(
        make_trial("short"),
        make_trial("long"),
        make_trial("root"),
        make_trial("a", ("root",)),
        make_trial("b", ("root",)),
    )
    seconds = {"short": 1, "long": 9, "root": 2, "a": 5, "b": 8}
    driver = Driver(plan, store, seconds=seconds)
    driver.run()
    assert driver.order == ["root", "long", "b", "a", "short"]


def test_a_full_shape_holds_no_other_back(store: Store) -> None:
    gpus = [make_trial(f"gpu{index}", gpu=1.0) for index in range(3)]
    plan = make_plan(*gpus, make_trial("cpu"))
    driver = Driver(plan, store)
    given = [driver.schedule.next(), driver.schedule.next()]
    assert [trial.id for trial in given if trial] == ["gpu0", "cpu"]
    assert driver.schedule.next() is None


def test_a_failure_skips_what_stands_on_it_and_nothing_else(store: Store) -> None:
    plan = make_plan(make_trial("base", label="fail"), CHILD, GRANDCHILD, OTHER)
    driver = Driver(plan, store)
    states = driver.run()
    assert states == {
        "base": "failed",
        "child": "skipped",
        "grandchild": "skipped",
        "other": "done",
    }
    assert driver.schedule.states["base"].because == "loss is nan"
    assert driver.schedule.states["grandchild"].because == "base"
    again = Driver(plan, store)
    assert again.schedule.exhausted, "failures are left for `tcc retry`"


def test_a_finished_plan_is_exhausted_at_once(store: Store) -> None:
    Driver(FAMILY, store).run()
    again = Driver(FAMILY, store)
    assert again.schedule.exhausted
    assert again.schedule.next() is None


def test_a_redone_parent_with_the_same_weights_leaves_its_children(
    store: Store, tmp_path: Path
) -> None:
    Driver(FAMILY, store).run()
    (tmp_path / "store/trials/base/result.json").unlink()
    again = Driver(FAMILY, store)
    assert again.run() == {
        "base": "done",
        "child": "cached",
        "grandchild": "cached",
        "other": "cached",
    }
    assert again.order == ["base"]


def test_a_redone_parent_with_other_weights_redoes_its_descendants(
    store: Store, tmp_path: Path, weights: dict[str, str]
) -> None:
    Driver(FAMILY, store).run()
    (tmp_path / "store/trials/base/result.json").unlink()
    weights["base"] = "other"
    again = Driver(FAMILY, store, slots=2)
    assert again.run()["grandchild"] == "done"
    assert again.order == ["base", "child", "grandchild"]


def test_nothing_starts_from_weights_that_may_still_change(
    store: Store, tmp_path: Path, weights: dict[str, str]
) -> None:
    Driver(make_plan(BASE, CHILD), store).run()
    (tmp_path / "store/trials/base/result.json").unlink()
    weights["base"] = "other"
    again = Driver(FAMILY, store, slots=4)  # grandchild is new, its cached parent may be redone
    assert set(again.run().values()) == {"done"}
    assert again.order.index("grandchild") > again.order.index("child")
    assert len(again.order) == len(set(again.order))


def test_what_stands_on_a_cached_child_of_a_parent_that_fails_anew_is_skipped(
    store: Store, tmp_path: Path
) -> None:
    Driver(make_plan(BASE, CHILD), store).run()
    (tmp_path / "store/trials/base/result.json").unlink()
    plan = make_plan(make_trial("base", label="fail"), CHILD, GRANDCHILD)
    assert Driver(plan, store).run() == {
        "base": "failed",
        "child": "cached",
        "grandchild": "skipped",
    }
    assert ledger(plan, store)["grandchild"].because == "base"
    again = Driver(plan, store)
    assert again.run()["grandchild"] == "skipped"


def test_a_trial_lost_before_it_began_is_handed_out_again(store: Store) -> None:
    driver = Driver(make_plan(BASE, CHILD), store)
    dead = Outcome(how="lost", reason="Worker exit detail: killed by SIGKILL.")
    for times in range(1, IN_A_ROW["process"] + 1):
        assert driver.schedule.next() is BASE
        driver.schedule.ended("base", dead)
        driver.schedule.settle()
        assert driver.schedule.losses.total == times
    assert driver.schedule.next() is None
    assert {id: state.state for id, state in driver.schedule.states.items()} == {
        "base": "failed",
        "child": "skipped",
    }


def test_a_parent_that_only_lacks_an_evaluation_holds_nobody_back(store: Store) -> None:
    Driver(make_plan(BASE), store).run()
    measured = make_trial("base", evaluations=("kodak",))
    driver = Driver(make_plan(measured, CHILD), store, slots=2)
    given = [driver.schedule.next(), driver.schedule.next()]
    assert [trial.id for trial in given if trial] == ["base", "child"]


def test_an_evaluation_that_fails_keeps_nobody_from_the_weights(store: Store) -> None:
    Driver(make_plan(BASE), store).run()
    measured = make_trial("base", label="fail", evaluations=("kodak",))
    driver = Driver(make_plan(measured, CHILD), store, slots=1, seconds={"base": 9})
    assert driver.run() == {"base": "failed", "child": "done"}
    assert driver.order == ["base", "child"]


def test_a_trial_that_loses_its_process_in_a_row_becomes_a_failure(store: Store) -> None:
    driver = Driver(make_plan(BASE, CHILD), store)
    assert driver.schedule.next() is not None
    for _ in range(IN_A_ROW["process"]):
        driver.schedule.started("base")
        assert driver.schedule.wants("base")
        driver.schedule.lost("base", Loss(what="process", how="died (for a test)"))
        driver.schedule.settle()
    assert not driver.schedule.wants("base")
    driver.schedule.dropped("base")
    failure = store.failure("base")
    assert failure is not None
    assert failure.reason == "its process died (for a test), 5 times without coming further"
    states = [event.state for event in driver.events]
    assert states == ["running", *["retried"] * 4, "failed", "skipped"]
    assert driver.schedule.losses.total == IN_A_ROW["process"]
    assert not driver.schedule.given
    assert driver.schedule.exhausted


def test_a_trial_given_up_in_its_evaluation_keeps_nobody_from_the_weights(store: Store) -> None:
    Driver(make_plan(BASE), store).run()
    driver = Driver(make_plan(make_trial("base", evaluations=("kodak",)), CHILD), store)
    assert driver.schedule.next() is not None
    for _ in range(IN_A_ROW["process"]):
        driver.schedule.started("base")
        driver.schedule.lost("base", Loss(what="process", how="died"))
        driver.schedule.settle()
    assert driver.schedule.states["base"].state == "failed"
    assert driver.schedule.next() == CHILD


def test_a_trial_of_another_run_is_left_to_it_and_used_when_done(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_module, "LOOK_EVERY_S", 0.0)
    driver = Driver(make_plan(BASE, CHILD), store)
    with store.working_on("base", "another-run"):
        assert driver.schedule.next() is None
        assert not driver.schedule.exhausted
        because = driver.schedule.states["base"].because
        assert because == f"{socket.gethostname()}:{os.getpid()} of another run"
        driver.schedule.settle()
    fake_trials.attempt(BASE, store, Quiet(), study="test", run="another-run")
    child = driver.schedule.next()
    assert child is not None
    assert child.id == "child"
    assert [event.state for event in driver.events] == ["running", "cached", "new"]


def test_a_trial_that_another_run_left_is_handed_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_module, "LOOK_EVERY_S", 0.0)
    driver = Driver(make_plan(BASE), store)
    with store.working_on("base", "another-run"):
        assert driver.schedule.next() is None
    trial = driver.schedule.next()
    assert trial is not None
    assert trial.id == "base"


def test_what_another_run_failed_at_is_not_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_module, "LOOK_EVERY_S", 0.0)
    driver = Driver(make_plan(BASE, CHILD), store)
    with store.working_on("base", "another-run"):
        assert driver.schedule.next() is None
    fake_trials.attempt(make_trial("base", label="fail"), store, Quiet(), study="test")
    assert driver.schedule.next() is None
    assert driver.schedule.exhausted
    states = {id: it.state for id, it in driver.schedule.states.items()}
    assert states == {"base": "failed", "child": "skipped"}


def test_a_worker_that_finds_a_trial_taken_gives_it_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(make_plan(BASE, OTHER), store, slots=1)
    assert driver.schedule.next() is not None
    driver.schedule.started("base")
    with store.working_on("base", "another-run"):
        driver.schedule.ended("base", Outcome(how="busy"))
        other = driver.schedule.next()
    assert other is not None
    assert other.id == "other", "its slot is free"
    monkeypatch.setattr(schedule_module, "LOOK_EVERY_S", 0.0)
    assert not driver.schedule.exhausted


def test_a_store_that_fails_a_worker_is_told_once_and_fails_no_trial(store: Store) -> None:
    driver = Driver(make_plan(BASE, CHILD), store)
    driver.schedule.next()
    driver.schedule.started("base")
    driver.schedule.ended("base", Outcome(how="store", reason="the disk is full"))
    with pytest.raises(StoreError, match="the disk is full"):
        driver.schedule.settle()
    driver.schedule.stop()
    driver.schedule.settle()
    assert driver.schedule.exhausted
    assert driver.schedule.next() is None
    assert store.failure("base") is None
    assert driver.schedule.states["base"].state == "new"


def test_a_worker_that_heard_first_that_the_run_stops_has_lost_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(make_plan(BASE), store)
    driver.schedule.next()
    driver.schedule.started("base")
    driver.schedule.ended("base", Outcome(how="interrupted"))
    assert driver.schedule.next() is None
    assert driver.schedule.losses.total == 0
    monkeypatch.setattr(schedule_module, "HEARS_WITHIN_S", 0.0)
    assert driver.schedule.next() == BASE, "nobody stops this run: it was something else"
    assert driver.schedule.losses.total == 1


def test_a_stopped_schedule_takes_back_what_has_not_ended(store: Store) -> None:
    driver = Driver(make_plan(BASE, OTHER), store, slots=2)
    assert [driver.schedule.next(), driver.schedule.next()] == [BASE, OTHER]
    driver.schedule.started("base")
    driver.schedule.stop()
    assert driver.schedule.exhausted
    assert not driver.schedule.wants("other")
    driver.schedule.dropped("other")
    driver.schedule.ended("base", Outcome(how="interrupted"))
    driver.schedule.settle()
    assert not driver.schedule.given
    assert {it.state for it in driver.schedule.states.values()} == {"new"}
    assert driver.schedule.losses.total == 0


def test_a_result_that_does_not_show_is_waited_for_then_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(make_plan(BASE), store)
    driver.schedule.next()
    driver.schedule.started("base")
    driver.schedule.ended("base", Outcome(how="done"))
    driver.schedule.settle()
    assert driver.schedule.given
    assert driver.schedule.next() is None
    monkeypatch.setattr(schedule_module, "VISIBLE_WITHIN_S", -1.0)
    driver.schedule.settle()
    assert not driver.schedule.given
    assert "every node" in driver.schedule.states["base"].because


def test_what_another_run_finished_meanwhile_is_not_run_again(store: Store) -> None:
    driver = Driver(FAMILY, store)
    Driver(make_plan(BASE, CHILD), store).run()
    assert driver.run() == {
        "base": "cached",
        "child": "cached",
        "grandchild": "done",
        "other": "done",
    }
    assert "base" not in driver.order


def test_a_schedule_that_cannot_go_on_says_so(store: Store) -> None:
    driver = Driver(make_plan(BASE), store)
    driver.slots = 0
    with pytest.raises(ClusterError, match="1 trials are left"):
        driver.schedule.next()


def test_shapes_are_compared_by_what_they_occupy() -> None:
    assert Resources(cpu=1.0, gpu=0.5) == Resources(cpu=1, gpu=0.5)
    assert hash(Resources(cpu=1.0)) == hash(Resources(cpu=1))
