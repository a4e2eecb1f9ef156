"""Drives a plan from the head of a cluster that is joined by ``ray://``: Tune itself would move
its searcher and callbacks there, and what they hear would never come back."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.queue import Empty, Queue

from tcc.errors import ClusterError
from tcc.plan import ledger
from tcc.records import Progress
from tcc.run.cluster import Cluster
from tcc.run.drive import Driven, Work, drive
from tcc.run.events import Event, Watcher
from tcc.run.stopping import Ended, Stopping
from tcc.run.told import tell, told
from tcc.stores import open_store

POLL_S = 0.3
SOONER = 0.9  # of the grace time: what the head still has to say must come through


def drive_on_head(work: Work, store_uri: str, stopping: Stopping, watcher: Watcher) -> Driven:
    """As `drive`, in a task on the head node; the store must be the same from there.

    Raises:
        ClusterError: the head or the way to it is lost.
        KeyboardInterrupt: the run is to stop, and the head takes too long for it.
    """
    queue = Queue(actor_options={"num_cpus": 0})
    on_head = ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})(_drive_here)
    try:
        task = on_head.remote(replace(work, grace_s=SOONER * work.grace_s), store_uri, queue)
        while not ray.wait([task], timeout=0)[0]:
            stopping.check()
            _forward(queue, watcher)
        while not queue.empty():
            _forward(queue, watcher)
        return ray.get(task)
    except Ended as ended:
        raise ended.cause from None
    except RayTaskError as error:
        raise error.cause from error
    except (RayError, ConnectionError) as error:
        said = textwrap.shorten(str(error), 300)
        raise ClusterError(f"the head of the cluster is lost: {said}") from error


def _drive_here(work: Work, store_uri: str, queue: Queue) -> Driven:
    store, relay, stopped = open_store(store_uri), _Relay(queue), told(work.run)

    def say(text: str) -> None:
        if not stopped.is_set():  # or who told it has said so
            relay.note(text)

    stopping = Stopping(work.grace_s, tell=lambda: tell(work.run), say=say)
    states = ledger(work.plan, store, thorough=True)
    driven = drive(work, store, states, Cluster(ray), stopping, relay, told=stopped.is_set)
    slim = {id: replace(state, record=None) for id, state in driven.states.items()}
    return replace(driven, states=slim)


def _forward(queue: Queue, watcher: Watcher) -> None:
    """Shows what has come, or waits a little for something to come."""
    try:
        said: Event | Progress | str = queue.get(timeout=POLL_S)
    except Empty:
        watcher.tick()
        return
    if isinstance(said, Progress):
        watcher.progress(said)
    elif isinstance(said, str):
        watcher.note(said)
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

    def note(self, text: str) -> None:
        self._queue.put(text)

    def tick(self) -> None: ...
