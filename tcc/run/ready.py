"""The trials whose parents are usable, most urgent first, each shape in a line of its own."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from tcc.records import Plan, Resources, TrialSpec


class Ready:
    """``priority``: id → urgency. ``room``: how many more of one shape may be taken."""

    def __init__(self, plan: Plan, priority: Mapping[str, float], room: Callable[[Resources], int]):
        self._trials = {trial.id: trial for trial in plan}
        self._rank = {t.id: (-priority[t.id], index) for index, t in enumerate(plan)}
        self._room = room
        self._lines: dict[Resources, list[tuple[tuple[float, int], str]]] = defaultdict(list)

    def add(self, trial: TrialSpec) -> None:
        """A trial may be taken."""
        heapq.heappush(self._lines[trial.resources], (self._rank[trial.id], trial.id))

    def take(self, wanted: Collection[str]) -> TrialSpec | None:
        """The first that is still wanted and for whose shape there is room."""
        for line in self._lines.values():
            while line and line[0][1] not in wanted:
                heapq.heappop(line)
        heads = [
            (line[0], need) for need, line in self._lines.items() if line and self._room(need) > 0
        ]
        if not heads:
            return None
        (_, id), need = min(heads)
        heapq.heappop(self._lines[need])
        return self._trials[id]

    def first(self, of: Collection[str]) -> TrialSpec:
        """The most urgent of some trials."""
        return self._trials[min(of, key=self._rank.__getitem__)]
