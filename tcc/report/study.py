"""A study as its store holds it: settings, plan, states, records, failures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from tcc.errors import RecordError, StoreError
from tcc.formats.rd import read_text
from tcc.plan import TrialState, ledger, plan_from_json
from tcc.plan.ledger import as_planned
from tcc.plan.past import Past
from tcc.plan.past import past as past_plans
from tcc.records import (
    FailureRecord,
    Holder,
    Plan,
    Progress,
    RunRecord,
    TrialRecord,
)
from tcc.registry import unknown
from tcc.report.words import count_text, time_text
from tcc.spec import SweepSpec, read_settings
from tcc.stores import Store

SPEC_FILE, PLAN_FILE = "spec.yaml", "plan.json"
MEMORY_FILE = "synced.json"  # what trackers confirmed to hold
LEFT = ("new", "blocked")
_CODE = ("report", "report/page", "curves", "formats")


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a report is made of. ``states``: trial → state, where cached reads done, held by a
    living process running, and a new trial that was cut off says so in its ``because``.

    ``past``: the archived plan that this is of, None for the plan of today.
    """

    name: str
    store_uri: str
    spec_text: str
    settings: SweepSpec
    plan: Plan
    states: Mapping[str, TrialState]
    holders: Mapping[str, Holder]  # running trial → who works on it
    progress: Mapping[str, Progress]  # running or cut off trial → how far it came
    failures: tuple[FailureRecord, ...]
    problems: tuple[str, ...]  # files that could not be trusted
    runs: tuple[RunRecord, ...]
    disk_bytes: Mapping[str, int]  # trial → bytes of its files
    past: Past | None

    @property
    def records(self) -> Iterator[TrialRecord]:
        """The finished trials, in the plan's order."""
        for state in self.states.values():
            if state.record is not None:
                yield state.record


def read_study(name: str, store: Store, *, past: str = "", thorough: bool = False) -> Study:
    """Reads a study and every record of its trials.

    ``past``: the first letters of the digest of an archived plan, to be read in place of today's.
    ``thorough``: checkpoints that were written after their results are hashed too.

    Raises:
        StoreError: the store has no such study or archived plan, or only a part of it.
        RecordError: its plan cannot be trusted.
    """
    archived = _archived(name, store, past) if past else None
    folder = f"past/{archived.digest}/" if archived else ""
    spec_text = store.read_study(name, folder + SPEC_FILE)
    plan_text = store.read_study(name, folder + PLAN_FILE)
    if spec_text is None or plan_text is None:
        raise StoreError(f"store {store.uri}: {_absent(name, store)}; `tcc run SPEC` writes them")
    plan = archived.plan if archived else _plan(plan_text, f"{store.uri}/studies/{name}")
    trials = {trial.id: trial for trial in plan}
    seen = store.preloaded(trials)
    held = _Results(seen) if archived else seen
    disk_bytes = seen.disk_used(trials)
    states = {
        id: replace(
            state,
            state="done" if state.state == "cached" else state.state,
            record=state.record and as_planned(state.record, trials[id]),
        )
        for id, state in ledger(plan, held, thorough=thorough).items()
    }
    begun = [id for id, state in states.items() if state.state in LEFT and disk_bytes.get(id)]
    holders = {id: holder for id in begun if (holder := store.holder(id)) is not None}
    said = {id: found for id in begun if (found := seen.progress(id)) is not None}
    progress = {id: it for id, it in said.items() if id in holders or it.step < it.steps}
    for id in begun:
        states[id] = _live(states[id], holders.get(id), progress.get(id))
    failures = (seen.failure(id) for id, state in states.items() if state.state == "failed")
    return Study(
        name=name,
        store_uri=store.uri,
        spec_text=spec_text,
        settings=read_settings(spec_text, f"{name}/{folder}{SPEC_FILE}"),
        plan=plan,
        states=states,
        holders=holders,
        progress=progress,
        failures=tuple(failure for failure in failures if failure is not None),
        runs=() if archived else store.runs(name),
        problems=store.problems(),
        disk_bytes=disk_bytes,
        past=archived,
    )


def _archived(name: str, store: Store, start: str) -> Past:
    """The one archived plan whose digest begins so."""
    there = past_plans(name, store)
    found = [item for item in there if item.digest.startswith(start)]
    if len(found) == 1:
        return found[0]
    which = f"{len(found)} plans that begin" if found else "no plan that begins"
    listed = [
        f"{item.digest} (replaced {time_text(item.replaced_at)}, "
        f"{count_text(item.results, 'result')})"
        for item in there
    ]
    known = f"there are {', '.join(listed)}" if listed else "none of its plans was ever replaced"
    raise StoreError(
        f"store {store.uri}: study {name!r} has {which} with {start!r} in its past; {known}"
    )


def _plan(text: str, folder: str) -> Plan:
    try:
        return plan_from_json(text)
    except RecordError as error:
        fix = "`tcc run SPEC` writes it again"
        raise RecordError(f"{folder}/{PLAN_FILE} {error}; {fix}") from None


class _Results:
    """A store whose results stand without their checkpoints: of an archived plan, nothing will be
    trained on them, and they are the first to go when room is wanted."""

    def __init__(self, store: Store):
        self.result_ids, self.record, self.failure = store.result_ids, store.record, store.failure
        self.checkpoint_sha256 = store.checkpoint_sha256

    def checkpoint_problem(self, id: str, /, *, thorough: bool) -> None:
        """Nothing is."""


def _absent(name: str, store: Store) -> str:
    there = store.studies()
    if name in there:
        return f"study {name!r} has no {SPEC_FILE} or no {PLAN_FILE}"
    return unknown("study", name, there) if there else f"it has no study, so no {name!r}"


def _live(state: TrialState, holder: Holder | None, progress: Progress | None) -> TrialState:
    """What the ledger cannot know: that somebody works on the trial, or that somebody did."""
    if holder is not None:
        return replace(state, state="running")
    if progress is None or state.because or state.state != "new":
        return state
    where = f"interrupted at step {progress.step} of {progress.steps}"
    return replace(state, because=f"{where}, goes on from its last save")


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
    for path, _, kept in study.settings.report.imported:
        yield read_text(Path(path), kept)
    for trial in study.plan:
        yield f"{trial.id} {trial.label} {study.states[trial.id]}"
    for record in study.records:
        yield repr((record.training, record.timings, record.provenance))
        for measured in record.evaluations:
            yield repr((measured.evaluation, measured.rates, measured.metrics))
    for failure in study.failures:
        yield repr((failure.trial.id, failure.reason, failure.step, failure.term))
    for holder in study.holders.values():
        yield f"{holder.trial} {holder.host} {holder.pid}"
    yield from map(repr, study.runs)
    yield study.past.digest if study.past else ""
    yield from study.problems
