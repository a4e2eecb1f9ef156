"""Which trials take equally long on one machine: what an estimate may learn from."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from tcc.records import EvaluationSpec, FrozenMap, Plan, PluginUse, TrialSpec


class Alike:
    """Numbers for trials and evaluations; equal numbers are alike."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def models(self, plan: Plan) -> dict[str, int]:
        """Trial → its model, with those that it stands on, whatever weights they start from."""
        found: dict[str, int] = {}
        for trial in plan:
            recipe = trial.recipe
            tasks = tuple((use.plugin, _without_files(use)) for use in recipe.tasks)
            below = tuple(found[need] for need in trial.needs)
            found[trial.id] = self._number(
                trial.kind, FrozenMap(recipe.method.params), tasks, below
            )
        return found

    def training(self, trial: TrialSpec, model: int, *, on_gpu: bool) -> int:
        """What makes a step of two trainings take equally long."""
        train = trial.recipe.train
        batch = (train.batch, train.accumulate, train.devices, train.crop, train.scale)
        how = (train.precision, train.deterministic, train.threads, on_gpu)
        data = tuple(use.plugin for use in trial.recipe.datasets)
        return self._number(model, data, batch, how)

    def evaluation(self, spec: EvaluationSpec, training: int) -> int:
        """What makes two evaluations of trials that trained alike take equally long."""
        return self._number(training, spec.dataset.plugin, spec.split, spec.rate)

    def _number(self, *what: Hashable) -> int:
        return self._numbers.setdefault(what, len(self._numbers))


def _without_files(use: PluginUse) -> tuple[tuple[str, Any], ...]:
    """A step takes as long whatever the weights are that it starts from."""
    return tuple((name, use.params[name]) for name in use.params if name not in use.contents)
