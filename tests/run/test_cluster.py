"""Joining clusters: a head with token authentication, `ray job submit`, a node that is lost."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_trials import ATTEMPT, attempts, make_plan, make_trial

from tcc.errors import ClusterError
from tcc.run import run_plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RAY = str(Path(sys.executable).with_name("ray"))
PLAN = make_plan(
    make_trial("base"), make_trial("child", ("base",)), make_trial("report", label="report")
)
DRIVER = """
import sys
from fake_trials import ATTEMPT, make_plan, make_trial
from tcc.errors import TccError
from tcc.run import run_plan

plan = make_plan(
    make_trial("base"), make_trial("child", ("base",)), make_trial("report", label="report")
)
try:
    print(run_plan(plan, sys.argv[1], execute=ATTEMPT, address=(sys.argv + [None])[2]).summary())
except TccError as error:
    sys.exit(f"refused: {error}")
"""


@dataclass(frozen=True)
class Head:
    gcs: str
    jobs: str
    client: str
    token: str

    def environment(self, token: str) -> dict[str, str]:
        return os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}

    def drive(self, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", DRIVER, *arguments],
            capture_output=True,
            text=True,
            env=self.environment(token or self.token),
            check=False,
        )


def free_port() -> int:
    """One that no worker of Ray takes: those begin at 10002 and end below 20000."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := probe.getsockname()[1]) >= 20000:
                return port


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """`ray start --head` as a user starts it, ended by its own process id."""
    gcs, jobs, client, agent = (free_port() for _ in range(4))
    token = secrets.token_hex(32)
    made = Head(
        gcs=f"127.0.0.1:{gcs}",
        jobs=f"http://127.0.0.1:{jobs}",
        client=f"ray://127.0.0.1:{client}",
        token=token,
    )
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *(RAY, "start", "--head", "--block", "--num-cpus=2", f"--temp-dir={folder}"),
                *(
                    f"--port={gcs}",
                    f"--dashboard-port={jobs}",
                    f"--ray-client-server-port={client}",
                ),
                f"--dashboard-agent-listen-port={agent}",
            ],
            env=made.environment(token),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            for port in (gcs, jobs, client):
                wait_for_port(port, process)
            yield made
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, "the head ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.3)
    raise AssertionError(f"nobody listens at {port}")


@pytest.mark.parametrize("how", ["gcs", "client"])
def test_a_run_joins_a_cluster_that_wants_a_token(head: Head, how: str, tmp_path: Path) -> None:
    done = head.drive(str(tmp_path), getattr(head, how))
    assert done.returncode == 0, done.stderr
    assert "3 done" in done.stdout
    assert done.stderr == ""
    assert done.stdout.count(" running ") == 3


def test_a_wrong_token_is_refused_in_words(head: Head, tmp_path: Path) -> None:
    done = head.drive(str(tmp_path), head.gcs, token="0" * 64)
    assert done.returncode == 1
    assert done.stderr.startswith("refused: no Ray cluster could be joined at")
    assert "RAY_AUTH_TOKEN" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_a_job_uses_the_cluster_that_it_was_submitted_to(head: Head, tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    done = subprocess.run(
        [
            *(RAY, "job", "submit", "--address", head.jobs, "--"),
            *(sys.executable, str(script), str(tmp_path / "store")),
        ],
        capture_output=True,
        text=True,
        env=head.environment(head.token),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "study test: 3 done" in done.stdout
    assert len(attempts(tmp_path / "store")) == 3


def test_the_trials_of_a_lost_node_run_on_another(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    plan = make_plan(*[make_trial(f"t{number}", label="sleep 8") for number in range(3)])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = cluster.add_node(num_cpus=2)

    def lose() -> None:
        while len(list(tmp_path.glob("begun-*"))) < 3:
            time.sleep(0.1)
        cluster.remove_node(lost, allow_graceful=False)

    thread = threading.Thread(target=lose, daemon=True)
    thread.start()
    try:
        outcome = run_plan(plan, str(tmp_path), execute=ATTEMPT, address=cluster.address)
    finally:
        cluster.shutdown()
    thread.join(30)
    assert outcome.counts == {"done": 3}
    assert len(attempts(tmp_path)) == 3


def test_what_no_node_of_a_cluster_holds_is_refused_though_all_together_would(
    tmp_path: Path,
) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=3)
    plan = make_plan(make_trial("base", cpu=5))
    try:
        with pytest.raises(ClusterError, match=r"base trial wants 5 CPU .* \(3 CPU, 0 GPU\)"):
            run_plan(plan, str(tmp_path), execute=ATTEMPT, address=cluster.address)
    finally:
        cluster.shutdown()
