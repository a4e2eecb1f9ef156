"""Node types that `ray up` may add to a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_trials import make_trial

from tcc.errors import ClusterError
from tcc.plan.capacity import Node, refuse_oversize
from tcc.run.cluster import autoscaling_nodes


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
    refuse_oversize([make_trial("a", gpu=8)], [Node(name="laptop", cpu=8, gpu=0), head, gpu])


def test_a_cluster_config_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ray_bootstrap_config.yaml").write_text("[not, a, mapping]")
    with pytest.raises(ClusterError, match="ray_bootstrap_config"):
        autoscaling_nodes()
