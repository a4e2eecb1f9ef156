"""What the nodes of a cluster can hold: how many trials of one shape at once, and whether any."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tcc.errors import ClusterError
from tcc.records import Resources, TrialSpec

UNLIMITED = 10_000  # trials at once where an autoscaler sets no bound


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node, or an autoscaling node type, of which there may be up to ``count``."""

    name: str
    cpu: float
    gpu: float
    count: int = 1

    def __str__(self) -> str:
        return f"{self.name} ({self.cpu:g} CPU, {self.gpu:g} GPU)"


def slots(node: Node, need: Resources) -> int:
    """Trials of one shape that one such node holds; a share of a GPU never spans two."""
    slack = 1e-9  # ten times 0.1 is one
    by_cpu = math.floor(node.cpu / need.cpu + slack) if need.cpu else UNLIMITED
    if not need.gpu:
        by_gpu = UNLIMITED
    elif need.gpu < 1:
        by_gpu = int(node.gpu) * math.floor(1 / need.gpu + slack)
    else:
        by_gpu = math.floor(node.gpu / need.gpu + slack)
    return min(by_cpu, by_gpu)


def total_slots(nodes: Iterable[Node], need: Resources) -> int:
    """Trials of one shape that all nodes hold at once, autoscaling ones fully grown."""
    return min(sum(node.count * slots(node, need) for node in nodes), UNLIMITED)


def refuse_oversize(trials: Iterable[TrialSpec], nodes: Sequence[Node]) -> None:
    """Checks that every shape fits some node.

    Raises:
        ClusterError: one does not; names each trial kind, what it wants and what there is.
    """
    shapes = sorted({(t.kind, t.resources.cpu, t.resources.gpu) for t in trials})
    largest = max(nodes, key=lambda node: (node.gpu, node.cpu), default=None)
    most_cpu = max(nodes, key=lambda node: node.cpu, default=None)
    there = " and ".join(dict.fromkeys(str(node) for node in (largest, most_cpu) if node))
    problems = []
    for kind, cpu, gpu in shapes:
        wants = f"each {kind} trial wants {cpu:g} CPU and {gpu:g} GPU"
        if gpu > 1 and gpu != int(gpu):
            problems.append(f"{wants}: above one, Ray only gives whole GPUs")
        elif not total_slots(nodes, Resources(cpu=cpu, gpu=gpu)):
            problems.append(f"{wants}, more than any node has; the largest is {there or 'missing'}")
    if problems:
        fix = "lower `resources` in the spec, or join a larger cluster with --address"
        raise ClusterError("\n".join([*problems, fix]))
