"""Finished trials as what codes files: found by name, by path or by what a file says, and loaded.

Nothing that only a training needs is looked at: no data set, unless its class names are in no
record, no files of initial weights.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tcc import registry
from tcc.codec.container import ModelId
from tcc.datasets import TRAINING
from tcc.errors import BitstreamError, CheckpointError, RecordError, TrialError, UnknownNameError
from tcc.methods import Method
from tcc.records import PluginUse, TrialRecord
from tcc.stores import Store, open_store
from tcc.trial import checkpoint
from tcc.trial.data import describe
from tcc.trial.parents import ancestors, parents_of

_ID = re.compile(r"[0-9a-f]{1,16}")
_FILE = "checkpoint.safetensors"


class Stored(NamedTuple):
    """A finished trial and the store that holds it."""

    record: TrialRecord
    store: Store

    @property
    def id(self) -> str:
        """The trial's."""
        return self.record.trial.id

    @property
    def sha256(self) -> str:
        """Of its checkpoint."""
        return self.record.training.checkpoint_sha256

    @property
    def name(self) -> str:
        """Its id and its label."""
        return f"{self.id} ({self.record.trial.label})"

    @property
    def models(self) -> tuple[ModelId, ...]:
        """What files that are written with it say of the trial of each layer, from the base up.

        Raises:
            TrialError: as `base`.
        """
        trials = (self,) if self.num_layers < 2 else (self.base(), self)
        return tuple(ModelId.of(it.id, it.sha256, layers=len(trials)) for it in trials)

    def fits(self, models: Sequence[ModelId]) -> bool:
        """Whether it decodes the layers of which a file says so, from the base up.

        Raises:
            TrialError: as `base`.
        """
        *below, own = models
        return (
            self.num_layers == len(models)
            and self.is_of(own)
            and all(self.base().is_of(model) for model in below)
        )

    def is_of(self, model: ModelId) -> bool:
        """Whether a file that says so may mean it."""
        return model.matches(self.id, self.sha256)

    @property
    def num_layers(self) -> int:
        """Of the files that are written with it; 0: it codes nothing."""
        return _method(self.record).num_layers(self.record.trial.kind)

    def base(self) -> Stored:
        """The trial that decodes the base alone: itself, where its files have no other layer.

        Raises:
            TrialError: it is not in the store, or its weights are not those that were stood on.
        """
        if self.num_layers < 2:
            return self
        _refuse_other_parents(self)
        parent = ancestors(self.record.trial, self.store)["base"]
        return Stored(_record(parent.spec.id, self.store), self.store)


def find(name: str, store: str) -> Stored:
    """The finished trial of an id or its first letters, in the store of that URI; or of the path of
    its folder or its checkpoint, in the store around it.

    Raises:
        TccError: there is none, it is not finished, or several ids begin so.
    """
    place = name.rstrip("/").removesuffix(f"/{_FILE}")
    is_there = os.path.exists(name)  # noqa: PTH110 - `Path.exists` raises where it is too long
    if "://" not in place and is_there and not _ID.fullmatch(name):
        place = str(Path(name).resolve()).removesuffix(f"/{_FILE}")
    around, within, id = place.rpartition("/trials/")
    if within and "/" not in id:
        return _starting(id, open_store(around, write=False))
    if not _ID.fullmatch(name):
        raise UnknownNameError(
            f"checkpoint {name!r} is neither a trial's id (or its first letters) nor the path of "
            f"a trial in a store: STORE/trials/ID, or STORE/trials/ID/{_FILE}"
        )
    return _starting(name, open_store(store, write=False))


def of_file(models: Sequence[ModelId], store: Store) -> Stored:
    """The trial that decodes the layers of which a file says so, from the base up.

    Raises:
        TccError: it is not in the store, has other weights by now, or several may be it.
    """
    *_, own = models
    ids = sorted(id for id in store.result_ids() if id.startswith(own.trial.hex()))
    alike = [Stored(_record(id, store), store) for id in ids]
    found = [it for it in alike if it.fits(models)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(it.name for it in found)
        raise BitstreamError(f"needs {own}, which may be {names}: say which with --checkpoint")
    others = [it.name for it in alike if it.num_layers == len(models) and not it.is_of(own)]
    but = f", where {' and '.join(others)} has other weights" if others else ""
    raise BitstreamError(
        f"needs {own}, which is not in {store.uri}{but}: give the store that holds it with "
        f"--store, or the trial's path there with --checkpoint{base_alone(models)}"
    )


def base_alone(models: Sequence[ModelId]) -> str:
    """What else can be done with a file of two layers."""
    return f"; --layer base needs {models[0]} alone" if len(models) > 1 else ""


def load(stored: Stored) -> Any:
    """The model with all its weights, on the CPU, to be asked and not trained.

    Raises:
        TccError: a checkpoint is not the one of its record, or class names are not to be had.
    """
    record, store = stored
    trial, uses = record.trial, {use.name: use for use in record.trial.recipe.tasks}
    _refuse_other_parents(stored)

    def make_task(name: str) -> Any:
        task = registry.load("tasks", uses[name].plugin)
        params = task.Params.model_validate(dict(uses[name].params)).without_files()
        return task.build(params, classes_of(record, uses[name]))

    above = ancestors(trial, store)
    parents = {kind: parent.spec for kind, parent in above.items()}
    model: Any = _method(record).build(trial, parents, make_task)
    states = {
        kind: checkpoint.read(store.checkpoint(parent.spec.id), parent.sha256)
        for kind, parent in above.items()
        if kind in model.origins
    }
    model.load_parents(states)
    own = checkpoint.read(store.checkpoint(trial.id), record.training.checkpoint_sha256)
    model.load_trained(own)
    return model.eval()


def classes_of(record: TrialRecord, use: PluginUse) -> tuple[str, ...]:
    """The class names that a task's model was trained on.

    Raises:
        DataError: the record is too old to hold them, and the data set is not to be had.
    """
    label = registry.load("tasks", use.plugin).label
    if label in record.training.classes:
        return record.training.classes[label]
    return tuple(describe(record.trial.recipe.datasets[0], *TRAINING).classes.get(label, ()))


def _starting(start: str, store: Store) -> Stored:
    found = sorted(id for id in store.result_ids() if id.startswith(start))
    if len(found) == 1:
        return Stored(_record(found[0], store), store)
    if found:
        listed = ", ".join(Stored(_record(id, store), store).name for id in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise UnknownNameError(f"{len(found)} trials begin with {start!r}: {listed}{more}")
    if (begun := store.trial(start)) is not None:
        raise TrialError(
            f"trial {start} ({begun.label}) in {store.uri} is not finished: `tcc run` its study"
        )
    raise UnknownNameError(
        f"no finished trial in {store.uri} has an id that begins with {start!r}: `tcc plan SPEC "
        "--json` lists ids, --store says where they are"
    )


def _record(id: str, store: Store) -> TrialRecord:
    record = store.record(id)
    if record is None:
        why = "; ".join(line for line in store.problems() if f"/{id}/" in line)
        raise RecordError(f"trial {id} in {store.uri} cannot be trusted: {why or 'no result'}")
    return record


def _refuse_other_parents(stored: Stored) -> None:
    record, store = stored
    for id, parent in parents_of(record.trial, store).items():
        if record.training.parents_sha256.get(id) != parent.sha256:
            raise CheckpointError(
                f"trial {stored.name} was trained on another checkpoint of {id} than {store.uri} "
                "holds now: run its study, which trains it again"
            )


def _method(record: TrialRecord) -> Method:
    return registry.load("methods", record.trial.method)
