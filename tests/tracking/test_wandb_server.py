"""A W&B server that is not there, has no key, answers, or is lost midway: no trial ever waits."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tcc.stores import to_json

KEY = "a" * 40
ROWS = [
    {"_step": step, "train/total": 1} | ({} if step % 10 else {"val/rd_cost": 0.5})
    for step in range(1, 100)
]  # what `child` logs


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def launch(tmp_path, make_trial, record):
    """Starts a trial's process with a server address; ends it if a test leaves it."""
    processes = []

    def start(port: int, *, key: str = KEY, trials: int = 1, pause: bool = False, first: int = 1,
              dies_at: int = 0, past: tuple = (), **settings):  # fmt: skip
        environment = {
            **os.environ,
            "WANDB_BASE_URL": f"http://127.0.0.1:{port}",
        }
        if key:
            environment["WANDB_API_KEY"] = key
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("child.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        processes.append(process)
        task = {
            "settings": settings,
            "directory": str(tmp_path / "runs"),
            "trials": [to_json(make_trial(f"t{index}")) for index in range(trials)],
            "record": to_json(record),
            "pause": pause,
            "first": first,
            "dies_at": dies_at,
            "past": past,
        }
        assert process.stdin is not None
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def read_runs(support, tmp_path):
    return lambda wait_s=5.0: support("wandb_file").read_runs(tmp_path / "runs", wait_s=wait_s)


@pytest.mark.parametrize("mode", ["online", "auto"])
def test_an_unreachable_server_costs_its_timeout_once(launch, closed_port, read_runs, mode):
    process = launch(closed_port, mode=mode, init_timeout_s=1.0, trials=3)
    times, messages = _end(process)
    assert 1.0 <= times[0]["start"] < 15.0
    assert all(time["finish"] < 5.0 for time in times)
    assert len(messages) == 1  # it is not asked again
    assert times[1]["start"] < times[0]["start"]
    assert "going offline" in messages[0]
    assert all(time["trouble"] in messages[0] for time in times)
    assert all(time["trouble"].startswith("W&B cannot be reached") for time in times)
    runs = read_runs()
    assert sorted(runs) == ["t0", "t1", "t2"]
    for (run,) in runs.values():
        assert run.folder.name.startswith("offline-run-")
        assert len(run.history) == 99


@pytest.mark.parametrize(
    "key, mode, messages",
    [
        ("", "auto", []),
        ("", "online", ["no key; run `wandb login`"]),
        ("short", "auto", ["AuthenticationError"]),
    ],
)
def test_without_a_valid_key_no_server_is_asked(
    launch, closed_port, read_runs, key, mode, messages
):
    times, said = _end(launch(closed_port, key=key, mode=mode, init_timeout_s=30.0))
    assert times[0]["start"] < 20.0
    assert len(said) == len(messages)
    assert all(expected in line for line, expected in zip(said, messages))
    assert all(expected in times[0]["trouble"] for expected in messages)
    assert bool(times[0]["trouble"]) == bool(messages)
    assert read_runs()["t0"][0].folder.name.startswith("offline-run-")


def test_a_server_that_answers_gets_each_row_whole_and_once(launch, tmp_path, server, record):
    times, messages = _end(launch(server.port, mode="auto"))
    assert messages == []
    assert times[0]["finish"] < 20.0
    assert times[0]["trouble"] == ""
    (run,) = server.runs.values()
    assert (run.name, run.group, run.job_type) == ("t0", "tiny", "enhancement")
    assert run.display_name == "enhancement λ_e=0.1"
    assert run.rows == ROWS
    assert run.summary["reconstruction/psnr"] == 30.0
    assert run.state == "finished"
    (folder,) = (tmp_path / "runs" / "wandb").glob("*run-*")
    assert folder.name.startswith("run-")


def test_a_killed_run_goes_on_with_what_its_process_kept_to_itself(launch, server):
    process = launch(server.port, mode="online", dies_at=60)
    assert process.wait(30) == -signal.SIGKILL
    assert len(server.runs["t0"].rows) < 59  # W&B sends every 15 s
    past = [{"step": row["_step"], **_values(row)} for row in ROWS[:60]]
    times, messages = _end(launch(server.port, mode="online", first=41, past=past))
    assert (messages, times[0]["trouble"]) == ([], "")
    assert server.runs["t0"].rows == ROWS
    assert server.runs["t0"].state == "finished"


def test_rows_that_the_server_has_are_not_sent_again(launch, server):
    _end(launch(server.port, mode="online"))
    sent = list(server.chunks)
    _, messages = _end(launch(server.port, mode="online", first=50))  # as after a late kill
    assert messages == []
    assert server.chunks == sent
    assert server.runs["t0"].rows == ROWS


def test_a_server_lost_midway_costs_a_bounded_wait(launch, server, read_runs):
    process = launch(server.port, mode="online", finish_timeout_s=1.0, pause=True, trials=2)
    assert process.stdout.readline() == "paused\n"
    server.stop()
    process.stdin.write("\n")
    process.stdin.flush()
    first = json.loads(process.stdout.readline())
    assert first["log"] < 5.0
    assert "did not take run t0" in first["trouble"]
    assert 1.0 <= first["finish"] < 10.0
    assert process.stdout.readline() == "paused\n"
    second, messages = _end(process, "\n")
    assert second[0]["finish"] < 5.0
    assert len(messages) == 1
    assert "did not take run t0 within 1 s" in messages[0]
    runs = read_runs()
    assert len(runs["t0"][0].history) == 99  # all of it is on this machine
    assert runs["t1"][0].folder.name.startswith("offline-run-")


def test_a_dead_service_process_costs_one_run(launch, closed_port, read_runs):
    process = launch(closed_port, mode="offline", pause=True, trials=2)
    assert process.stdout.readline() == "paused\n"
    for service in _children(process.pid):
        os.kill(service, signal.SIGKILL)
    process.stdin.write("\n")
    process.stdin.flush()
    process.stdout.readline()
    assert process.stdout.readline() == "paused\n"
    _, err = process.communicate("\n", timeout=30)
    assert process.returncode == 0
    (message,) = [line for line in err.splitlines() if line.startswith("tcc.tracking: ")]
    assert "of run t0 failed" in message
    assert len(read_runs(1.0)["t1"][0].history) == 99  # t0 never ends


def _end(process: subprocess.Popen[str], rest: str = "") -> tuple[list[dict], list[str]]:
    """Seconds by phase of each trial, and all that was said on stderr; W&B itself is silent."""
    started = time.monotonic()
    out, err = process.communicate(rest, timeout=50)
    assert process.returncode == 0, err
    assert time.monotonic() - started < 45.0
    messages = err.splitlines()
    assert all(line.startswith("tcc.tracking: ") for line in messages), err
    return [json.loads(line) for line in out.splitlines()], messages


def _children(parent: int) -> list[int]:
    """W&B's own processes below a process, by Linux's process table."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            above = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if above == parent and "wandb-core" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    assert found
    return found


@pytest.fixture
def server(support):
    server = support("wandb_server").WandbServer()
    yield server
    server.stop()


def _values(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "_step"}
