"""How long trials take on a cluster: by an ideal schedule of them, and at the very least.

An ideal schedule starts a trial, the one with the longest chain behind it first, the moment that
its parents have ended and a node has room; nothing costs time but the trials.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from tcc.plan.capacity import Node, Room, each_node, slots
from tcc.plan.graph import critical_path
from tcc.records import Plan, Resources, TrialSpec


class Span(NamedTuple):
    """When a trial starts and ends, in seconds from the first, and on which of `each_node`."""

    start_s: float
    end_s: float
    node: int


def makespan(
    trials: Iterable[TrialSpec], seconds: Mapping[str, float], nodes: Sequence[Node]
) -> float:
    """Seconds from the first start to the last end of an ideal schedule; infinite where no node
    holds some trial.

    ``trials`` in topological order; what they need and is not among them counts as done.
    ``seconds``: trial → what it takes; one that is not in it takes the mean of those that are, and
    no time where none is.
    """
    trials = tuple(trials)
    spans = schedule(trials, seconds, nodes)
    if len(spans) < len(trials):
        return math.inf
    return max((span.end_s for span in spans.values()), default=0.0)


def bound(
    trials: Iterable[TrialSpec], seconds: Mapping[str, float], nodes: Sequence[Node]
) -> float:
    """Seconds that no schedule can beat: the longest chain; the work over all CPUs, over all GPUs,
    and for trials of one shape over the slots for it. Arguments and infinity as in `makespan`."""
    plan = Plan(study="", trials=tuple(trials))
    takes = _filled(plan, seconds)
    work: dict[Resources, float] = defaultdict(float)
    for trial in plan:
        work[trial.resources] += takes[trial.id]
    held = {need: sum(node.count * slots(node, need) for node in nodes) for need in work}
    if not all(held.values()):
        return math.inf
    cpu_s, gpu_s = (
        sum(getattr(need, what) * spent_s for need, spent_s in work.items())
        for what in ("cpu", "gpu")
    )
    return max(
        0.0,
        *critical_path(plan, takes).values(),
        cpu_s / (sum(node.cpu * node.count for node in nodes) or 1),
        gpu_s / (sum(node.gpu * node.count for node in nodes) or 1),
        *(spent_s / held[need] for need, spent_s in work.items()),
    )


def schedule(
    trials: Iterable[TrialSpec], seconds: Mapping[str, float], nodes: Sequence[Node]
) -> dict[str, Span]:
    """Trial → its place in the schedule of `makespan`, in the order of their starts. What no node
    holds, and what stands on it, is not in it."""
    plan = Plan(study="", trials=tuple(trials))
    takes = _filled(plan, seconds)
    urgency = critical_path(plan, takes)
    rank = {trial.id: (-urgency[trial.id], index) for index, trial in enumerate(plan)}
    missing = {trial.id: len(rank.keys() & set(trial.needs)) for trial in plan}
    after: dict[str, list[TrialSpec]] = defaultdict(list)
    for trial in plan:
        for need in set(trial.needs):
            after[need].append(trial)
    ready = _Ready(each_node(nodes, len(plan)))
    for trial in plan:
        if not missing[trial.id]:
            ready.add(trial, rank[trial.id])
    spans: dict[str, Span] = {}
    running: list[tuple[float, str]] = []
    now = 0.0
    while True:
        while placed := ready.place():
            id, node = placed
            spans[id] = Span(now, now + takes[id], node)
            heapq.heappush(running, (spans[id].end_s, id))
        if not running:
            return spans
        now = running[0][0]
        while running and running[0][0] == now:
            _, id = heapq.heappop(running)
            ready.end(id)
            for child in after[id]:
                missing[child.id] -= 1
                if not missing[child.id]:
                    ready.add(child, rank[child.id])


class _Ready:
    """The trials that may start, and the room on the nodes.

    For each shape the nodes are remembered that may have room for it: all at first; one that had
    none again when something has ended there. So each trial is placed in few steps.
    """

    def __init__(self, nodes: Sequence[Node]):
        self._rooms = [Room(node) for node in nodes]
        # trials that want no GPU go where there is none first, and leave the others free
        self._order = sorted(range(len(nodes)), key=lambda index: nodes[index].gpu)
        self._place_of = {index: place for place, index in enumerate(self._order)}
        self._waiting: dict[Resources, list[tuple[tuple[float, int], str]]] = defaultdict(list)
        self._open: dict[Resources, list[int]] = {}
        self._taken: dict[str, tuple[int, Resources, tuple[int, ...]]] = {}

    def add(self, trial: TrialSpec, rank: tuple[float, int]) -> None:
        """A trial may start."""
        self._open.setdefault(trial.resources, list(range(len(self._order))))
        heapq.heappush(self._waiting[trial.resources], (rank, trial.id))

    def place(self) -> tuple[str, int] | None:
        """Takes room for the most urgent trial for which there is any: the trial and its node."""
        heads = sorted((heap[0], need) for need, heap in self._waiting.items() if heap)
        for (_, id), need in heads:
            found = self._open[need]
            while found:
                index = self._order[found[0]]
                gpus = self._rooms[index].take(need)
                if gpus is not None:
                    heapq.heappop(self._waiting[need])
                    self._taken[id] = (index, need, gpus)
                    return id, index
                heapq.heappop(found)
        return None

    def end(self, id: str) -> None:
        """A trial's room is free again."""
        index, need, gpus = self._taken.pop(id)
        self._rooms[index].give(need, gpus)
        for found in self._open.values():
            heapq.heappush(found, self._place_of[index])


def _filled(plan: Plan, seconds: Mapping[str, float]) -> dict[str, float]:
    """What each trial takes, the mean of the known ones where it is not known."""
    known = [seconds[trial.id] for trial in plan if trial.id in seconds]
    usual = fmean(known) if known else 0.0
    return {trial.id: seconds.get(trial.id, usual) for trial in plan}
