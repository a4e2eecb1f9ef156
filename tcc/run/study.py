"""Runs a study: its policy proposes the trials, the store keeps what was planned, Ray runs it."""

from __future__ import annotations

import json
from collections.abc import Collection

from tcc import registry
from tcc.errors import RecordError, StoreError
from tcc.plan import ledger, plan_from_json, plan_to_json
from tcc.plan.past import keep_past
from tcc.records import Plan
from tcc.registry import unknown
from tcc.run.data import prepare
from tcc.run.outcome import RunOutcome, RunSettings
from tcc.run.plan import run_plan
from tcc.search import Policy
from tcc.spec import SweepSpec, parse_spec, resolved_yaml
from tcc.stores import Store

RETRIED = "retried.json"  # in the study's folder


def run_study(
    spec: SweepSpec,
    store: Store,
    *,
    address: str | None = None,
    train: bool = True,
    retry: bool = False,
    quiet_stdout: bool = False,
) -> RunOutcome:
    """Runs what a study lacks, and writes its spec and plan into the store, beside what they were.

    ``address``: the Ray to join, as `run_plan` takes it. ``train``: when false, only evaluations
    that trained trials lack. ``retry``: failures are cleared, and only what failed or was skipped
    is run, with what it needs. ``quiet_stdout``: progress goes to stderr.

    Raises:
        StoreError, ClusterError, DataError, KeyboardInterrupt: as `run_plan`.
    """
    policy: Policy = registry.load("search", spec.search.policy)
    plan = policy.propose(spec, {})
    before = _planned(spec.study, store) if retry else None
    keep_past(plan.study, store, resolved_yaml(spec), plan_to_json(plan))
    settings = RunSettings(
        trackers={"wandb": spec.wandb.model_dump(mode="json")}, quiet_stdout=quiet_stdout
    )
    return run_plan(
        plan,
        store.uri,
        address=address,
        settings=settings,
        train=train,
        only=_revived(plan, store, before) if retry else None,
        prepare=prepare,
    )


def stored_spec(study: str, store: Store) -> SweepSpec:
    """The spec that a study was run with last.

    Raises:
        StoreError: the store has no such study.
        SpecError: its data or plug-ins are no more what they were.
    """
    text = store.read_study(study, "spec.yaml")
    if text is None:
        there = store.studies()
        known = unknown("study", study, there) if there else f"it has no study, so no {study!r}"
        raise StoreError(f"store {store.uri}: {known}; `tcc run SPEC` makes one")
    return parse_spec(text, f"{study}/spec.yaml")


def _planned(study: str, store: Store) -> set[str] | None:
    """The trials that the study was run with last; None where that cannot be read."""
    text = store.read_study(study, "plan.json")
    try:
        return None if text is None else {trial.id for trial in plan_from_json(text)}
    except RecordError:
        return None


def _revived(plan: Plan, store: Store, before: Collection[str] | None) -> set[str]:
    """Clears the plan's failures; gives what failed or was skipped, or came to the plan since (a
    file that was mended changes the ids of all that read it), and all that these stand on; what an
    earlier retry came not to, too. ``before``: trials of the plan before; None: not known, so none
    counts as come since."""
    asked, states = _asked(plan.study, store), ledger(plan, store)
    for trial in plan:
        came = before is not None and trial.id not in before
        state = states[trial.id].state
        if state in ("failed", "skipped") or (came and state in ("new", "blocked")):
            asked.add(trial.id)
    asked &= {id for id, state in states.items() if state.state != "cached"}
    store.write_study(plan.study, RETRIED, json.dumps(sorted(asked)))  # before anything is cleared
    revived = set(asked)
    for trial in reversed(plan.trials):
        if trial.id in asked:
            store.clear_failure(trial.id)
        if trial.id in revived:
            revived.update(trial.needs)
    return revived


def _asked(study: str, store: Store) -> set[str]:
    """The trials that earlier retries were to try again."""
    try:
        return set(json.loads(store.read_study(study, RETRIED) or "[]"))
    except (ValueError, TypeError):  # torn: then the failures that are left count alone
        return set()
