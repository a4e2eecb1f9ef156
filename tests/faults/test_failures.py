"""One study with every way to fail: each is told apart, the rest goes on, `retry` revives them."""

from __future__ import annotations

import json
from typing import Any

import psutil
import pytest
from fault_bench import HALF, Bench
from fault_results import differences, results
from kill_study import Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

EATEN = 0.6  # share of the free memory at which Ray ends a worker: others here may use the rest


def pick(plan: list[dict[str, Any]], kind: str, **axes: float) -> str:
    """The one trial of a kind with these axes."""
    (found,) = [t["id"] for t in plan if t["kind"] == kind and axes.items() <= t["axes"].items()]
    return found


def below(plan: list[dict[str, Any]], id: str) -> set[str]:
    """All that stands on a trial."""
    found: set[str] = set()
    for trial in plan:  # in topological order
        if {id, *found} & set(trial["needs"]):
            found.add(trial["id"])
    return found


def test_each_failure_is_told_apart_and_retry_completes(
    bench: Bench, reference: Undisturbed
) -> None:
    plan = bench.plan(*HALF)
    base = pick(plan, "base", beta=0)
    raising, eating = pick(plan, "pixels"), pick(plan, "direct", beta=0.1)
    skipped = below(plan, base)
    assert len(skipped) == 5
    bench.set(
        injuries={
            base: {"step": 30, "what": "nan"},
            raising: {"step": 10, "what": "raise"},
            eating: {"step": 20, "what": "eat"},
        }
    )
    memory = psutil.virtual_memory()
    assert memory.available > 4 << 30, "too little memory is free here for this test"
    threshold = 1 - (1 - EATEN) * memory.available / memory.total
    done = bench.start(
        *HALF,
        "--json",
        RAY_memory_usage_threshold=f"{threshold:.4f}",
        RAY_memory_monitor_refresh_ms="100",
    ).wait(400)
    assert done.code == 1, done
    outcome = json.loads(done.out)
    assert set(outcome["failed"]) == {base, raising, eating}
    assert outcome["skipped"] == dict.fromkeys(skipped, base)
    assert outcome["counts"] == {"done": 8, "failed": 3, "skipped": 5}
    assert "nan at step 30" in outcome["failed"][base]
    assert "RuntimeError: injected" in outcome["failed"][raising]
    assert "memory" in outcome["failed"][eating]

    status = json.loads(bench.run("--json", verb="status").out)
    failures = {failure["trial"]: failure for failure in status["failures"]}
    assert {id: it["reason"] for id, it in failures.items()} == outcome["failed"]
    assert (failures[base]["step"], failures[base]["term"]) == (30, "total")
    page = (bench.store / "studies/faults/report/index.html").read_text()
    assert all(id in page for id in [*outcome["failed"], *skipped])
    assert "nan at step 30" in page

    again = bench.run(*HALF, "--json")  # leaves failures alone
    assert again.code == 1
    assert json.loads(again.out)["failed"] == outcome["failed"]

    bench.set()
    retried = bench.run("--json", verb="retry")
    assert retried.code == 0, retried
    ids = {trial["id"] for trial in plan}
    assert differences(results(bench.store), reference.results, ids) == []
