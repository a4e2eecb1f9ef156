"""What a driver does several times a second while Tune runs: it settles what has ended, shows it,
and sees whether to stop. No Ray."""

from __future__ import annotations

import time
from collections.abc import Callable

from tcc.errors import ClusterError, StoreError
from tcc.plan.capacity import Node, total_slots
from tcc.records import Resources, TrialSpec
from tcc.run.events import Watcher
from tcc.run.schedule import Schedule
from tcc.run.stopping import Ended, Stopping

WAITS_S = 60.0  # for a node, until that is said


class Pulse:
    """Where an error of the store becomes the end of the run: Tune would take it for its own.

    ``nodes``: those there are by now; raises `ClusterError` where this process's own is lost.
    ``told``: whether somebody else says that the run is to stop.
    """

    def __init__(
        self,
        schedule: Schedule,
        stopping: Stopping,
        watcher: Watcher,
        *,
        nodes: Callable[[], list[Node]],
        told: Callable[[], bool],
    ):
        self._schedule, self._stopping, self._watcher = schedule, stopping, watcher
        self._nodes, self._told = nodes, told
        self._said: set[Resources] = set()

    def next(self) -> TrialSpec | None:
        """The schedule's next trial, after a beat.

        Raises:
            Ended: as `beat`, or no trial that is left can start.
        """
        self.beat()
        try:
            return self._schedule.next()
        except StoreError as error:
            self._stopping.because(error)
            return None
        except ClusterError as error:
            raise Ended(error) from error

    def beat(self) -> None:
        """Raises `Ended` where this process's node is lost, or the run stops and takes too long."""
        try:
            nodes = self._nodes()
        except ClusterError as error:
            raise Ended(error) from error
        try:
            self._schedule.settle()
        except StoreError as error:
            self._stopping.because(error)
        if self._told():
            self._stopping.because(KeyboardInterrupt())
        if self._stopping.check():
            self._schedule.stop()
        self._tell_what_waits(nodes)
        self._watcher.tick()

    def _tell_what_waits(self, nodes: list[Node]) -> None:
        """A line for each shape that no node can hold any more, once until one can again."""
        for need, since in self._schedule.given.waiting().items():
            if total_slots(nodes, need):
                self._said.discard(need)
            elif need not in self._said and time.monotonic() - since > WAITS_S:
                self._said.add(need)
                self._watcher.note(
                    f"waits for a node with {need.cpu:g} CPU and {need.gpu:g} GPU: there is "
                    f"{', '.join(map(str, nodes)) or 'none'}; one that joins is used"
                )
