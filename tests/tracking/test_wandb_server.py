"""A W&B server that is not there, has no key, answers, or is lost midway: no trial ever waits."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tcc.stores import to_json

KEY = "a" * 40


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def launch(tmp_path, make_trial, record):
    """Starts a trial's process with a server address; ends it if a test leaves it."""
    processes = []

    def start(port: int, *, key: str = KEY, trials: int = 1, pause: bool = False, **settings):
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
    assert read_runs()["t0"][0].folder.name.startswith("offline-run-")


def test_a_server_that_answers_gets_the_run(launch, tmp_path, server):
    times, messages = _end(launch(server.port, mode="auto"))
    assert messages == []
    assert times[0]["finish"] < 20.0
    (upsert, *_) = [sent for sent in server.queries if "displayName" in sent]
    assert (upsert["name"], upsert["groupName"]) == ("t0", "tiny")
    assert upsert["displayName"] == "enhancement λ_e=0.1"
    assert upsert["jobType"] == "enhancement"
    (folder,) = (tmp_path / "runs" / "wandb").glob("*run-*")
    assert folder.name.startswith("run-")


def test_a_server_lost_midway_costs_a_bounded_wait(launch, server, read_runs):
    process = launch(server.port, mode="online", finish_timeout_s=1.0, pause=True, trials=2)
    assert process.stdout.readline() == "paused\n"
    server.stop()
    process.stdin.write("\n")
    process.stdin.flush()
    first = json.loads(process.stdout.readline())
    assert first["log"] < 5.0
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


class _Server:
    """As much of W&B's server as a run needs."""

    def __init__(self) -> None:
        self.queries: list[dict] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, query: str, sent: dict) -> dict:
        self.queries.append(sent)
        project = {"id": "P", "name": "tcc", "entity": {"id": "E", "name": "someone"}}
        if "RunResumeStatus" in query:
            return {"model": {**project, "bucket": None}}
        if "UpsertBucket" in query:
            bucket = {
                "id": "B", "name": sent["name"], "displayName": sent["displayName"],
                "config": "{}", "historyLineCount": 0, "project": project,
            }  # fmt: skip
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "CreateRunFiles" in query:
            url = f"http://127.0.0.1:{self.port}/upload/"
            files = [{"name": name, "uploadUrl": url + name} for name in sent["files"]]
            return {"createRunFiles": {"runID": "B", "uploadHeaders": [], "files": files}}
        return {}

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                reply = {}
                if self.path == "/graphql":
                    request = json.loads(body)
                    reply = {"data": server.answer(request["query"], request["variables"])}
                data = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_PUT = do_POST

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def server():
    server = _Server()
    yield server
    server.stop()
