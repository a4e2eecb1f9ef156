"""Which trials take equally long on one machine: what an estimate may learn from."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from tcc.records import DatasetUse, EvaluationSpec, FrozenMap, Plan, PluginUse, TrialSpec

_COUNTS = ("train", "select", "val")  # parameters of generated data: images of each split


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
        data = tuple(_data(use, without=("val",)) for use in trial.recipe.datasets)
        return self._number(model, data, batch, how)

    def evaluation(self, spec: EvaluationSpec, training: int) -> tuple[int, int]:
        """What makes `images` of two evaluations of trials that trained alike take equally long:
        those of one split and rate, and any of the same data."""
        data = _data(spec.dataset, without=_COUNTS if _told(spec) else ())
        return self._number(training, data, spec.split, spec.rate), self._number(training, data)

    def _number(self, *what: Hashable) -> int:
        return self._numbers.setdefault(what, len(self._numbers))


def images(spec: EvaluationSpec) -> int:
    """How many images an evaluation measures, as far as its parameters say; else 1, for all."""
    return _told(spec) or 1


def _told(spec: EvaluationSpec) -> int:
    count = spec.dataset.params.get(spec.split) if _is_generated(spec.dataset) else None
    return count if isinstance(count, int) else 0


def _data(use: DatasetUse, without: tuple[str, ...]) -> tuple[Hashable, ...]:
    """How large images are and how many: by its parameters where data is generated, else by its
    files."""
    needless = ("root", "seed", *without)
    params = {name: value for name, value in use.params.items() if name not in needless}
    files = "" if _is_generated(use) else use.fingerprint
    return use.plugin, FrozenMap(params), files


def _is_generated(use: DatasetUse) -> bool:
    return all(isinstance(use.params.get(name), int) for name in _COUNTS)


def _without_files(use: PluginUse) -> tuple[tuple[str, Any], ...]:
    """A step takes as long whatever the weights are that it starts from."""
    return tuple((name, use.params[name]) for name in use.params if name not in use.contents)
