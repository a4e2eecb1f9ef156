"""The one way a trial runs: set up, train, evaluate, commit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import torch
from torch import nn

from tcc import registry
from tcc.codec.seeding import derive_seed
from tcc.datasets import TRAINING, Split
from tcc.errors import CheckpointError, StoreError, TrialError
from tcc.methods import Method, TrialModel
from tcc.records import (
    SCHEMA,
    Training,
    TrialRecord,
    TrialSpec,
)
from tcc.stores import Store
from tcc.trial import checkpoint
from tcc.trial.data import TrainingBatches, describe, evaluation_batches, open_split
from tcc.trial.evaluate import evaluate, select_batches
from tcc.trial.loop import Trained, train
from tcc.trial.observer import Observer, Silent
from tcc.trial.provenance import provenance
from tcc.trial.watch import Watch

log = logging.getLogger("tcc.trial")

FROZEN_BYTES = 1 << 30  # what may be kept of frozen parts' outputs


def execute(
    trial: TrialSpec, store: Store, observer: Observer | None = None, *, study: str = ""
) -> TrialRecord:
    """Trains the trial unless its record stands, then makes the evaluations that it lacks.

    The record is committed as soon as the weights are, each evaluation as soon as it is made: what
    fails later loses neither.

    Raises:
        TrialError: a deterministic fault, such as a non-finite loss, or a parent without result.
        CheckpointError: a parent's weights are not those of its record, or do not fit.
    """
    started_at, watch = datetime.now(UTC), Watch(trial, store, observer or Silent())
    device = _device(trial)
    torch.set_num_threads(trial.recipe.train.threads)
    parents_sha256 = {need: parent.sha256 for need, parent in parents_of(trial, store).items()}
    model = _build(trial, store).to(device, memory_format=torch.channels_last)
    record = store.record(trial.id)
    if record is not None and record.training.parents_sha256 == parents_sha256:
        model.load_trained(_weights(store, trial.id, record.training.checkpoint_sha256))
    else:
        log.info("training %s on %s", trial.label, device)
        trained = _train(model, trial, device, watch)
        watch.timings["train"] = watch.lap()
        sha256 = store.save_checkpoint(
            trial.id, lambda path: checkpoint.write(path, trained.state, trial.id)
        )
        model.load_trained({name: value.to(device) for name, value in trained.state.items()})
        record = TrialRecord(
            schema=SCHEMA,
            trial=trial,
            training=_training(model, trained, sha256, parents_sha256),
            evaluations=(),
            timings=watch.timings | {"total": watch.elapsed()},
            provenance=provenance(study, str(device), started_at),
        )
        store.commit(record)

    done = {item.evaluation.id for item in record.evaluations}
    for spec in trial.evaluations:
        if spec.id not in done:
            log.info("evaluating on %s %s", spec.dataset.name, spec.split)
            watch.lap()
            measured = evaluate(
                model,
                trial,
                spec,
                checkpoint_sha256=record.training.checkpoint_sha256,
                device=device,
                study=study,
                previews=store.preview_dir(trial.id) / spec.id,
                report=lambda done, total: watch.at("evaluate", done, total),
            )
            store.commit_evaluation(measured)
    committed = store.record(trial.id)
    if committed is None:
        raise StoreError(f"{store.uri}: the record of trial {trial.id} could not be read back")
    return committed


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
            raise TrialError(f"trial {need}, which {trial.id} needs, has no result in {store.uri}")
        found[need] = Parent(record.trial, record.training.checkpoint_sha256)
    return found


def _ancestors(trial: TrialSpec, store: Store) -> dict[str, Parent]:
    """Kind → every trial that this one stands on, near and far."""
    found: dict[str, Parent] = {}
    for parent in parents_of(trial, store).values():
        found |= {parent.spec.kind: parent} | _ancestors(parent.spec, store)
    return found


def _build(trial: TrialSpec, store: Store) -> Any:
    """The model with its parents' weights: frozen parts and warm starts."""
    method: Method = registry.load("methods", trial.method)
    classes = describe(trial.recipe.datasets[0], *TRAINING).classes
    uses = {use.name: use for use in trial.recipe.tasks}

    def make_task(name: str) -> Any:
        task = registry.load("tasks", uses[name].plugin)
        params = task.Params.model_validate(dict(uses[name].params))
        return task.build(params, tuple(classes.get(task.label, ())))

    ancestors = _ancestors(trial, store)
    model = method.build(
        trial, {kind: parent.spec for kind, parent in ancestors.items()}, make_task
    )
    model.load_parents(
        {
            kind: _weights(store, parent.spec.id, parent.sha256)
            for kind, parent in ancestors.items()
            if kind in model.origins
        }
    )
    return model


def _weights(store: Store, trial_id: str, sha256: str) -> dict[str, torch.Tensor]:
    """A trial's checkpoint, if it is the one of its record; otherwise takes that record back."""
    try:
        return checkpoint.read(store.checkpoint(trial_id), sha256)
    except CheckpointError as error:
        store.withdraw(trial_id)
        redo = f"the result of trial {trial_id} was taken back, run the study again to redo it"
        raise CheckpointError(f"{error}; {redo}") from None


def _train(model: Any, trial: TrialSpec, device: torch.device, watch: Watch) -> Trained:
    recipe, method = trial.recipe.train, registry.load("methods", trial.method)
    data = trial.recipe.datasets[0]
    key = method.batch_key(trial)
    batches = TrainingBatches(
        open_split(data, "train"),
        recipe.batch,
        seed=trial.seed,
        key=key,
        crop=recipe.crop,
        flip=recipe.flip,
    )
    if batches.fixed:
        model.eval()
        batches.frozen = _precompute(model, batches.samples, device)
    select = select_batches(open_split(data, "select"))
    torch.manual_seed(derive_seed(trial.seed, *key, "training"))
    watch.timings["setup"] = watch.lap()
    return train(model, recipe, batches, select, device, watch.values)


@torch.no_grad()
def _precompute(
    model: TrialModel, samples: Split, device: torch.device
) -> Mapping[str, torch.Tensor]:
    """The frozen parts' outputs for all training images; empty where there are none or too many."""
    kept: list[Mapping[str, torch.Tensor]] = []
    size = 0
    for batch in evaluation_batches(samples):
        found = model.precompute(batch.to(device))
        size += sum(value.nbytes for value in found.values())
        if not found or size > FROZEN_BYTES:
            return {}
        kept.append({name: value.cpu() for name, value in found.items()})
    try:
        return {name: torch.cat([item[name] for item in kept]) for name in kept[0]}
    except RuntimeError:  # latents of different sizes
        return {}


def _training(
    model: nn.Module, trained: Trained, sha256: str, parents_sha256: Mapping[str, str]
) -> Training:
    parts = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in model.named_children()
    }
    return Training(
        steps=trained.steps,
        best_step=trained.best_step,
        best_rd_cost=trained.best_rd_cost,
        rd_cost=trained.rd_cost,
        last_terms=trained.last_terms,
        num_parameters=parts,
        checkpoint_sha256=sha256,
        parents_sha256=parents_sha256,
    )


def _device(trial: TrialSpec) -> torch.device:
    """From the resources, not from what is there: a trial without GPU must not take one."""
    if trial.resources.gpu > 0 and torch.cuda.is_available():
        torch.backends.cudnn.allow_tf32 = False  # full precision means it; speed is bf16's
        return torch.device("cuda")
    if trial.resources.gpu > 0:
        log.warning("no CUDA device is visible: running on the CPU")
    return torch.device("cpu")
