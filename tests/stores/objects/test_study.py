"""A study whose store is a bucket: its driver killed, the same command again, as on a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tcc.plan import expand
from tcc.records import FrozenMap
from tcc.spec import load_spec
from tcc.stores import Store, open_store
from tcc.stores.objects import ObjectBackend
from tcc.trial import attempt

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

SPEC = """
study: tiny
data: {scenes: {train: 24, val: 6, select: 8}}
pairs: [{base: depth, enhancement: reconstruction}]
grid: {lambda_b: [0.3], lambda_e: [0.3], beta: [0, 0.1]}
model: {channels: [4, 6, 8], latent: 4, blocks: 1}
train: {steps: 20, batch: 4, warm_start: pretrain}
"""


def test_a_killed_driver_on_a_bucket_changes_no_result(uri, environment, tmp_path):
    place = Workplace(tmp_path, environment)
    driver = subprocess.Popen(
        place.command("run", "tiny.yaml", "--store", uri),
        cwd=tmp_path,
        env=place.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    reader = open_store(uri, write=False)
    end = time.monotonic() + 200
    while not reader.result_ids() and time.monotonic() < end:
        time.sleep(0.2)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait(10)
    done_before = reader.result_ids()
    assert done_before
    trained = {id: reader.record(id).provenance for id in done_before}

    outcome = json.loads(place.tcc("run", "tiny.yaml", "--store", uri, "--json"))
    plan = expand(load_spec(tmp_path / "tiny.yaml"))
    assert set(outcome["counts"]) <= {"done", "cached"}
    assert sum(outcome["counts"].values()) == len(plan)
    status = json.loads(place.tcc("status", "tiny", "--store", uri, "--json"))
    assert status["by_state"] == {"done": len(plan)}
    assert status["problems"] == []
    assert {id: reader.record(id).provenance for id in done_before} == trained  # not again

    folder = open_store(tmp_path / "runs")
    for trial in plan:
        attempt(trial, folder)
    assert {trial.id: content(reader, trial.id) for trial in plan} == {
        trial.id: content(folder, trial.id) for trial in plan
    }

    elsewhere = place.environment | {"TCC_CACHE": str(tmp_path / "elsewhere")}
    found = json.loads(place.tcc("report", "tiny", "--store", uri, "--json", env=elsewhere))
    drawn = Path(found["files"]["html"]).read_bytes()
    backend = ObjectBackend(uri)
    assert backend.get("studies/tiny/report/index.html") == drawn
    assert backend.find("studies/tiny/report/figures/*.png")
    for trial in plan:
        assert b"training" in backend.get(f"trials/{trial.id}/log.txt")
        steps = [row["step"] for row in reader.metrics(trial.id)]
        assert steps == sorted(steps)
        assert steps[-1] == 20
    assert not backend.find("trials/*/leases/*")


class Workplace:
    """A folder with a sweep file, and the commands run in it."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder = folder
        self.environment = {k: v for k, v in environment.items() if k != "RAY_ADDRESS"}
        (folder / "tiny.yaml").write_text(SPEC)

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "tcc", *args]

    def tcc(self, *args: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            self.command(*args),
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=env or self.environment,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def content(store: Store, id: str) -> dict[str, Any]:
    """What must be the same wherever it was measured and kept."""
    record = store.record(id)
    assert record is not None
    training = record.training
    return {
        "weights": (training.checkpoint_sha256, training.last_sha256),
        "course": (training.best_step, training.rd_cost, FrozenMap(training.last_terms)),
        "evaluations": [
            (item.evaluation, item.rates, item.metrics, item.per_image)
            for item in record.evaluations
        ],
    }
