"""Nodes that are lost in the middle of a training, and one that joins: a real cluster of Ray."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from fault_bench import SMALL, Bench, kill, until
from fault_notes import Note, account, running
from fault_results import differences, results
from kill_study import Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture
def cluster(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that takes no trials, and two nodes of one processor each."""
    for name, value in bench.environment.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, wait=False)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def lose(cluster: Any, node: Any) -> None:
    """Ends a node as when its power goes: its workers and its raylet, all at once."""
    raylet = raylet_of(node)
    for process in [*raylet.children(recursive=True), raylet]:
        kill(process)
    cluster.remove_node(node, allow_graceful=False)


def raylet_of(node: Any) -> psutil.Process:
    (info,) = node.all_processes["raylet"]
    return psutil.Process(info.process.pid)


def node_of(cluster: Any, pid: int) -> Any:
    """The node that a worker runs on."""
    for node in cluster.worker_nodes:
        if pid in {child.pid for child in raylet_of(node).children(recursive=True)}:
            return node
    return None


def in_the_middle(bench: Bench, ids: set[str], pids: set[int]) -> Note | None:
    """The last step of one of these trials that is being trained, by another than these workers."""
    found = running(bench.notes).values()
    return next((n for n in found if n.trial in ids and n.number > 40 and n.pid not in pids), None)


def test_lost_nodes_cost_no_result_and_a_new_one_is_used(
    bench: Bench, cluster: Any, reference: Undisturbed
) -> None:
    bench.set(save_every_s=0.25, pause_s=0.05)
    plan = bench.plan(*SMALL)
    of_kind = {
        kind: {t["id"] for t in plan if t["kind"] == kind} for kind in ("base", "enhancement")
    }
    command = bench.start(*SMALL, "--address", cluster.address)
    lost: set[int] = set()
    joined = []
    for kind in ("base", "enhancement"):
        note = until(
            lambda kind=kind: in_the_middle(bench, of_kind[kind], lost), f"a {kind} trains", 400
        )
        lost.add(note.pid)
        lose(cluster, node_of(cluster, note.pid))
        joined.append(cluster.add_node(num_cpus=1, wait=False))
    done = command.wait(400)
    assert done.code == 0, done
    ids = {trial["id"] for trial in plan}
    assert differences(results(bench.store), reference.results, ids) == []
    found = account(bench.notes)
    assert not found.wrong
    assert 0 < found.again < found.steps / 2
    moved = {id for id in ids if len(found.trials[id].pids) > 1}
    assert moved & of_kind["base"]
    assert moved & of_kind["enhancement"]
    first = bench.notes
    workers = {note.pid for note in first if note.what == "step"}
    assert len(workers) >= 4  # two nodes lost, two that joined … one of which worked
