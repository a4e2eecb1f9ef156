"""Joining clusters: a head with token authentication, `ray job submit`, a node that is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_trials import ATTEMPT, attempts, make_plan, make_trial, steps
from heads import DRIVER, RAY, WHOLE, Head, start, started_head, wait_until

from tcc.errors import ClusterError
from tcc.run import run_plan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("no_driver_left"),
]


@pytest.mark.parametrize("how", ["gcs", "client"])
def test_a_run_joins_a_cluster_that_wants_a_token(head: Head, how: str, tmp_path: Path) -> None:
    driver = head.start(tmp_path, address=getattr(head, how))
    out, err = driver.communicate()
    assert driver.returncode == 0, err
    assert "3 done" in out
    assert err == ""
    assert out.count(" running ") == 3


def test_a_client_tries_again_when_its_server_on_the_head_dies(tmp_path: Path) -> None:
    """As happens where Ray forks it from a process with busy threads."""
    (tmp_path / "bin").mkdir()
    bash = tmp_path / "bin" / "bash"  # what a client's server is started through
    bash.write_text(f"""#!/bin/sh
case "$*" in *specific-server*) mkdir {tmp_path}/died 2>/dev/null && exit 1 ;; esac
exec {shutil.which("bash")} "$@"
""")
    bash.chmod(0o755)
    quickly = {"RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "20"}
    with started_head(WHOLE | quickly | {"PATH": f"{bash.parent}:{os.environ['PATH']}"}) as head:
        driver = head.start(tmp_path / "store", address=head.client)
        out, err = driver.communicate()
    assert (tmp_path / "died").is_dir()
    assert driver.returncode == 0, err
    assert "3 done" in out
    assert err == ""


def test_a_wrong_token_is_refused_in_words(head: Head, tmp_path: Path) -> None:
    driver = head.start(tmp_path, address=head.gcs, token="0" * 64)
    _, err = driver.communicate()
    assert driver.returncode == 2
    assert err.startswith("refused: no Ray cluster could be joined at")
    assert "RAY_AUTH_TOKEN" in err
    assert len(err.splitlines()) == 2


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


def test_a_node_that_joins_is_used_and_the_trial_of_one_that_goes_runs_elsewhere(
    tmp_path: Path,
) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    first = cluster.add_node(num_cpus=1)
    driver = start(tmp_path, label="train 60", count=4, address=cluster.address)
    try:
        wait_until(lambda: (tmp_path / "steps.jsonl").exists())
        cluster.add_node(num_cpus=2)
        wait_until(lambda: len({pid for _, _, pid in steps(tmp_path)}) > 1)
        cluster.remove_node(first, allow_graceful=False)
        out, err = driver.communicate()
    finally:
        cluster.shutdown()
    assert driver.returncode == 0, err
    assert "4 done" in out
    assert "retried" in out
    assert err == ""


def test_the_trial_of_a_node_that_is_preempted_saves_before_it_is_gone(tmp_path: Path) -> None:
    from ray._raylet import GcsClient
    from ray.cluster_utils import Cluster
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    preempted = cluster.add_node(num_cpus=1)
    driver = start(tmp_path, label="train 150", count=1, address=cluster.address)
    try:
        wait_until(lambda: (tmp_path / "steps.jsonl").exists())
        accepted, why = GcsClient(address=cluster.address).drain_node(
            preempted.node_id,
            DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"),
            "a test",
            int((time.time() + 60) * 1000),
        )
        assert accepted, why
        cluster.add_node(num_cpus=1)
        out, err = driver.communicate()
    finally:
        cluster.shutdown()
    assert driver.returncode == 0, err
    assert "told to go" in out
    assert [step for _, step, _ in steps(tmp_path)] == list(range(1, 151))


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
