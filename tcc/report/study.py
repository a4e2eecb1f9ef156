"""A study as its store holds it: settings, plan, states, records, failures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files

from tcc.errors import RecordError, StoreError
from tcc.plan import TrialState, ledger, plan_from_json
from tcc.records import FailureRecord, Plan, TrialRecord, TrialSpec
from tcc.registry import unknown
from tcc.spec import SweepSpec, read_settings
from tcc.stores import Store

SPEC_FILE, PLAN_FILE = "spec.yaml", "plan.json"
_CODE = ("report", "report/page", "curves")


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a report is made of. ``states``: trial → state, where cached reads done."""

    name: str
    store_uri: str
    spec_text: str
    settings: SweepSpec
    plan: Plan
    states: Mapping[str, TrialState]
    failures: tuple[FailureRecord, ...]
    problems: tuple[str, ...]  # files that could not be trusted

    @property
    def records(self) -> Iterator[TrialRecord]:
        """The finished trials, in the plan's order."""
        for state in self.states.values():
            if state.record is not None:
                yield state.record


def read_study(name: str, store: Store) -> Study:
    """Reads a study and every record of its trials.

    Raises:
        StoreError: the store has no such study, or only a part of it.
        RecordError: its plan cannot be trusted.
    """
    spec_text, plan_text = (store.read_study(name, file) for file in (SPEC_FILE, PLAN_FILE))
    if spec_text is None or plan_text is None:
        there = store.studies()
        known = unknown("study", name, there) if there else f"it has no study, so no {name!r}"
        if name in there:
            known = f"study {name!r} has no {SPEC_FILE} or no {PLAN_FILE}"
        raise StoreError(f"store {store.uri}: {known}; `tcc run SPEC` writes them")
    try:
        plan = plan_from_json(plan_text)
    except RecordError as error:
        where = f"{store.uri}/studies/{name}/{PLAN_FILE}"
        raise RecordError(f"{where} {error}; `tcc run SPEC` writes it again") from None
    trials = {trial.id: trial for trial in plan}
    states = {
        id: replace(
            state,
            state="done" if state.state == "cached" else state.state,
            record=state.record and _as_planned(state.record, trials[id]),
        )
        for id, state in ledger(plan, store).items()
    }
    failures = (store.failure(id) for id, state in states.items() if state.state == "failed")
    return Study(
        name=name,
        store_uri=store.uri,
        spec_text=spec_text,
        settings=read_settings(spec_text, f"{name}/{SPEC_FILE}"),
        plan=plan,
        states=states,
        failures=tuple(failure for failure in failures if failure is not None),
        problems=store.problems(),
    )


def _as_planned(record: TrialRecord, trial: TrialSpec) -> TrialRecord:
    """The record under this study's names, with the evaluations that it asks for, in its order: a
    store's records are shared by studies that name and measure things otherwise."""
    measured = {item.evaluation.id: item for item in record.evaluations}
    evaluations = tuple(
        replace(measured[spec.id], evaluation=spec)
        for spec in trial.evaluations
        if spec.id in measured
    )
    return replace(record, trial=trial, evaluations=evaluations)


def stamp(study: Study) -> str:
    """A hash of all that a report shows and of the code that makes it."""
    seal = hashlib.sha256()
    for text in _content(study):
        seal.update(text.encode())
        seal.update(b"\0")
    return seal.hexdigest()


def _content(study: Study) -> Iterator[str]:
    for folder in _CODE:
        for file in sorted((files("tcc") / folder).iterdir(), key=lambda file: file.name):
            if file.name.endswith((".py", ".html", ".css", ".js")):
                yield file.read_text(encoding="utf-8")
    yield study.store_uri
    yield study.spec_text
    for trial in study.plan:
        yield f"{trial.id} {trial.label} {study.states[trial.id].state}"
    for record in study.records:
        yield repr((record.training, record.timings, record.provenance))
        for measured in record.evaluations:
            yield repr((measured.evaluation, measured.rates, measured.metrics))
    for failure in study.failures:
        yield repr((failure.trial.id, failure.reason, failure.step, failure.term))
    yield from study.problems
