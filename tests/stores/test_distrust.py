"""A file of any kind that is torn, cut off, tampered with or of another version is named, and
costs only itself."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tcc.errors import BusyError, RecordError
from tcc.plan import plan_from_json, plan_to_json
from tcc.records import SCHEMA, Plan, Progress, RunRecord
from tcc.stores import open_store

RECORDS = {
    "trials/aa11/trial.json": lambda store: store.trial("aa11"),
    "trials/aa11/result.json": lambda store: store.record("aa11"),
    "trials/aa11/evaluations/ev1.json": lambda store: store.evaluations("aa11"),
    "trials/aa11/failure.json": lambda store: store.failure("aa11"),
    "trials/aa11/state.json": lambda store: store.progress("aa11"),
    "studies/tiny/runs/2026-11-21T020000+0000-r1.json": lambda store: store.runs("tiny"),
}
DAMAGES = {
    "empty": (lambda data: b"", "is torn"),
    "torn": (lambda data: data[: len(data) // 2], "is torn"),
    "cut off": (lambda data: data[:-1], "is torn or was edited"),
    "overwritten": (lambda data: bytes(len(data)), "is torn or not a record file"),
    "tampered": (lambda data: data.replace(b"aa11", b"aa12").replace(b"tiny", b"tinz"), "edited"),
    "foreign": (lambda data: data.replace(f"{SCHEMA}".encode(), b"99", 1), "has schema 99"),
    "not text": (lambda data: b"\xff\xfe" + data, "is torn or not a record file"),
}


@pytest.fixture
def full(store, finish, failure):
    """A store with a file of every kind; the failure is of an evaluation."""
    finish()
    finish("bb22")
    store.fail(failure)
    store.write_progress(
        Progress(
            trial="aa11", phase="train", step=1, steps=40, loss=0.5, bpp=None, elapsed_s=1.5,
            eta_s=None,
        )
    )  # fmt: skip
    for hour in (3, 2):
        store.write_run(run_record(f"2026-11-21T0{hour}:00:00+00:00", f"r{hour - 1}"))
    return store


@pytest.mark.parametrize("key", RECORDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_record_is_named_and_read_as_absent(full, finish, make_record, key, damage):
    path, look = full.directory / key, RECORDS[key]
    spoil, reason = DAMAGES[damage]
    before = look(full)
    path.write_bytes(spoil(path.read_bytes()))
    for store in (full, open_store(full.uri, write=False)):
        found = look(store)
        assert found == (before[1:] if isinstance(before, tuple) else None)
        (problem,) = store.problems()
        assert problem.startswith(f"{path} ")
        assert reason in problem
        assert store.record("bb22").trial.id == "bb22"
        assert store.runs("tiny")[-1].run == "r2"
    full.begin(make_record().trial)  # as all is done again
    finish()
    full.write_run(run_record("2026-11-21T02:00:00+00:00", "r1"))
    assert full.record("aa11").evaluations
    assert not [x for x in full.problems() if "state.json" not in x and "failure.json" not in x]


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "not text"])
def test_a_lease_is_named_and_holds_until_it_is_old(full, damage):
    with full.working_on("aa11", "r"):
        (path,) = (full.directory / "trials/aa11/leases").iterdir()
        data = path.read_bytes()
    spoil, reason = DAMAGES[damage]
    path.write_bytes(spoil(data))
    reader = open_store(full.uri, write=False)
    assert reader.holder("aa11").host == "unknown"
    (problem,) = reader.problems()
    assert problem.startswith(f"{path} ")
    assert reason in problem
    with pytest.raises(BusyError, match=str(path)), full.working_on("aa11", "r"):
        pass
    os.utime(path, (1e9, 1e9))
    with full.working_on("aa11", "r"):
        pass
    assert full.holder("aa11") is None


def test_a_lease_of_another_trial_is_nobodys(full):
    with full.working_on("bb22", "r"):
        (path,) = (full.directory / "trials/bb22/leases").iterdir()
        other = full.directory / "trials/aa11/leases"
        other.mkdir()
        (other / path.name).write_bytes(path.read_bytes())
        (other / "notes.json").write_text("")  # what is no lease is left alone
        assert full.holder("aa11").host == "unknown"
        assert "belongs to another trial" in full.problems()[0]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_is_named_and_its_trial_begun_anew(full, damage):
    path = full.checkpoint("aa11")
    spoil = {
        "tampered": lambda data: data[:-1] + b"!",
        "foreign": lambda data: data[:8] + b"#" * (len(data) - 8),
    }.get(damage, DAMAGES[damage][0])
    path.write_bytes(spoil(path.read_bytes()))
    later = path.stat().st_mtime + 1
    os.utime(path, (later, later))
    problem = full.checkpoint_problem("aa11", thorough=True)
    assert problem.startswith(f"{path} ")
    assert full.problems() == (problem,)
    assert full.checkpoint_problem("bb22", thorough=True) is None
    full.begin(full.record("aa11").trial)
    assert full.record("aa11") is None
    assert full.record("bb22") is not None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_plan_is_refused_in_words(full, make_trial, damage):
    full.write_study("tiny", "plan.json", plan_to_json(Plan(study="tiny", trials=(make_trial(),))))
    path = full.directory / "studies/tiny/plan.json"
    path.write_bytes(DAMAGES[damage][0](path.read_bytes()))
    with pytest.raises(RecordError):
        plan_from_json(full.read_study("tiny", "plan.json"))


def test_runs_are_given_oldest_first(full):
    assert full.runs("tiny") == (
        run_record("2026-11-21T02:00:00+00:00", "r1"),
        run_record("2026-11-21T03:00:00+00:00", "r2"),
    )
    assert full.runs("other") == ()
    assert full.studies() == ()  # nothing of the study itself was written
    copied = replace(run_record("2026-11-21T04:00:00+00:00", "r3"), study="other")
    full.write_run(copied)
    folder = full.directory / "studies"
    (path,) = (folder / "other/runs").iterdir()
    path.rename(folder / "tiny/runs" / path.name)
    assert len(full.runs("tiny")) == 2
    assert "belongs to another study" in full.problems()[0]


def run_record(started_at: str, run: str) -> RunRecord:
    return RunRecord(
        schema=SCHEMA,
        run=run,
        study="tiny",
        started_at=started_at,
        seconds=12.5,
        expected_s=None,
        bound_s=10.0,
        cpu_hours=0.1,
        gpu_hours=0.0,
        nodes=("2 CPUs",),
        counts={"done": 2},
        losses=1,
        interrupted=False,
    )
