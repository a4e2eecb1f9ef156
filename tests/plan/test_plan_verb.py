"""`tcc plan` as users type it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tcc.cli import cli
from tcc.plan import plan_to_json
from tcc.plan.past import keep_past
from tcc.records import SCHEMA, Plan
from tcc.stores import open_store, to_json

Planned = Callable[..., Plan]
Memory = Any  # the MemoryStore of conftest.py


@pytest.fixture
def sweep(tmp_path: Path, study: str) -> Path:
    """The file of the study."""
    (tmp_path / "sweep.yaml").write_text(study)
    return tmp_path / "sweep.yaml"


def plan_json(sweep: Path, *options: str) -> dict[str, Any]:
    arguments = ["plan", str(sweep), "--store", str(sweep.parent / "runs"), "--json", *options]
    return json.loads(CliRunner().invoke(cli, arguments, catch_exceptions=False).stdout)


def test_it_says_what_a_plan_costs_here(sweep: Path, planned: Planned) -> None:
    found = plan_json(sweep)
    assert found["counts"]["total"] == found["cost"]["unknown"] == len(planned())
    assert found["cost"]["makespan_s"] is None
    (here,) = found["cost"]["nodes"]
    assert here["name"] == "this machine"
    assert here["cpu"] >= 1
    assert found["older"] == []


def test_records_of_another_schema_are_one_line(
    sweep: Path, planned: Planned, store: Memory
) -> None:
    plan, opened = planned(), open_store(sweep.parent / "runs")
    keep_past(plan.study, opened, sweep.read_text(), plan_to_json(plan))
    for trial in plan:
        store.finish(trial)
        opened.commit(store.records[trial.id])
        path = sweep.parent / "runs" / "trials" / trial.id / "result.json"
        now = to_json(store.records[trial.id])
        path.write_text(now.replace(f'{{"schema": {SCHEMA}', f'{{"schema": {SCHEMA - 1}', 1))
    arguments = ["plan", str(sweep), "--store", str(sweep.parent / "runs")]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert f"not trusted: {len(plan)} files" in line
    assert f"has schema {SCHEMA - 1}; this version of tcc reads schema {SCHEMA}" in line
    assert "redone" in line


def test_a_cluster_that_is_not_there_is_one_message(sweep: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tcc", "plan", str(sweep), "--address", "127.0.0.1:1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("tcc: no Ray cluster could be joined at '127.0.0.1:1'")


@pytest.fixture
def ray_of_three() -> Iterator[None]:
    """A Ray of three processors and two pretended GPUs in this very process."""
    from tcc.run.cluster import DRIVER, LOCAL

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (DRIVER | LOCAL | {"RAY_AUTH_MODE": "disabled"}).items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray

        quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        ray.init("local", num_cpus=3, num_gpus=2, include_dashboard=False, **quiet)
        yield
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_cluster_is_asked_for_its_nodes(
    sweep: Path, planned: Planned, store: Memory, ray_of_three: None
) -> None:
    plan, opened = planned(), open_store(sweep.parent / "runs")
    other = planned(changes={"study: some": "study: other", "steps: 20": "steps: 40"})
    keep_past("other", opened, "study: other\n", plan_to_json(other))
    for trial in other:
        store.finish(trial)
        opened.commit(store.records[trial.id])
    cost = plan_json(sweep, "--address", "auto")["cost"]
    assert [(node["cpu"], node["gpu"], node["count"]) for node in cost["nodes"]] == [(3.0, 2.0, 1)]
    assert cost["unknown"] == 0
    assert 5.0 + 3.5 <= cost["makespan_s"] < len(plan) * (5.0 + 3.5) / 2
