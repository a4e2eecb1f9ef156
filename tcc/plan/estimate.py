"""What a plan costs, from what like trials took before: nothing is guessed where there are none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

from tcc.plan.identity import canonical_json
from tcc.plan.ledger import TrialState
from tcc.records import Plan, PluginUse, TrialRecord, TrialSpec

TO_DO = ("new", "blocked")
MAX_FOREIGN = 200  # records of other studies that are read: a store may hold thousands


class History(Protocol):
    """What the estimate asks of a store."""

    def result_ids(self) -> set[str]: ...

    def record(self, id: str, /) -> TrialRecord | None: ...


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """``seconds``: trial that is to be done → its duration, where like trials were measured.
    The hours are of these; ``unknown`` counts the others."""

    seconds: Mapping[str, float]
    cpu_hours: float
    gpu_hours: float
    unknown: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a trial took: its training step, its evaluation and the rest, in seconds."""

    step_s: float
    evaluate_s: float
    other_s: float


def estimate(plan: Plan, states: Mapping[str, TrialState], store: History) -> Estimate:
    """The cost of the trials that are to be done."""
    left = [trial for trial in plan if states[trial.id].state in TO_DO]
    known = _Trials(plan, store)
    wanted = {known.likeness(trial) for trial in left}
    own = [state.record for state in states.values() if state.record is not None]
    alike: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in (*own, *_foreign(store, states, lambda: wanted <= alike.keys())):
        if likeness := known.likeness(record.trial):
            alike[likeness].append(record)
    costs = {likeness: _mean_cost(records) for likeness, records in alike.items()}
    seconds = {
        trial.id: _duration(trial, states[trial.id], costs[known.likeness(trial)])
        for trial in left
        if known.likeness(trial) in costs
    }
    priced = [trial for trial in left if trial.id in seconds]
    return Estimate(
        seconds=seconds,
        cpu_hours=sum(seconds[trial.id] * trial.resources.cpu for trial in priced) / 3600,
        gpu_hours=sum(seconds[trial.id] * trial.resources.gpu for trial in priced) / 3600,
        unknown=len(left) - len(priced),
    )


def _foreign(
    store: History, states: Mapping[str, TrialState], enough: Callable[[], bool]
) -> Iterator[TrialRecord]:
    """Records of other studies; ids are hashes, so their order is that of chance."""
    if enough():
        return
    for id in sorted(store.result_ids() - states.keys())[:MAX_FOREIGN]:
        if record := store.record(id):
            yield record
        if enough():
            return


class _Trials:
    """Trials of the plan and of the store by id, and how alike they are."""

    def __init__(self, plan: Plan, store: History):
        self._store = store
        self._trials: dict[str, TrialSpec | None] = {trial.id: trial for trial in plan}
        self._likeness: dict[str, str] = {}

    def likeness(self, trial: TrialSpec) -> str:
        """What makes a step of two trials take equally long, but for the machine: their models,
        with all they stand on, and batches. Empty where what it stands on is not known."""
        if trial.id not in self._likeness:
            parents = [self._find(need) for need in trial.needs]
            known = [self.likeness(parent) for parent in parents if parent is not None]
            complete = len(known) == len(parents) and all(known)
            self._likeness[trial.id] = canonical_json(_shape(trial, known)) if complete else ""
        return self._likeness[trial.id]

    def _find(self, id: str) -> TrialSpec | None:
        if id not in self._trials:
            record = self._store.record(id)
            self._trials[id] = record and record.trial
        return self._trials[id]


def _shape(trial: TrialSpec, parents: list[str]) -> dict[str, Any]:
    recipe, train = trial.recipe, trial.recipe.train
    return {
        "kind": trial.kind,
        "tasks": [{"task": use.plugin, "params": _without_files(use)} for use in recipe.tasks],
        "data": [use.plugin for use in recipe.datasets],
        "method": recipe.method.params,
        "train": [train.batch, train.accumulate, train.devices, train.crop, train.scale],
        "precision": [train.precision, train.deterministic],
        "gpu": trial.resources.gpu > 0,
        "parents": parents,
    }


def _without_files(use: PluginUse) -> dict[str, Any]:
    """A step takes as long whatever the weights are that it starts from."""
    return {name: value for name, value in use.params.items() if name not in use.contents}


def _mean_cost(records: list[TrialRecord]) -> Cost:
    timings = [record.timings for record in records]
    total_s, train_s, evaluate_s = (
        fmean(timing.get(phase, 0.0) for timing in timings)
        for phase in ("total", "train", "evaluate")
    )
    steps = [max(1, record.training.steps) for record in records]
    return Cost(
        step_s=fmean(t.get("train", 0.0) / n for t, n in zip(timings, steps, strict=True)),
        evaluate_s=evaluate_s,
        other_s=max(0.0, total_s - train_s - evaluate_s),
    )


def _duration(trial: TrialSpec, state: TrialState, cost: Cost) -> float:
    steps = 0 if state.missing else trial.recipe.train.steps
    return cost.other_s + steps * cost.step_s + cost.evaluate_s
