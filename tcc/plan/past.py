"""What a study was before: plans that were replaced, and results of older recipes.

    STORE/studies/NAME/spec.yaml  plan.json           what it is
    STORE/studies/NAME/past/DIGEST/spec.yaml …        what it was; DIGEST is of that plan
    STORE/studies/NAME/past/index.json                which there are, oldest first

A version that a developer raises (of the training loop, of a plug-in) changes the ids of all that
use it. The results of before stay in the store, and the plan that names them must not be lost.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, Protocol

from tcc.errors import RecordError
from tcc.plan.ledger import TrialState
from tcc.plan.recipes import Change, changes, recipe_ids
from tcc.plan.summary import plan_from_json
from tcc.records import Plan

SPEC, PLAN, INDEX = "spec.yaml", "plan.json", "past/index.json"
DIGITS = 12  # hexadecimal, of a plan's digest
TO_DO = ("new", "blocked")


class Studies(Protocol):
    """What is asked of a store."""

    def result_ids(self) -> set[str]: ...

    def read_study(self, name: str, file: str) -> str | None: ...


class WritableStudies(Studies, Protocol):
    """A store that studies are written to."""

    def write_study(self, name: str, file: str, text: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Past:
    """A plan that was replaced. ``results``: how many of its trials have a result."""

    digest: str
    replaced_at: str  # ISO 8601, UTC
    plan: Plan
    results: int


class StoredPlan(NamedTuple):
    """A plan of a study in the store; ``present``: nothing has replaced it."""

    digest: str
    present: bool
    plan: Plan


@dataclass(frozen=True, kw_only=True)
class Older:
    """Trials of a plan that are to be done, and have results but for ``changes``.

    ``past``: the digest of the plan whose results they are; ``present``: nothing has replaced it
    yet. ``trials``: trial that is to be done → the trial with a result.
    """

    past: str
    present: bool
    changes: tuple[Change, ...]
    trials: Mapping[str, str]


def keep_past(study: str, store: WritableStudies, spec_text: str, plan_text: str) -> None:
    """Writes a study's spec and plan; keeps those that they replace where the new plan lacks some
    of the old one's trials. What is written already keeps its date.

    Raises:
        StoreError: the store cannot be read or written.
    """
    old_spec, old_plan = store.read_study(study, SPEC), store.read_study(study, PLAN)
    if old_spec is not None and old_plan is not None and _loses(old_plan, plan_text):
        _keep(study, store, old_spec, old_plan)
    for file, old, text in ((SPEC, old_spec, spec_text), (PLAN, old_plan, plan_text)):
        if old != text:
            store.write_study(study, file, text)


def past(study: str, store: Studies) -> tuple[Past, ...]:
    """The plans of a study that were replaced, oldest first, but for those of a foreign version."""
    done = store.result_ids()
    return tuple(
        Past(
            digest=digest,
            replaced_at=replaced_at,
            plan=plan,
            results=sum(trial.id in done for trial in plan),
        )
        for digest, replaced_at in _index(study, store)
        if (plan := read_plan(store.read_study(study, f"past/{digest}/{PLAN}"))) is not None
    )


@lru_cache(maxsize=16)  # the estimate and the search for older results read the same ones
def read_plan(text: str | None) -> Plan | None:
    """The plan of a file, None where there is none that this version reads."""
    try:
        return None if text is None else plan_from_json(text)
    except RecordError:
        return None


def stored_plans(study: str, store: Studies) -> Iterator[StoredPlan]:
    """The plan that a study has in the store, then those that were replaced, newest first. Read
    one by one, as far as they are wanted."""
    text = store.read_study(study, PLAN)
    if (plan := read_plan(text)) is not None:
        yield StoredPlan(_digest(text or ""), True, plan)
    for digest, _ in reversed(_index(study, store)):
        if (plan := read_plan(store.read_study(study, f"past/{digest}/{PLAN}"))) is not None:
            yield StoredPlan(digest, False, plan)


def older_results(
    plan: Plan, states: Mapping[str, TrialState], store: Studies
) -> tuple[Older, ...]:
    """Results that trials which are to be done would have, were it not for versions that were
    raised, or for files of a data set that changed under its name."""
    news = {trial.id: trial for trial in plan}
    left = {id for id in news if states[id].state in TO_DO and states[id].record is None}
    done = store.result_ids() - news.keys() if left else set()
    recipes = cache(partial(recipe_ids, plan))
    found: dict[tuple[str, bool, tuple[Change, ...]], dict[str, str]] = defaultdict(dict)
    for stored in stored_plans(plan.study, store) if done else ():
        olds = {trial.id: trial for trial in stored.plan}
        for by_files in (True, False) if done & olds.keys() else ():
            old_recipes = recipe_ids(stored.plan, by_files=by_files).items()
            with_result = {recipe: id for id, recipe in old_recipes if id in done}
            for id, recipe in recipes(by_files=by_files).items():
                if id in left and recipe in with_result:
                    left.discard(id)
                    old = with_result[recipe]
                    why = changes(olds[old], olds, news[id], news)
                    found[stored.digest, stored.present, why][id] = old
        if not left:
            break
    return tuple(
        Older(past=digest, present=present, changes=why, trials=trials)
        for (digest, present, why), trials in found.items()
    )


def _loses(old_text: str, new_text: str) -> bool:
    """Whether a new plan lacks trials of the old; yes where the old one cannot be read."""
    if old_text == new_text:
        return False
    old, new = read_plan(old_text), read_plan(new_text)
    if old is None or new is None:
        return True
    return bool({trial.id for trial in old} - {trial.id for trial in new})


def _keep(study: str, store: WritableStudies, spec_text: str, plan_text: str) -> None:
    """Once: a plan that comes again and goes again is there."""
    digest, there = _digest(plan_text), _index(study, store)
    if any(digest == known for known, _ in there):
        return
    for file, text in ((SPEC, spec_text), (PLAN, plan_text)):
        store.write_study(study, f"past/{digest}/{file}", text)
    there = [*there, (digest, datetime.now(UTC).isoformat(timespec="seconds"))]
    entries = [{"digest": known, "replaced_at": replaced_at} for known, replaced_at in there]
    store.write_study(study, INDEX, json.dumps(entries, indent=2) + "\n")


def _index(study: str, store: Studies) -> list[tuple[str, str]]:
    """Digest and date of the plans that were replaced; none where the file was spoilt."""
    try:
        entries: Any = json.loads(store.read_study(study, INDEX) or "[]")
        found = [(str(entry["digest"]), str(entry["replaced_at"])) for entry in entries]
    except (ValueError, KeyError, TypeError):
        return []
    return [entry for entry in found if re.fullmatch(rf"[0-9a-f]{{{DIGITS}}}", entry[0])]


def _digest(plan_text: str) -> str:
    return hashlib.sha256(plan_text.encode()).hexdigest()[:DIGITS]
