"""Drives the trials of a plan through Tune, in the process that is connected to Ray."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tcc.plan import TrialState, critical_path
from tcc.plan.capacity import total_slots
from tcc.records import Plan
from tcc.run.cluster import Cluster
from tcc.run.events import Watcher
from tcc.run.schedule import Schedule
from tcc.run.tuner import fit
from tcc.stores import Store

LOOKAHEAD = 1  # trials of a shape that wait at Tune: with none, an idle actor is thrown away


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be driven. ``seconds``: trial that is to be run → what it takes or may take.
    ``common``: what every worker is told beside its trial."""

    plan: Plan
    seconds: Mapping[str, float]
    common: Mapping[str, str]
    max_concurrent: int
    retries: int


def drive(
    work: Work,
    store: Store,
    states: Mapping[str, TrialState],
    cluster: Cluster,
    watcher: Watcher,
) -> Mapping[str, TrialState]:
    """Runs what is to be run; gives the last state of every trial of the plan."""
    schedule = Schedule(
        work.plan,
        store,
        states,
        work.seconds.keys(),
        priority=critical_path(work.plan, work.seconds),
        room=lambda shape: total_slots(cluster.nodes(), shape) + LOOKAHEAD,
        tell=watcher.event,
    )
    fit(
        schedule,
        watcher,
        work.common,
        max_concurrent=work.max_concurrent,
        retries=work.retries,
    )
    while schedule.running:  # the last result may take its time to show
        schedule.settle()
        time.sleep(0.1)
    return schedule.states
