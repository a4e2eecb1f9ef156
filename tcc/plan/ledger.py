"""What a store holds of a plan: which trials are cached, which are to be done, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from tcc.records import EvaluationSpec, FailureRecord, Plan, TrialRecord, TrialSpec

STATES = ("new", "blocked", "running", "done", "failed", "skipped", "cached")


class Holdings(Protocol):
    """What the ledger asks of a store."""

    def result_ids(self) -> set[str]: ...

    def record(self, id: str, /) -> TrialRecord | None: ...

    def failure(self, id: str, /) -> FailureRecord | None: ...

    def checkpoint_sha256(self, id: str, /) -> str | None: ...

    def checkpoint_problem(self, id: str, /, *, thorough: bool) -> str | None: ...


@runtime_checkable
class Remote(Protocol):
    """Holdings that lie far away, where many trials are better asked for at once."""

    def preloaded(self, ids: Iterable[str], /) -> Holdings: ...


@dataclass(frozen=True, kw_only=True)
class TrialState:
    """Where a trial stands, in one of `STATES`. Running and done are a run's words: to the files,
    a running trial is new and a done one cached.

    ``because``: why; for a skipped trial the id of the failed one that it stands on. ``missing``:
    where only evaluations are left to do, these. ``record``: what the store holds, unless its own
    checkpoint cannot be trusted, or one that it stands on was replaced since.
    """

    id: str
    state: str
    because: str = ""
    missing: tuple[EvaluationSpec, ...] = ()
    record: TrialRecord | None = field(default=None, repr=False, compare=False)


def ledger(plan: Plan, store: Holdings, thorough: bool = False) -> dict[str, TrialState]:
    """Trial → its state, in the plan's order. Reads each result once.

    ``thorough``: a checkpoint that changed after its result was written is hashed; otherwise only
    missing and cut off ones are noticed.
    """
    if isinstance(store, Remote):
        store = store.preloaded([trial.id for trial in plan])
    results = store.result_ids()
    states: dict[str, TrialState] = {}
    roots: dict[str, str] = {}  # trial → the failed one among it and its ancestors
    for trial in plan:
        record = store.record(trial.id) if trial.id in results else None
        problem = record and store.checkpoint_problem(trial.id, thorough=thorough)
        found = _own_state(trial, record, problem, store, _checkpoints(trial, states))
        root = next((roots[need] for need in trial.needs if need in roots), "")
        states[trial.id] = state = _among(trial, found, states, root)
        if state.state == "failed" and state.record is None:
            root = trial.id
        if root:
            roots[trial.id] = root
    return states


def standing(trial: TrialSpec, store: Holdings) -> TrialState:
    """The state of a trial whose parents are finished, thoroughly looked at."""
    parents = {need: store.checkpoint_sha256(need) for need in trial.needs}
    record = store.record(trial.id)
    problem = record and store.checkpoint_problem(trial.id, thorough=True)
    return _own_state(trial, record, problem, store, parents)


def as_planned(record: TrialRecord, trial: TrialSpec) -> TrialRecord:
    """The record under this study's names, with the evaluations that it asks for, in its order: a
    store's records are shared by studies that name and measure things otherwise."""
    measured = {item.evaluation.id: item for item in record.evaluations}
    evaluations = tuple(
        replace(measured[spec.id], evaluation=spec)
        for spec in trial.evaluations
        if spec.id in measured
    )
    return replace(record, trial=trial, evaluations=evaluations)


def _checkpoints(trial: TrialSpec, states: Mapping[str, TrialState]) -> dict[str, str | None]:
    """Parent → its checkpoint; None while it is still to be made."""
    records = {need: states[need].record for need in trial.needs}
    return {
        need: record.training.checkpoint_sha256 if record else None
        for need, record in records.items()
    }


def _own_state(
    trial: TrialSpec,
    record: TrialRecord | None,
    problem: str | None,
    store: Holdings,
    parents: Mapping[str, str | None],
) -> TrialState:
    """The state of a trial as if nothing kept it from running."""
    because, missing = "", ()
    if record is not None:
        stood_on = record.training.parents_sha256
        replaced = [need for need, sha in parents.items() if sha and stood_on.get(need) != sha]
        measured = {item.evaluation.id for item in record.evaluations}
        missing = tuple(item for item in trial.evaluations if item.id not in measured)
        if problem:
            record, missing, because = None, (), problem
        elif replaced:
            record, missing = None, ()
            because = f"the checkpoint of {', '.join(replaced)}, which it stands on, was replaced"
        elif missing:
            because = f"{len(missing)} of {len(trial.evaluations)} evaluations are missing"
        else:
            return TrialState(id=trial.id, state="cached", record=record)
    failure = store.failure(trial.id)
    if failure and failure.evaluation not in ("", *(item.id for item in missing)):
        failure = None  # of what another study asked of the trial
    return TrialState(
        id=trial.id,
        state="new" if failure is None else "failed",
        because=because if failure is None else failure.reason,
        missing=missing,
        record=record,
    )


def _among(
    trial: TrialSpec, own: TrialState, states: Mapping[str, TrialState], root: str
) -> TrialState:
    """A trial's state among the others: it waits for parents, or is skipped because of ``root``,
    an ancestor that failed: a model is made of the weights of them all."""
    if own.state != "new":
        return own
    if root:
        return replace(own, state="skipped", because=root)
    if absent := [need for need in trial.needs if states[need].record is None]:
        return replace(own, state="blocked", because=f"needs {', '.join(absent)}")
    return own
