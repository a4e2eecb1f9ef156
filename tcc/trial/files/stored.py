"""Finished trials as what codes files: found by name, by path or by what a file says, and loaded.

Nothing that only a training needs is looked at: no data set, unless its class names are in no
record, no files of initial weights.
"""

from __future__ import annotations

import os
import re
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
    def name(self) -> str:
        """Its id and its label."""
        return f"{self.record.trial.id} ({self.record.trial.label})"

    @property
    def model_id(self) -> ModelId:
        """What files that are written with it say of it."""
        return ModelId.of(self.record.trial.id, self.record.training.checkpoint_sha256)

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
    is_there = os.path.exists(name)  # noqa: PTH110 - `Path.exists` raises where the name is too long
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


def of_file(model: ModelId, store: Store) -> Stored:
    """The trial that wrote a file.

    Raises:
        BitstreamError: it is not in the store, or has other weights by now.
    """
    start = model.trial.hex()
    others = []
    for id in sorted(id for id in store.result_ids() if id.startswith(start)):
        found = Stored(_record(id, store), store)
        if found.model_id == model:
            return found
        others.append(found)
    if others:
        raise BitstreamError(
            f"was written with other weights of trial {others[0].name} than {store.uri} holds now: "
            f"{model.weights.hex()}…, not {others[0].model_id.weights.hex()}…; the trial was "
            "trained again since"
        )
    raise BitstreamError(
        f"was written with trial {start}…, which is not in {store.uri}: give the store that holds "
        "it with --store, or the trial with --checkpoint"
    )


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
