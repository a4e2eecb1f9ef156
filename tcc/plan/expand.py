"""From a spec to a plan: every trial once, with its recipe, its evaluations and its id."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from tcc import registry
from tcc.datasets import TRAINING
from tcc.methods import Method
from tcc.plan.identity import evaluation_id, file_sha256, trial_id
from tcc.records import (
    LOOP_VERSION,
    DatasetInfo,
    DatasetUse,
    EvaluationSpec,
    Plan,
    PluginUse,
    Recipe,
    TrialDraft,
    TrialSpec,
)
from tcc.spec import SweepSpec, pair_grid
from tcc.tasks import Task

SYMBOLS = {"lambda_b": "λ_b", "lambda_e": "λ_e", "beta": "β"}


def expand(spec: SweepSpec) -> Plan:
    """The trials of a spec in topological order. What several need, even of several pairs, is one
    trial."""
    expansion = _Expansion(spec)
    for pair in spec.pairs:
        for draft in expansion.method.expand(expansion.params, pair_grid(spec, pair)):
            expansion.add(draft)
    return Plan(study=spec.study, trials=tuple(expansion.trials.values()))


def axis_text(axes: dict[str, float]) -> str:
    """Axes to read: ``λ_b=0.1 β=0``."""
    order = [*SYMBOLS, *(name for name in axes if name not in SYMBOLS)]
    return " ".join(f"{SYMBOLS.get(name, name)}={axes[name]:g}" for name in order if name in axes)


class _Expansion:
    """Turns a method's drafts into trials, each after all that it needs."""

    def __init__(self, spec: SweepSpec):
        self.trials: dict[str, TrialSpec] = {}
        self.method: Method = registry.load("methods", spec.method)
        self.params = self.method.Params.model_validate(dict(spec.model))
        self._spec = spec
        self._by_draft: dict[TrialDraft, TrialSpec] = {}
        self._tasks: dict[str, tuple[Task, PluginUse]] = {}
        self._several = len({pair.dataset for pair in spec.pairs}) > 1
        # the same for hundreds of trials, and slow to make
        self._train, self._resources = cache(spec.train.recipe), cache(spec.resources_of)
        self._use_of = cache(self._dataset_use)

    def add(self, draft: TrialDraft) -> TrialSpec:
        """The trial of a draft; those it needs are added before it."""
        if draft in self._by_draft:
            return self._by_draft[draft]
        needs = tuple(self.add(need).id for need in draft.needs)
        trial = TrialSpec(
            id="",
            kind=draft.kind,
            method=self._spec.method,
            tasks=draft.tasks,
            datasets=(draft.dataset,),
            axes=draft.axes,
            seed=draft.seed,
            variant=draft.variant,
            recipe=self._recipe(draft),
            needs=needs,
            evaluations=(),
            resources=self._resources(draft.kind, draft.tasks[-1]),
            label=self._label(draft),
        )
        trial = replace(trial, id=trial_id(trial))
        trial = replace(trial, evaluations=self._evaluations(draft, trial.id))
        self._by_draft[draft] = self.trials.setdefault(trial.id, trial)
        return self._by_draft[draft]

    def _recipe(self, draft: TrialDraft) -> Recipe:
        return Recipe(
            method=PluginUse(
                name=self._spec.method,
                plugin=self._spec.method,
                version=self.method.version,
                params=self.method.recipe(self.params, draft),
            ),
            tasks=tuple(self._task(name)[1] for name in draft.uses),
            datasets=(self._use_of(draft.dataset, *TRAINING),),
            train=self._train(draft.kind, draft.tasks[-1]),
            loop_version=LOOP_VERSION,
        )

    def _task(self, name: str) -> tuple[Task, PluginUse]:
        if name not in self._tasks:
            task: Task = registry.load("tasks", name)
            params = task.Params.model_validate(dict(self._spec.tasks.get(name, {})))
            use = PluginUse(
                name=name,
                plugin=name,
                version=task.version,
                params=params.model_dump(mode="json"),
                contents={param: file_sha256(path) for param, path in params.files().items()},
            )
            self._tasks[name] = (task, use)
        return self._tasks[name]

    def _dataset_use(self, name: str, *splits: str) -> DatasetUse:
        entry = self._spec.data[name]
        return DatasetUse(
            name=name,
            plugin=entry.type,
            version=registry.load("datasets", entry.type).version,
            params=entry.params,
            fingerprint=entry.info.fingerprint(*splits),
        )

    def _evaluations(self, draft: TrialDraft, trial: str) -> tuple[EvaluationSpec, ...]:
        """What the spec asks for, where the trial gives a metric that the data has labels for; on
        the trial's own data where that leaves nothing."""
        usual = "coded" if self.method.codes_fast(self.params) else "estimated"
        asked = [
            (item.data or draft.dataset, item.split, item.rate or usual, item.coded_images)
            for item in self._spec.evaluate
        ]
        found = [self._evaluation(draft, trial, *item) for item in asked]
        measuring = {item.id: item for item in found if item.metrics}
        if measuring:
            return tuple(measuring.values())
        return (self._evaluation(draft, trial, draft.dataset, *asked[0][1:]),)

    def _evaluation(
        self, draft: TrialDraft, trial: str, data: str, split: str, rate: str, coded_images: int
    ) -> EvaluationSpec:
        own, info = (self._spec.data[name].info for name in (draft.dataset, data))
        tasks = {name: self._task(name)[0] for name in self.method.reported_tasks(draft)}
        spec = EvaluationSpec(
            id="",
            dataset=self._use_of(data, split),
            split=split,
            rate=rate,
            metrics=tuple(
                f"{name}/{metric.name}"
                for name, task in tasks.items()
                if _comparable(task.label, own, info)
                for metric in task.metrics
            ),
            coded_images=coded_images if rate == "estimated" else 0,
        )
        return replace(spec, id=evaluation_id(trial, spec))

    def _label(self, draft: TrialDraft) -> str:
        words = [draft.kind, "→".join(draft.tasks)]
        words += ["on", draft.dataset] if self._several else []
        words += [axis_text(dict(draft.axes)), draft.variant, f"seed {draft.seed}"]
        return " ".join(word for word in words if word)


def _comparable(label: str, trained_on: DatasetInfo, measured_on: DatasetInfo) -> bool:
    """Whether a model trained on one data set can be measured on the other: the labels are there,
    and their classes mean the same. The image itself is always there."""
    if label == "image":
        return True
    classes: list[Any] = [info.classes.get(label, ()) for info in (trained_on, measured_on)]
    return label in measured_on.labels and classes[0] == classes[1]
