"""Runs in processes of their own: what they import, how they are interrupted, how they go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_trials import attempts, make_trial, no_op

from tcc.stores import open_store
from tcc.trial.observer import Silent

pytestmark = pytest.mark.timeout(240)

SCRIPT = """
import sys
from fake_trials import ATTEMPT, make_plan, make_trial
from tcc.errors import TccError
from tcc.run import run_plan

label, store, address = sys.argv[1:]
plan = make_plan(*(make_trial(f"t{n}", label=label) for n in range(6)))
try:
    outcome = run_plan(plan, store, execute=ATTEMPT, address=address or None)
    print(outcome.summary())
    print("ray imported:", "ray" in sys.modules, "torch imported:", "torch" in sys.modules)
    sys.exit(outcome.exit_code)
except TccError as error:
    sys.exit(f"refused: {error}")
except KeyboardInterrupt:
    sys.exit(130)
"""


def start(store: Path, label: str = "sleep 0.1", address: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, label, str(store), address],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_until_begun(store: Path, count: int, within_s: float = 120) -> None:
    until = time.monotonic() + within_s
    while len(list(store.glob("begun-*"))) < count:
        assert time.monotonic() < until, "nothing began"
        time.sleep(0.1)


def wait_until_gone(processes: list[psutil.Process], within_s: float = 30) -> None:
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    assert not alive, f"still there: {alive}"


def assert_none_ran_twice(store: Path) -> None:
    finished = [note["id"] for note in attempts(store)]
    assert len(finished) == len(set(finished)), "a finished trial was run again"
    assert len(open_store(store, write=False).result_ids()) == 6


def test_a_finished_study_imports_neither_ray_nor_torch(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in range(6):
        no_op(make_trial(f"t{number}", label="sleep 0.1"), store, Silent(), study="test")
    begun = time.monotonic()
    process = start(tmp_path)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert "6 cached" in out
    assert "ray imported: False torch imported: False" in out
    assert time.monotonic() - begun < 5


def test_an_address_where_nobody_is_is_refused_soon(tmp_path: Path) -> None:
    begun = time.monotonic()
    process = start(tmp_path, address="127.0.0.1:1")
    out, _ = process.communicate()
    assert process.returncode == 1
    assert "refused: no Ray cluster could be joined at '127.0.0.1:1'" in out
    assert "Traceback" not in out
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_ends_its_ray_and_goes_on_later(
    tmp_path: Path, sent: signal.Signals
) -> None:
    process = start(tmp_path, "sleep 2")
    wait_until_begun(tmp_path, 3)
    started = psutil.Process(process.pid).children(recursive=True)
    assert any("raylet" in child.name() for child in started)
    os.killpg(process.pid, sent)  # as a terminal does, to all of the group
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "Traceback" not in out
    wait_until_gone(started, within_s=10)
    done = open_store(tmp_path, write=False).result_ids()
    assert 0 < len(done) < 6

    again = start(tmp_path, "sleep 2")
    out, _ = again.communicate()
    assert again.returncode == 0, out
    assert f"{6 - len(done)} done, {len(done)} cached" in out
    assert_none_ran_twice(tmp_path)


@pytest.mark.slow
def test_a_killed_driver_loses_no_finished_trial(tmp_path: Path) -> None:
    for count in (3, 5):
        process = start(tmp_path, "sleep 2")
        wait_until_begun(tmp_path, count)
        started = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        wait_until_gone([child for child in started if "Agent" not in child.name()])
    last = start(tmp_path, "sleep 2")
    out, _ = last.communicate()
    assert last.returncode == 0, out
    assert_none_ran_twice(tmp_path)
