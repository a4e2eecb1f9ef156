"""What a trial stands on: its parents' records and weights, and the model that is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from tcc import registry
from tcc.datasets import TRAINING
from tcc.errors import BusyError, CheckpointError, TrialError
from tcc.methods import Method
from tcc.plan.identity import file_sha256
from tcc.records import PluginUse, TrialSpec
from tcc.stores import Store
from tcc.trial import checkpoint
from tcc.trial.data import describe


class Parent(NamedTuple):
    """A finished trial that another stands on, and the checkpoint of its record."""

    spec: TrialSpec
    sha256: str


def parents_of(trial: TrialSpec, store: Store) -> dict[str, Parent]:
    """The trials that one needs, by id.

    Raises:
        TrialError: one of them has no result in the store.
    """
    found = {}
    for need in trial.needs:
        record = store.record(need)
        if record is None:
            raise TrialError(
                f"trial {need}, which {trial.id} needs, has no result in {store.uri}: `tcc run "
                "SPEC` makes it first, `tcc retry STUDY` where this trial failed already"
            )
        found[need] = Parent(record.trial, record.training.checkpoint_sha256)
    return found


def build(trial: TrialSpec, store: Store) -> Any:
    """The model of a trial with its parents' weights, frozen parts and warm starts; on the CPU.

    Raises:
        CheckpointError: a parent's weights are not those of its record, or do not fit.
        TrialError: a file of initial weights is not the one that the trial was planned with.
    """
    method: Method = registry.load("methods", trial.method)
    classes = describe(trial.recipe.datasets[0], *TRAINING).classes
    uses = {use.name: use for use in trial.recipe.tasks}

    def make_task(name: str) -> Any:
        task, params = _task(uses[name])
        _refuse_changed(uses[name], params.files())
        return task.build(params, tuple(classes.get(task.label, ())))

    above = ancestors(trial, store)
    model = method.build(trial, {kind: parent.spec for kind, parent in above.items()}, make_task)
    model.load_parents(
        {
            kind: weights(store, parent.spec.id, parent.sha256)
            for kind, parent in above.items()
            if kind in model.origins
        }
    )
    return model


def weights(store: Store, trial_id: str, sha256: str) -> dict[str, Tensor]:
    """A trial's checkpoint, if it is the one of its record; otherwise takes that record back.

    Raises:
        CheckpointError: it is not.
        BusyError: its trial was redone since that record was read.
        StoreError: it cannot be read; then the record stands.
    """
    try:
        return checkpoint.read(store.checkpoint(trial_id), sha256)
    except CheckpointError:
        pass  # a copy of it may be what is spoilt
    try:
        return checkpoint.read(store.checkpoint(trial_id, fresh=True), sha256)
    except CheckpointError as error:
        now = store.checkpoint_sha256(trial_id)
        if now == sha256:
            store.withdraw(trial_id)
        elif now is not None:
            raise BusyError(f"trial {trial_id} was redone meanwhile: try again") from None
        redo = (
            f"the result of trial {trial_id} was taken back, `tcc retry STUDY` makes it again and "
            "what failed for it"
        )
        raise CheckpointError(f"{error}; {redo}") from None


def initial_weights(trial: TrialSpec) -> Mapping[str, str]:
    """Task → where its model's weights came from: ``random``, a published name, a file's hash."""
    found = {}
    for use in trial.recipe.tasks:
        found[use.name] = _task(use)[1].initial_weights()
        if found[use.name] == "file":
            found[use.name] = ", ".join(f"sha256:{digest}" for digest in use.contents.values())
    return found


def _task(use: PluginUse) -> tuple[Any, Any]:
    task = registry.load("tasks", use.plugin)
    return task, task.Params.model_validate(dict(use.params))


def _refuse_changed(use: PluginUse, files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        if file_sha256(path) != use.contents.get(name):
            raise TrialError(
                f"{path}, from which task {use.name} starts, changed since this trial was planned; "
                "run the same command again"
            )


def ancestors(trial: TrialSpec, store: Store) -> dict[str, Parent]:
    """Kind → every trial that this one stands on, near and far.

    Raises:
        TrialError: a parent was trained on another checkpoint of its own parent than there is now.
    """
    found: dict[str, Parent] = {}
    for parent in parents_of(trial, store).values():
        record = store.record(parent.spec.id)
        for id, above in parents_of(parent.spec, store).items():
            if record is not None and record.training.parents_sha256.get(id) != above.sha256:
                raise TrialError(
                    f"trial {parent.spec.id}, which {trial.id} needs, was trained on another "
                    f"checkpoint of {id} than there is now: `tcc retry STUDY` trains both again"
                )
        found |= {parent.spec.kind: parent} | ancestors(parent.spec, store)
    return found
