from __future__ import annotations

from pathlib import Path

import pytest
from fake_trials import make_trial

from tcc.errors import ClusterError
from tcc.plan.capacity import Node, refuse_oversize, slots, total_slots
from tcc.records import Resources
from tcc.run.cluster import autoscaling_nodes

LAPTOP = Node(name="laptop", cpu=8, gpu=0)
SERVER = Node(name="server", cpu=16, gpu=2)


@pytest.mark.parametrize(
    "node,cpu,gpu,expected",
    [
        (LAPTOP, 1, 0, 8),
        (LAPTOP, 3, 0, 2),
        (LAPTOP, 0.1, 0, 80),
        (LAPTOP, 1, 0.5, 0),
        (SERVER, 1, 1, 2),
        (SERVER, 1, 0.5, 4),
        (SERVER, 1, 0.4, 4),  # no share of a GPU spans two of them
        (SERVER, 1, 0.1, 16),
        (SERVER, 8, 0.1, 2),
        (SERVER, 1, 2, 1),
    ],
)
def test_slots(node: Node, cpu: float, gpu: float, expected: int) -> None:
    assert slots(node, Resources(cpu=cpu, gpu=gpu)) == expected


def test_slots_of_all_nodes_count_those_that_may_come() -> None:
    growing = Node(name="worker", cpu=4, gpu=1, count=10)
    assert total_slots([LAPTOP, growing], Resources(cpu=2)) == 4 + 20


def test_what_fits_is_not_refused() -> None:
    trials = [make_trial("a", cpu=16, gpu=2), make_trial("b", cpu=8)]
    refuse_oversize(trials, [LAPTOP, SERVER])


def test_what_fits_nowhere_is_refused_with_kind_wish_and_largest_node() -> None:
    trials = [
        make_trial("a", cpu=4, gpu=4),
        make_trial("b", kind="enhancement", cpu=99),
        make_trial("c", kind="direct"),
    ]
    with pytest.raises(ClusterError) as refused:
        refuse_oversize(trials, [LAPTOP, SERVER])
    text = str(refused.value)
    assert "each base trial wants 4 CPU and 4 GPU" in text
    assert "each enhancement trial wants 99 CPU and 0 GPU" in text
    assert "server (16 CPU, 2 GPU)" in text
    assert "direct" not in text
    assert "--address" in text


def test_two_needs_on_two_nodes_are_not_one() -> None:
    with pytest.raises(ClusterError, match="20 CPU and 1 GPU"):
        refuse_oversize([make_trial("a", cpu=20, gpu=1)], [SERVER, Node(name="cpu", cpu=64, gpu=0)])


def test_part_of_a_gpu_beyond_one_is_refused() -> None:
    with pytest.raises(ClusterError, match="whole GPUs"):
        refuse_oversize([make_trial("a", gpu=1.5)], [SERVER])


def test_autoscaling_node_types_are_read_where_ray_up_leaves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert autoscaling_nodes() == []
    (tmp_path / "ray_bootstrap_config.yaml").write_text(
        """
max_workers: 4
available_node_types:
  head: {resources: {CPU: 2}, max_workers: 0}
  gpu: {resources: {CPU: 16, GPU: 8}, max_workers: 99}
"""
    )
    head, gpu = autoscaling_nodes()
    assert (head.count, gpu.count, gpu.gpu) == (0, 4, 8.0)
    refuse_oversize([make_trial("a", gpu=8)], [LAPTOP, head, gpu])


def test_a_cluster_config_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ray_bootstrap_config.yaml").write_text("[not, a, mapping]")
    with pytest.raises(ClusterError, match="ray_bootstrap_config"):
        autoscaling_nodes()
