"""What a plan costs, from what like trials took before: nothing is guessed where there are none.

The records of the study itself are read anyway. Where they hold no like trial, the plans that the
store keeps tell which of its other records do, and a few of these are read.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Any, Protocol

from tcc.plan.alike import Alike, images
from tcc.plan.ledger import TrialState
from tcc.plan.past import PLAN, TO_DO, Studies, read_plan, stored_plans
from tcc.records import Plan, TrialRecord, TrialSpec

SAMPLES = 2  # records that are read of trials that are alike: they differ little
READERS = 8  # at once: object storage takes 20 ms to answer
STUDIES = 20  # the latest, whose plans are looked at: 25 ms each where they hold 500 trials


class History(Studies, Protocol):
    """What the estimate asks of a store."""

    def newest_studies(self) -> tuple[str, ...]: ...

    def record(self, id: str, /) -> TrialRecord | None: ...


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """``seconds``: trial that is to be done → its duration, where like trials were measured. The
    hours are of these; ``unknown`` counts the others. ``measured``: the trials that tell."""

    seconds: Mapping[str, float]
    cpu_hours: float
    gpu_hours: float
    unknown: int
    measured: int


def estimate(plan: Plan, states: Mapping[str, TrialState], store: History) -> Estimate:
    """The cost of the trials that are to be done."""
    left = [trial for trial in plan if states[trial.id].state in TO_DO]
    known = _Known(plan)
    for state in states.values():
        if state.record is not None:
            known.learn(state.record)
    wanted = {known.training(trial) for trial in left}
    _learn_elsewhere(plan, store, known, wanted)
    seconds = {
        trial.id: duration_s
        for trial in left
        if (duration_s := known.duration_s(trial, states[trial.id])) is not None
    }
    priced = [trial for trial in left if trial.id in seconds]
    return Estimate(
        seconds=seconds,
        cpu_hours=sum(seconds[trial.id] * trial.resources.cpu for trial in priced) / 3600,
        gpu_hours=sum(seconds[trial.id] * trial.resources.gpu for trial in priced) / 3600,
        unknown=len(left) - len(priced),
        measured=sum(known.measured(training) for training in wanted),
    )


def _learn_elsewhere(plan: Plan, store: History, known: _Known, wanted: set[int]) -> None:
    """Learns what the study's own records do not tell."""
    missing = {training for training in wanted if not known.measured(training)}
    if not missing:
        return
    others = store.result_ids() - {trial.id for trial in plan}
    for other in _other_plans(plan, store, known, missing) if others else ():
        known.add(other)
        taken: dict[int, list[str]] = defaultdict(list)
        for trial in other:
            training = known.training(trial)
            if trial.id in others and training in missing and len(taken[training]) < SAMPLES:
                taken[training].append(trial.id)
        with ThreadPoolExecutor(READERS) as pool:
            for record in pool.map(store.record, chain.from_iterable(taken.values())):
                if record is not None:
                    known.learn(record)
        missing -= {training for training in missing if known.measured(training)}
        if not missing:
            return


def _other_plans(
    plan: Plan, store: History, known: _Known, missing: Collection[int]
) -> Iterator[Plan]:
    """Those of the study itself, newest first, which name results of older recipes; then those of
    the latest other studies that have a model at the root of what is still missing."""
    yield from (stored.plan for stored in stored_plans(plan.study, store))
    by_id = {trial.id: trial for trial in plan}
    roots: dict[str, set[str]] = {}
    for trial in plan:
        roots[trial.id] = set().union(*(roots[need] for need in trial.needs)) or {trial.id}
    for other in [name for name in store.newest_studies() if name != plan.study][:STUDIES]:
        lacking = (trial.id for trial in plan if known.training(trial) in missing)
        wanted = [by_id[root] for root in set().union(*(roots[id] for id in lacking))]
        text = store.read_study(other, PLAN)
        if _has(text, wanted) and (found := read_plan(text)) is not None:
            yield found


def _has(plan_text: str | None, wanted: Iterable[TrialSpec]) -> bool:
    """Whether a plan has a model that needs no other and is like one of these. To read it takes
    several times as long as to find this out."""
    try:
        trials = json.loads(plan_text or "")["record"]["trials"]
        roots = [trial for trial in trials if not trial["needs"]]
        there = {_model(root["kind"], root["recipe"]["method"]["params"]) for root in roots}
    except (ValueError, KeyError, TypeError):  # it is torn
        return False
    return any(_model(trial.kind, trial.recipe.method.params) in there for trial in wanted)


def _model(kind: str, params: Mapping[str, Any]) -> tuple[str, str]:
    return kind, json.dumps(params, sort_keys=True)


class _Known:
    """How long trials took that are alike."""

    def __init__(self, plan: Plan):
        self._alike = Alike()
        self._models: dict[str, int] = {}
        self._setup_s: dict[int, list[float]] = defaultdict(list)
        self._step_s: dict[int, list[float]] = defaultdict(list)
        self._evaluate_s: dict[int, list[float]] = defaultdict(list)  # an image, see `images`
        self.add(plan)

    def add(self, plan: Plan) -> None:
        """Takes in the trials of a plan."""
        self._models |= self._alike.models(plan)

    def training(self, trial: TrialSpec) -> int:
        """What the training of a trial is known by."""
        on_gpu = trial.resources.gpu > 0
        return self._alike.training(trial, self._models[trial.id], on_gpu=on_gpu)

    def measured(self, training: int) -> int:
        """The trials that were learned from."""
        return len(self._step_s.get(training, ()))

    def learn(self, record: TrialRecord) -> None:
        """Takes in what a trial took where it really ran. Its timings are of all attempts."""
        trial, timings = record.trial, record.timings
        on_gpu = record.provenance.device.startswith("cuda")
        training = self._alike.training(trial, self._models[trial.id], on_gpu=on_gpu)
        train_s = timings.get("train", 0.0)
        self._setup_s[training].append(max(0.0, timings.get("total", 0.0) - train_s))
        self._step_s[training].append(train_s / max(1, record.training.steps))
        for measured in record.evaluations:
            spec = measured.evaluation
            evaluate_s = measured.timings.get("evaluate", 0.0) / images(spec)
            for kind in self._alike.evaluation(spec, training):
                self._evaluate_s[kind].append(evaluate_s)

    def duration_s(self, trial: TrialSpec, state: TrialState) -> float | None:
        """What a trial will take; where only evaluations are missing, these."""
        training = self.training(trial)
        if not self.measured(training):
            return None
        steps = 0 if state.missing else trial.recipe.train.steps
        duration_s = fmean(self._setup_s[training]) + steps * fmean(self._step_s[training])
        for spec in state.missing or trial.evaluations:
            alike, any_other = self._alike.evaluation(spec, training)
            measured = self._evaluate_s.get(alike) or self._evaluate_s.get(any_other)
            if not measured:
                return None
            duration_s += images(spec) * fmean(measured)
        return duration_s
