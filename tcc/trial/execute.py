"""The one way a trial runs: train, commit, evaluate."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import torch

from tcc.errors import NonFiniteError, StoreError
from tcc.records import SCHEMA, TrialRecord, TrialSpec
from tcc.stores import Store
from tcc.trial import devices, training
from tcc.trial.evaluate import evaluate
from tcc.trial.interrupt import finishing_steps
from tcc.trial.numerics import settled
from tcc.trial.observer import Observer, Silent
from tcc.trial.parents import build, parents_of, weights
from tcc.trial.place import Place, place_of
from tcc.trial.provenance import provenance
from tcc.trial.watch import Watch

log = logging.getLogger("tcc.trial")


def execute(
    trial: TrialSpec, store: Store, observer: Observer | None = None, *, study: str = ""
) -> TrialRecord:
    """Trains the trial unless its record stands, then makes the evaluations that it lacks.

    A training that was cut off goes on from its last saved state. The record is committed as soon
    as the weights are, each evaluation as soon as it is made: what fails later loses neither.

    Raises:
        TrialError: a deterministic fault, such as a non-finite loss, or a parent without result.
        CheckpointError: a parent's weights are not those of its record, or do not fit.
    """
    watch, place = Watch(trial, store, observer or Silent()), place_of(trial)
    with settled(trial, place):
        model = build(trial, store)
        record = store.record(trial.id)
        parents = {need: parent.sha256 for need, parent in parents_of(trial, store).items()}
        if record is None or record.training.parents_sha256 != parents:
            record = _trained(model, trial, store, place, watch, study)
        _evaluate(model, trial, record, store, place, watch, study)
    committed = store.record(trial.id)
    if committed is None:
        raise StoreError(f"{store.uri}: the record of trial {trial.id} could not be read back")
    return committed


def _trained(
    model: Any, trial: TrialSpec, store: Store, place: Place, watch: Watch, study: str
) -> TrialRecord:
    """Trains here, or on several devices, and commits the result."""
    started_at = datetime.now(UTC)
    log.info("training %s on %s", trial.label, place.device)
    if trial.resources.gpu > 0 and not place.on_gpu:
        log.warning("no CUDA device is visible: running on the CPU")
    try:
        with finishing_steps() as stop:
            if trial.recipe.train.devices > 1:
                found = devices.run(trial, store, watch, stop)
            else:
                found = training.run(model, trial, store, place, watch, stop)
    except NonFiniteError:
        store.clear_state(trial.id)  # it may hold the first NaN already
        raise
    assert found is not None  # the first rank gives it
    watch.trained()
    record = TrialRecord(
        schema=SCHEMA,
        trial=trial,
        training=found,
        evaluations=(),
        timings=watch.timings | {"total": watch.elapsed() + watch.trained_before},
        provenance=provenance(study, str(place.device), started_at),
    )
    store.commit(record)
    store.clear_state(trial.id)
    if stop():  # asked for in the last step, after which no loop looks
        raise KeyboardInterrupt
    return record


def _evaluate(
    model: Any, trial: TrialSpec, record: TrialRecord, store: Store, place: Place, watch: Watch,
    study: str,
) -> None:  # fmt: skip
    """Makes and commits the evaluations that a record lacks."""
    sha256 = record.training.checkpoint_sha256
    done = {item.evaluation.id for item in record.evaluations}
    lacking = [spec for spec in trial.evaluations if spec.id not in done]
    if lacking:
        model.to(place.device, memory_format=torch.channels_last)
        model.load_trained(weights(store, trial.id, sha256))
    for spec in lacking:
        log.info("evaluating on %s %s", spec.dataset.name, spec.split)
        watch.lap()
        measured = evaluate(
            model,
            trial,
            spec,
            checkpoint_sha256=sha256,
            place=place,
            study=study,
            previews=store.preview_dir(trial.id) / spec.id,
            report=lambda done, total: watch.at("evaluate", done, total),
        )
        store.commit_evaluation(measured)
