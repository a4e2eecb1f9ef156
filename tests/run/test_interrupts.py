"""Runs that are interrupted, lose parts or have company, on trials that train: what was done is
kept, and no step is done twice where there was time to save."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_trials import steps
from heads import DRIVER, RAY, Head, start, wait_until

from tcc.records import RunRecord
from tcc.signals import SAME_WITHIN_S
from tcc.stores import open_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("no_driver_left"),
]


def has_trained(store: Path, count: int = 6) -> bool:
    return (store / "steps.jsonl").exists() and len(steps(store)) >= count


def finish(store: Path, label: str, count: int) -> str:
    """Gives the same command again; what it printed."""
    again = start(store, label=label, count=count)
    out, err = again.communicate()
    assert again.returncode == 0, out + err
    return out


def assert_no_step_twice(store: Path, trials: int, each: int) -> None:
    taken = [(id, step) for id, step, _ in steps(store)]
    assert len(taken) == len(set(taken)) == trials * each


def last_run(store: Path) -> RunRecord:
    return open_store(store, write=False).runs("test")[-1]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_lets_trials_save_and_the_same_command_goes_on(
    tmp_path: Path, sent: signal.Signals
) -> None:
    driver = start(tmp_path, label="train 40", count=3)
    wait_until(lambda: has_trained(tmp_path), driver=driver)
    driver.send_signal(sent)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, out + err
    assert "stopping: trials save and end, at most 60 s; again to end at once" in out
    assert err == ""
    record = last_run(tmp_path)
    assert record.interrupted
    assert record.counts["new"] > 0
    assert "3 done" in finish(tmp_path, "train 40", 3)
    assert_no_step_twice(tmp_path, 3, 40)
    assert not last_run(tmp_path).interrupted


def test_an_interrupt_that_ends_who_reads_the_output_lets_trials_save(tmp_path: Path) -> None:
    """As Ctrl-C in ``tcc run … | tee log``."""
    driver = start(tmp_path, label="train 40", count=3)
    wait_until(lambda: has_trained(tmp_path), driver=driver)
    assert driver.stdout is not None
    driver.stdout.close()
    driver.send_signal(signal.SIGINT)
    assert driver.wait(60) == 130
    assert last_run(tmp_path).interrupted
    assert "3 done" in finish(tmp_path, "train 40", 3)
    assert_no_step_twice(tmp_path, 3, 40)


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    driver = start(tmp_path, label="sleep 300", count=2)
    wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    assert driver.stdout is not None
    driver.send_signal(signal.SIGINT)
    while "stopping" not in driver.stdout.readline():
        assert driver.poll() is None
    time.sleep(SAME_WITHIN_S)
    sent_at = time.monotonic()
    driver.send_signal(signal.SIGINT)
    driver.communicate()
    assert driver.returncode == 130
    assert time.monotonic() - sent_at < 20


def test_a_worker_that_is_told_to_go_saves_and_its_trial_goes_on_elsewhere(tmp_path: Path) -> None:
    driver = start(tmp_path, label="train 40", count=2)
    wait_until(lambda: has_trained(tmp_path), driver=driver)
    _, _, pid = steps(tmp_path)[-1]
    os.kill(pid, signal.SIGTERM)
    out, err = driver.communicate()
    assert driver.returncode == 0, err
    assert "told to go" in out
    assert "goes on from its last saved step" in out
    assert_no_step_twice(tmp_path, 2, 40)
    assert last_run(tmp_path).losses == 1


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_driver_whose_ray_dies_ends_with_one_message(tmp_path: Path, part: str) -> None:
    driver = start(tmp_path, label="train 100", count=2)
    wait_until(lambda: has_trained(tmp_path), driver=driver)
    (victim,) = [it for it in psutil.Process(driver.pid).children() if part in it.name()]
    sent_at = time.monotonic()
    victim.kill()
    _, err = driver.communicate()
    assert time.monotonic() - sent_at < 60
    assert driver.returncode == 2, err
    expected = f"refused: Ray's {part} on this machine has died; what was done is kept"
    assert err.startswith(expected)
    assert len(err.splitlines()) == 1
    assert "2 done" in finish(tmp_path, "train 20", 2)


def test_two_drivers_share_a_study_and_train_each_trial_once(tmp_path: Path) -> None:
    count = 2 * (os.cpu_count() or 1) + 2  # more than one of them runs at a time
    store = open_store(tmp_path)
    (tmp_path / "hold").touch()
    drivers = [start(tmp_path, label="train 20", count=count) for _ in range(2)]
    holders = lambda: [store.holder(f"t{number}") for number in range(count)]  # noqa: E731
    wait_until(lambda: len({holder.run for holder in holders() if holder}) == 2)
    (tmp_path / "hold").unlink()
    told = ""
    for driver in drivers:
        out, err = driver.communicate()
        assert driver.returncode == 0, err
        told += out
        counts = out.splitlines()[-1]
        assert "running" not in counts
    assert "of another run" in told
    assert_no_step_twice(tmp_path, count, 20)


def test_a_full_store_ends_the_run_with_one_message_and_fails_nothing(tmp_path: Path) -> None:
    driver = start(tmp_path, label="full", count=4)
    out, err = driver.communicate()
    assert driver.returncode == 2
    assert err == "refused: the store is full\n"
    assert "failed" not in out
    assert set(last_run(tmp_path).counts) == {"new"}
    assert not list(tmp_path.glob("trials/*/failure.json"))


@pytest.mark.timeout(600)
def test_a_client_that_is_interrupted_stops_the_driver_on_the_head(
    head: Head, tmp_path: Path
) -> None:
    driver = head.start(tmp_path, label="train 40", count=3, address=head.client)
    # Five processes start one after the other, each with Ray's imports.
    wait_until(lambda: has_trained(tmp_path), 240, driver=driver)
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, out + err
    assert out.count("stopping") == 1
    assert last_run(tmp_path).interrupted
    assert "3 done" in finish(tmp_path, "train 40", 3)
    assert_no_step_twice(tmp_path, 3, 40)


def test_a_job_that_is_stopped_lets_its_trials_save(head: Head, tmp_path: Path) -> None:
    script, store = tmp_path / "driver.py", tmp_path / "store"
    script.write_text(DRIVER)

    def job(verb: str, *arguments: str) -> str:
        done = subprocess.run(
            [RAY, "job", verb, "--address", head.jobs, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=head.environment(head.token),
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    line = [sys.executable, str(script), str(store), "train 40", "3"]
    job("submit", "--no-wait", "--submission-id", "saves", "--", *line)
    wait_until(lambda: has_trained(store))
    job("stop", "saves")
    assert "stopping: trials save" in job("logs", "saves")
    assert "3 done" in finish(store, "train 40", 3)
    assert_no_step_twice(store, 3, 40)
