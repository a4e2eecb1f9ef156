"""Drives a plan from the head of a cluster that is joined by ``ray://``: Tune itself would move
its searcher and callbacks there, and what they hear would never come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import ray
from ray.exceptions import RayTaskError
from ray.util.queue import Empty, Queue

from tcc.plan import TrialState, ledger
from tcc.records import Progress
from tcc.run.cluster import Cluster
from tcc.run.drive import Work, drive
from tcc.run.events import Event, Watcher
from tcc.stores import open_store

POLL_S = 0.3


def drive_on_head(work: Work, store_uri: str, watcher: Watcher) -> Mapping[str, TrialState]:
    """As `drive`, in a task on the head node; the store must be the same from there."""
    queue = Queue(actor_options={"num_cpus": 0})
    on_head = ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})(_drive_here)
    task = on_head.remote(work, store_uri, queue)
    while not ray.wait([task], timeout=0)[0]:
        _forward(queue, watcher)
    while not queue.empty():
        _forward(queue, watcher)
    try:
        return ray.get(task)
    except RayTaskError as error:
        raise error.cause from error


def _drive_here(work: Work, store_uri: str, queue: Queue) -> dict[str, TrialState]:
    store = open_store(store_uri)
    states = drive(work, store, ledger(work.plan, store), Cluster(ray), _Relay(queue))
    return {id: replace(state, record=None) for id, state in states.items()}


def _forward(queue: Queue, watcher: Watcher) -> None:
    """Shows what has come, or waits a little for something to come."""
    try:
        said: Event | Progress = queue.get(timeout=POLL_S)
    except Empty:
        watcher.tick()
        return
    if isinstance(said, Progress):
        watcher.progress(said)
    else:
        watcher.event(said)


class _Relay:
    """A watcher that sends what it hears to where the user is."""

    def __init__(self, queue: Queue):
        self._queue = queue

    def event(self, event: Event) -> None:
        self._queue.put(event)

    def progress(self, progress: Progress) -> None:
        self._queue.put(progress)

    def tick(self) -> None: ...
