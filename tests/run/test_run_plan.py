"""Whole runs on a real Ray, started once for this file: real Tune, real workers, real store.

Processes are dear to start, so one study shows most of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from fake_trials import ATTEMPT, NO_OP, attempts, make_plan, make_trial, order

from tcc.errors import ClusterError
from tcc.plan import ledger
from tcc.records import Plan
from tcc.run import RunOutcome, RunSettings, run_plan
from tcc.stores import open_store

pytestmark = [pytest.mark.usefixtures("ray_with_gpus"), pytest.mark.timeout(240)]


def run(plan: Plan, store: Path, **settings: object) -> RunOutcome:
    chosen = RunSettings(**settings)  # type: ignore[arg-type]
    return run_plan(plan, str(store), execute=ATTEMPT, settings=chosen)


BASES = [make_trial(f"base{index}") for index in range(3)]
CHILDREN = [
    make_trial(f"child{index}{number}", (f"base{index}",), kind="enhancement")
    for index in range(3)
    for number in range(4)
]
STUDY = make_plan(
    *BASES,
    *CHILDREN,
    make_trial("report", label="report"),
    make_trial("bad", label="fail"),
    make_trial("bads_child", ("bad",)),
    make_trial("bads_grandchild", ("bads_child",)),
    make_trial("raises", label="raise"),
    make_trial("once", label="die once"),
    make_trial("onces_child", ("once",)),
    make_trial("always", label="die"),
    make_trial("orphan", ("always",)),
)


@dataclass
class Ran:
    store: Path
    outcome: RunOutcome
    out: str
    err: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, ray_with_gpus: None) -> Ran:
    """The study, run; what it printed is checked by the first test alone."""
    import contextlib
    import io

    store = tmp_path_factory.mktemp("store")
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        outcome = run(STUDY, store, quiet_stdout=True)
    return Ran(store, outcome, out.getvalue(), err.getvalue())


def test_children_run_after_their_parents_and_each_trial_once(ran: Ran) -> None:
    order_of = order(ran.store)
    for child in CHILDREN:
        assert order_of.index(child.needs[0]) < order_of.index(child.id)
    counted = [id for id in order_of if id not in ("once", "always")]
    assert len(counted) == len(set(counted))
    assert ran.outcome.counts == {"done": 18, "failed": 3, "skipped": 3}


def test_few_processes_run_all_trials(ran: Ran) -> None:
    notes = attempts(ran.store)
    assert len({note["pid"] for note in notes}) <= 3 + 6, "three at once, and six that died"


def test_failures_skip_descendants_and_show_in_the_outcome(ran: Ran) -> None:
    failed = ran.outcome.failed
    assert failed["bad"] == "loss is nan"
    assert failed["raises"] == "RuntimeError: nothing caught this"
    assert "nothing caught this" in (ran.store / "trials/raises/log.txt").read_text()
    assert ran.outcome.skipped == {
        "bads_child": "bad",
        "bads_grandchild": "bad",
        "orphan": "always",
    }
    assert ran.outcome.exit_code == 1
    assert "loss is nan" in ran.outcome.summary()


def test_a_killed_worker_is_started_again_and_one_that_always_dies_fails(ran: Ran) -> None:
    assert order(ran.store).count("once") == 2
    assert order(ran.store).count("always") == 5
    assert ran.outcome.failed["always"].startswith("its process died (")
    assert ran.outcome.failed["always"].endswith("5 times without coming further")
    failure = open_store(ran.store, write=False).failure("always")
    assert failure is not None
    assert failure.reason == ran.outcome.failed["always"]


def test_the_files_say_the_same_as_the_outcome(ran: Ran) -> None:
    states = ledger(STUDY, open_store(ran.store, write=False)).values()
    assert {it.id: it.because for it in states if it.state == "failed"} == ran.outcome.failed
    assert {it.id: it.because for it in states if it.state == "skipped"} == ran.outcome.skipped
    assert sum(it.state == "cached" for it in states) == ran.outcome.counts["done"]


def test_the_run_leaves_a_record(ran: Ran) -> None:
    (record,) = open_store(ran.store, write=False).runs("test")
    assert record.counts == ran.outcome.counts
    assert record.losses == 1 + 5, "one that died once, one that always did"
    assert not record.interrupted
    assert len(record.nodes) == 1
    assert record.expected_s is None, "there was no like trial before"
    assert 0 < record.bound_s < record.seconds < ran.outcome.seconds
    assert record.cpu_hours > 0


def test_events_are_lines_on_stderr_and_stdout_stays_empty(ran: Ran) -> None:
    assert ran.out == "", "stdout belongs to JSON"
    head, *lines = ran.err.splitlines()
    assert head == f"study test: {len(STUDY)} of {len(STUDY)} trials to run"
    states = [line.split()[1] for line in lines]
    assert set(states) == {"running", "retried", "done", "failed", "skipped"}, ran.err
    assert states.count("done") == ran.outcome.counts["done"]
    assert lines[-1].startswith(f"{len(STUDY)}/{len(STUDY)}")


def test_workers_stay_where_the_driver_is_and_write_bytecode(ran: Ran) -> None:
    for note in attempts(ran.store):
        assert note["cwd"] == str(Path.cwd())
        assert not note["bytecode"]


def test_the_same_again_runs_nothing_and_says_what_failed(ran: Ran) -> None:
    before = order(ran.store)
    again = run(STUDY, ran.store)
    assert again.counts == {"cached": 18, "failed": 3, "skipped": 3}
    assert again.failed == ran.outcome.failed
    assert order(ran.store) == before


def test_the_longest_chain_is_begun_first_and_so_many_run_at_once(tmp_path: Path) -> None:
    plan = make_plan(
        *[make_trial(f"leaf{index}", label="sleep 0.1") for index in range(4)],
        make_trial("root", label="sleep 0.1"),
        make_trial("middle", ("root",), label="sleep 0.1"),
        make_trial("end", ("middle",)),
    )
    run(plan, tmp_path, max_concurrent=1)
    assert order(tmp_path)[:2] == ["root", "middle"]
    assert all(a["ended"] <= b["began"] for a, b in pairwise(attempts(tmp_path)))


def test_gpus_are_shared_and_who_waits_for_one_holds_no_other_back(tmp_path: Path) -> None:
    halves = [
        make_trial("half0", label="meet half1,half2,last", cpu=0.1, gpu=0.5),
        make_trial("half1", label="meet half0,half2,last", cpu=0.1, gpu=0.5),
        make_trial("half2", label="meet half0,half1,last", cpu=0.1, gpu=0.5),
        make_trial("whole0", label="meet last", cpu=0.1, gpu=1),
        make_trial("whole1", label="meet last", cpu=0.1, gpu=1),
        make_trial("whole2", label="meet last", cpu=0.1, gpu=1),
    ]
    others = [make_trial(id, cpu=0.5) for id in ("first", "last")]
    outcome = run(make_plan(*halves, *others), tmp_path)
    assert outcome.counts == {"done": 8}
    shown = {note["id"]: note["cuda"] for note in attempts(tmp_path)}
    assert {shown["first"], shown["last"]} == {""}, "no GPU asked for, none seen"
    assert all(shown[trial.id] in ("0", "1") for trial in halves)


def test_what_no_node_holds_is_refused_before_anything_runs(tmp_path: Path) -> None:
    plan = make_plan(make_trial("fits"), make_trial("huge", kind="enhancement", gpu=8))
    with pytest.raises(ClusterError, match="each enhancement trial wants 1 CPU and 8 GPU"):
        run(plan, tmp_path)
    assert order(tmp_path) == []


def test_only_evaluations_where_training_is_not_wanted(tmp_path: Path) -> None:
    run(make_plan(make_trial("a"), make_trial("b", ("a",))), tmp_path)
    plan = make_plan(
        make_trial("a", evaluations=("kodak",)),
        make_trial("b", ("a",), evaluations=("kodak",)),
        make_trial("untrained", evaluations=("kodak",), cpu=64),
    )
    seen: list[list[str]] = []
    outcome = run_plan(
        plan,
        str(tmp_path),
        execute=ATTEMPT,
        train=False,
        prepare=lambda trials: seen.append([trial.id for trial in trials]),
    )
    assert outcome.counts == {"new": 1, "done": 2}
    assert outcome.exit_code == 0
    assert sorted(order(tmp_path)) == ["a", "a", "b", "b"]
    assert seen == [["a", "b"]]


@pytest.mark.slow
def test_one_line_says_why_trials_are_not_mirrored_online(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(*[make_trial(f"trial{number}") for number in range(3)])
    outcome = run(plan, tmp_path, trackers={"wandb": {"mode": "online"}})
    assert outcome.counts == {"done": 3}
    told = [line for line in capsys.readouterr().out.splitlines() if "tcc sync test" in line]
    assert len(told) == 1
    assert "W&B" in told[0]


@pytest.mark.slow
def test_an_empty_trial_costs_little(tmp_path: Path) -> None:
    plan = make_plan(*[make_trial(f"t{n:03}") for n in range(300)])
    begun = time.monotonic()
    run_plan(plan, str(tmp_path), execute=NO_OP)
    each_ms = (time.monotonic() - begun) / len(plan) * 1000
    print(f"{each_ms:.0f} ms a trial")
    assert each_ms < 300
