from __future__ import annotations

from pathlib import Path

from fake_trials import make_plan, make_trial

from tcc.plan import TrialState
from tcc.plan.capacity import Node
from tcc.run.drive import Driven
from tcc.run.record import Recorder
from tcc.stores import open_store

PLAN = make_plan(make_trial("base"), make_trial("child", ("base",), gpu=0.5), make_trial("other"))
NODES = [Node(name="here", cpu=2, gpu=1)]


def driven(cause: BaseException | None = None) -> Driven:
    states = {"base": "done", "child": "done", "other": "new"}
    return Driven(
        states={id: TrialState(id=id, state=state) for id, state in states.items()},
        seconds={"base": 3600.0, "child": 1800.0},
        losses=2,
        cause=cause,
    )


def test_a_record_says_what_was_expected_and_what_no_schedule_could_beat(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    recorder = Recorder(PLAN, store)
    recorder.expect(PLAN.trials, {"base": 10.0, "child": 20.0, "other": 5.0}, NODES)
    recorder.write(driven())
    (record,) = store.runs("test")
    assert record.run == recorder.name
    assert record.expected_s == recorder.expected_s == 30.0
    assert record.bound_s == 5400.0
    assert record.cpu_hours == 1.5
    assert record.gpu_hours == 0.25
    assert record.nodes == ("here (2 CPU, 1 GPU)",)
    assert record.counts == {"done": 2, "new": 1}
    assert record.losses == 2
    assert not record.interrupted


def test_nothing_is_expected_where_no_duration_is_known(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    recorder = Recorder(PLAN, store)
    recorder.expect(PLAN.trials, {}, NODES)
    recorder.write(driven(KeyboardInterrupt()))
    (record,) = store.runs("test")
    assert record.expected_s is None
    assert record.interrupted


def test_no_two_runs_have_one_name(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert Recorder(PLAN, store).name != Recorder(PLAN, store).name
