"""Drives the trials of a plan through Tune, in the process that is connected to Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tcc.errors import ClusterError, StoreError
from tcc.plan import TrialState, critical_path
from tcc.plan.capacity import total_slots
from tcc.records import Plan
from tcc.run.cluster import Cluster
from tcc.run.events import Watcher
from tcc.run.pulse import Pulse
from tcc.run.schedule import Schedule
from tcc.run.stopping import Ended, Stopping
from tcc.run.tuner import fit
from tcc.stores import Store

LOOKAHEAD = 1  # trials of a shape that wait at Tune: with none, an idle actor is thrown away


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be driven. ``run``: what this run is called. ``seconds``: trial that is to be run
    → what it takes or may take. ``common``: what every worker is told beside its trial.
    ``grace_s``: for trials to save where the run is stopped."""

    plan: Plan
    run: str
    seconds: Mapping[str, float]
    common: Mapping[str, str]
    max_concurrent: int
    grace_s: float


@dataclass(frozen=True, kw_only=True)
class Driven:
    """How far that came. ``states``: of every trial of the plan, at the end. ``seconds``: trial →
    how long processes ran it. ``losses``: of processes. ``cause``: why it ended before its time.
    ``at_once``: no more may be waited for, such as an answer of the store."""

    states: Mapping[str, TrialState]
    seconds: Mapping[str, float]
    losses: int
    cause: BaseException | None
    at_once: bool = False


def drive(
    work: Work,
    store: Store,
    states: Mapping[str, TrialState],
    cluster: Cluster,
    stopping: Stopping,
    watcher: Watcher,
    told: Callable[[], bool] = lambda: False,
) -> Driven:
    """Runs what is to be run. ``told``: whether somebody else says that the run is to stop."""
    schedule = Schedule(
        work.plan,
        store,
        states,
        work.seconds.keys(),
        run=work.run,
        priority=critical_path(work.plan, work.seconds),
        room=lambda shape: total_slots(cluster.nodes(), shape) + LOOKAHEAD,
        tell=watcher.event,
    )
    pulse = Pulse(schedule, stopping, watcher, nodes=cluster.nodes, told=told)
    cause: BaseException | None = None
    at_once = False
    try:
        fit(
            schedule,
            pulse,
            watcher,
            work.common,
            max_concurrent=work.max_concurrent,
            folder=cluster.scratch,
        )
    except Ended as ended:
        cause = ended.cause
    except ClusterError as error:
        cause = stopping.why or error
    except KeyboardInterrupt as error:  # a second signal: the first raises nothing
        cause, at_once = error, True
    if not at_once:
        with suppress(StoreError):
            schedule.settle()
    return Driven(
        states=schedule.states,
        seconds=dict(schedule.given.seconds),
        losses=schedule.losses.total,
        cause=stopping.cause or cause,
        at_once=at_once,
    )
