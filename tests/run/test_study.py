from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tcc.plan import expand, plan_from_json
from tcc.records import SCHEMA, FailureRecord
from tcc.run import RunOutcome, run_study
from tcc.run import study as study_module
from tcc.run.data import prepare
from tcc.spec import SweepSpec, parse_spec
from tcc.stores import open_store

SPEC = """
study: tiny
data: {scenes: {train: 4, val: 2, root: ROOT}}
pairs: [{base: depth, enhancement: reconstruction}]
grid: {lambda_b: [0.3], lambda_e: [0.3]}
evaluate: [{data: scenes, split: val}]
wandb: {mode: disabled, project: elsewhere}
"""


@pytest.fixture
def spec(tmp_path: Path) -> SweepSpec:
    return parse_spec(SPEC.replace("ROOT", str(tmp_path / "cache")))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `run_plan` is asked for, instead of a run."""
    asked: list[dict[str, Any]] = []

    def run_plan(plan: Any, store_uri: str, **options: Any) -> RunOutcome:
        asked.append({"plan": plan, "store": store_uri, **options})
        return RunOutcome(study=plan.study, counts={}, failed={}, skipped={}, seconds=0.0)

    monkeypatch.setattr(study_module, "run_plan", run_plan)
    return asked


def test_a_study_leaves_its_spec_and_plan_and_runs_the_plan(
    tmp_path: Path, spec: SweepSpec, calls: list[dict[str, Any]]
) -> None:
    store = open_store(tmp_path / "store")
    run_study(spec, store, address="auto", train=False, quiet_stdout=True)
    text, plan = (store.read_study("tiny", file) for file in ("spec.yaml", "plan.json"))
    assert text is not None
    assert plan is not None
    assert expand(parse_spec(text)) == plan_from_json(plan) == expand(spec)
    (asked,) = calls
    assert asked["plan"] == expand(spec)
    assert asked["store"] == str(tmp_path / "store")
    assert asked["address"] == "auto"
    assert asked["train"] is False
    assert asked["settings"].quiet_stdout
    assert asked["settings"].trackers["wandb"]["project"] == "elsewhere"


def test_files_that_would_be_the_same_are_not_written_again(
    tmp_path: Path, spec: SweepSpec, calls: list[dict[str, Any]]
) -> None:
    store = open_store(tmp_path / "store")
    run_study(spec, store)
    written = {path: path.stat().st_mtime_ns for path in store.study_dir("tiny").iterdir()}
    run_study(spec, store)
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.parametrize("plan_json", ["{torn", None])
def test_a_retry_that_cannot_read_the_plan_runs_failures_alone(
    tmp_path: Path, calls: list[dict[str, Any]], plan_json: str | None
) -> None:
    store = open_store(tmp_path / "store")
    spec = parse_spec(
        SPEC.replace("ROOT", str(tmp_path / "cache")).replace("b: [0.3]", "b: [0.3, 1]")
    )
    failed = expand(spec).trials[-1]
    reason = "loss is nan"
    store.begin(failed)
    store.fail(
        FailureRecord(schema=SCHEMA, trial=failed, reason=reason, step=None, term=None, log="")
    )
    if plan_json is not None:
        store.write_study("tiny", "plan.json", plan_json)
    run_study(spec, store, retry=True)
    assert calls[0]["only"] == {failed.id, *failed.needs}


def test_data_sets_are_made_once_before_workers_want_them(tmp_path: Path, spec: SweepSpec) -> None:
    prepare(expand(spec).trials)
    (made,) = (tmp_path / "cache").iterdir()
    before = made.stat().st_mtime_ns
    prepare(expand(spec).trials)
    assert made.stat().st_mtime_ns == before


def test_an_outcome_as_json_and_in_words() -> None:
    outcome = RunOutcome(
        study="tiny",
        counts={"done": 2, "failed": 1, "skipped": 1},
        failed={"a": "loss is nan"},
        skipped={"b": "a"},
        seconds=61.0,
    )
    assert outcome.exit_code == 1
    assert outcome.cached == 0
    assert outcome.to_json()["failed"] == {"a": "loss is nan"}
    assert outcome.summary().splitlines()[:2] == [
        "study tiny: 2 done, 1 failed, 1 skipped in 1:01",
        "failed a: loss is nan",
    ]


def test_an_outcome_says_what_was_expected() -> None:
    counts = {"done": 2}
    outcome = RunOutcome(
        study="tiny", counts=counts, failed={}, skipped={}, seconds=61.0, expected_s=58.0
    )
    assert outcome.summary() == "study tiny: 2 done in 1:01, expected 58 s"
