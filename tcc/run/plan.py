"""Runs what a plan lacks: from the store's ledger to Ray, and back to the ledger."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from statistics import fmean
from typing import TYPE_CHECKING

from tcc.errors import StoreError
from tcc.plan import TrialState, estimate, ledger
from tcc.plan.capacity import refuse_oversize
from tcc.plan.distrust import distrusts
from tcc.records import Plan, TrialSpec
from tcc.run.bailing import bailing_out
from tcc.run.cluster import connect
from tcc.run.display import display
from tcc.run.outcome import RunOutcome, RunSettings, outcome
from tcc.run.outlet import Outlet
from tcc.run.record import Recorder
from tcc.run.stopping import Stopping
from tcc.stores import Store, open_store

if TYPE_CHECKING:
    from tcc.run.drive import Driven

LEFT = ("new", "blocked")
PRUNED_AT_ONCE = 8


def run_plan(
    plan: Plan,
    store_uri: str,
    *,
    address: str | None = None,
    settings: RunSettings | None = None,
    train: bool = True,
    only: Collection[str] | None = None,
    prepare: Callable[[Sequence[TrialSpec]], None] | None = None,
    execute: str = "tcc.trial:attempt",
) -> RunOutcome:
    """Runs the trials that the store lacks, and returns when none is left.

    Ray is neither imported nor started when there is nothing to run. ``address``: the Ray to join,
    as ``host:port``, ``ray://host:port`` or ``auto``; without one, that of RAY_ADDRESS where it is
    set (as in a Ray job), or one of its own on this machine. ``train``: when false, only the
    evaluations that trained trials lack. ``only``: ids of the trials that may be run; None: all.
    ``prepare`` is called with the trials that are to be run, before Ray is. ``execute``:
    ``module:function`` that runs one trial.

    Raises:
        StoreError: the store cannot be read or written.
        ClusterError: Ray cannot be reached, or no node can hold a trial that is to be run.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after trials have saved and what was started here has
            ended; the same call goes on from there.
    """
    begun = time.monotonic()
    settings = settings or RunSettings()
    store = open_store(store_uri)
    states: Mapping[str, TrialState] = ledger(plan, store, thorough=True)
    for item in distrusts(store.problems()):
        print(f"not trusted: {item}", file=Outlet(sys.stderr), flush=True)
    wanted = _trained(plan, states) if not train else None
    to_run = [
        trial
        for trial in plan
        if states[trial.id].state in LEFT
        and (wanted is None or trial.id in wanted)
        and (only is None or trial.id in only)
    ]
    expected_s = None
    if to_run:
        if prepare is not None:
            prepare(to_run)
        recorder = Recorder(plan, store)
        common = {
            "run": recorder.name,
            "store": store.uri,
            "study": plan.study,
            "execute": execute,
            "trackers": json.dumps(settings.trackers),
        }
        driven = _run(plan, store, states, to_run, address, settings, recorder, common)
        if not isinstance(driven.cause, KeyboardInterrupt):
            _prune(plan, driven.states, store)
        if driven.cause is not None:
            raise driven.cause
        states, expected_s = driven.states, recorder.expected_s
    else:
        _prune(plan, states, store)  # a killed run could not
    return outcome(plan, states, time.monotonic() - begun, expected_s)


def _prune(plan: Plan, states: Mapping[str, TrialState], store: Store) -> None:
    """Frees what done trials need no more, and what killed writers left."""
    done = [id for id, state in states.items() if state.state in ("done", "cached")]
    with ThreadPoolExecutor(PRUNED_AT_ONCE) as pool, suppress(StoreError):  # buckets are slow
        store.prune_study(plan.study)
        list(pool.map(store.prune, store.littered(done)))


def _trained(plan: Plan, states: Mapping[str, TrialState]) -> set[str]:
    """The trials that are trained, as is all that they stand on."""
    trained: set[str] = set()
    for trial in plan:
        if states[trial.id].record and trained.issuperset(trial.needs):
            trained.add(trial.id)
    return trained


def _run(
    plan: Plan,
    store: Store,
    states: Mapping[str, TrialState],
    to_run: list[TrialSpec],
    address: str | None,
    settings: RunSettings,
    recorder: Recorder,
    common: Mapping[str, str],
) -> Driven:
    """Runs the trials and records what that came to, however it ends."""
    known = estimate(plan, states, store).seconds
    usual = fmean(known.values()) if known else 1.0
    stream = sys.stderr if settings.quiet_stdout else sys.stdout
    head = f"study {plan.study}: {len(to_run)} of {len(plan)} trials to run"
    print(head, file=Outlet(stream), flush=True)
    with connect(address) as cluster, display(plan, states, known, stream) as watcher:
        from tcc.run.drive import Work, drive  # imports Ray Tune
        from tcc.run.remote import drive_on_head
        from tcc.run.told import tell

        refuse_oversize(to_run, cluster.nodes())
        recorder.expect(to_run, known, cluster.nodes())
        work = Work(
            plan=plan,
            run=recorder.name,
            seconds={trial.id: known.get(trial.id, usual) for trial in to_run},
            common=common,
            max_concurrent=settings.max_concurrent or len(plan),
            grace_s=settings.grace_s,
        )
        stopping = Stopping(settings.grace_s, lambda: tell(recorder.name), watcher.note)
        with stopping.on_signals(), bailing_out(cluster.trouble, stopping):
            if cluster.by_client:
                driven = drive_on_head(work, store.uri, stopping, watcher)
            else:
                driven = drive(work, store, states, cluster, stopping, watcher)
            if not driven.at_once:
                recorder.write(driven)
            return driven
