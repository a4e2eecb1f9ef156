"""What the nodes of a cluster can hold: how many trials of one shape at once, and whether any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tcc.errors import ClusterError
from tcc.records import Resources, TrialSpec

UNLIMITED = 10_000  # trials at once where an autoscaler sets no bound
GRAIN = 10_000  # parts of a CPU or GPU that are counted, as Ray does: ten times 0.1 is one


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
    cpu, gpu = _grains(need.cpu), _grains(need.gpu)
    by_cpu = _grains(node.cpu) // cpu if cpu else UNLIMITED
    if not gpu:
        by_gpu = UNLIMITED
    elif gpu < GRAIN:
        by_gpu = int(node.gpu) * (GRAIN // gpu)
    else:
        by_gpu = 0 if gpu % GRAIN else int(node.gpu) // (gpu // GRAIN)
    return min(by_cpu, by_gpu)


def total_slots(nodes: Iterable[Node], need: Resources) -> int:
    """Trials of one shape that all nodes hold at once, autoscaling ones fully grown."""
    return min(sum(node.count * slots(node, need) for node in nodes), UNLIMITED)


def each_node(nodes: Iterable[Node], most: int) -> list[Node]:
    """Every node apart, autoscaling ones fully grown, but no more than ``most`` of a type."""
    return [node for node in nodes for _ in range(min(node.count, most))]


class Room:
    """What is free on one node."""

    def __init__(self, node: Node):
        self._cpu = _grains(node.cpu)
        self._gpus = [GRAIN] * int(node.gpu)

    def take(self, need: Resources) -> tuple[int, ...] | None:
        """Takes room for a trial: the GPUs that it is on; None where there is not enough."""
        cpu, gpu = _grains(need.cpu), _grains(need.gpu)
        gpus = self._find(gpu)
        if gpus is None or cpu > self._cpu:
            return None
        self._cpu -= cpu
        for index in gpus:
            self._gpus[index] -= min(gpu, GRAIN)
        return gpus

    def give(self, need: Resources, gpus: Iterable[int]) -> None:
        """Gives back what `take` took."""
        self._cpu += _grains(need.cpu)
        for index in gpus:
            self._gpus[index] += min(_grains(need.gpu), GRAIN)

    def _find(self, gpu: int) -> tuple[int, ...] | None:
        if not gpu:
            return ()
        if gpu < GRAIN:  # on the fullest that will do: whole ones stay free for who needs them
            free = [(left, index) for index, left in enumerate(self._gpus) if left >= gpu]
            return (min(free)[1],) if free else None
        wanted, part = divmod(gpu, GRAIN)
        whole = [index for index, left in enumerate(self._gpus) if left == GRAIN]
        return None if part or len(whole) < wanted else tuple(whole[:wanted])


def _grains(share: float) -> int:
    return round(share * GRAIN)


def oversize(trials: Iterable[TrialSpec], nodes: Sequence[Node]) -> list[str]:
    """What no node can hold, one line for each shape: the trial kinds, what they want and what
    there is."""
    kinds: dict[tuple[float, float], set[str]] = defaultdict(set)
    for trial in trials:
        kinds[trial.resources.cpu, trial.resources.gpu].add(trial.kind)
    largest = max(nodes, key=lambda node: (node.gpu, node.cpu), default=None)
    most_cpu = max(nodes, key=lambda node: node.cpu, default=None)
    there = " and ".join(dict.fromkeys(str(node) for node in (largest, most_cpu) if node))
    problems = []
    for (cpu, gpu), alike in sorted(kinds.items()):
        wants = f"each {', '.join(sorted(alike))} trial wants {cpu:g} CPU and {gpu:g} GPU"
        if gpu > 1 and gpu != int(gpu):
            problems.append(f"{wants}: above one, Ray only gives whole GPUs")
        elif not total_slots(nodes, Resources(cpu=cpu, gpu=gpu)):
            problems.append(f"{wants}, more than any node has; the largest is {there or 'missing'}")
    return problems


def refuse_oversize(trials: Iterable[TrialSpec], nodes: Sequence[Node]) -> None:
    """Checks that every shape fits some node.

    Raises:
        ClusterError: one does not; names the trial kinds, what they want and what there is.
    """
    if problems := oversize(trials, nodes):
        fix = "lower `resources` in the spec, or join a larger cluster with --address"
        raise ClusterError("\n".join([*problems, fix]))
