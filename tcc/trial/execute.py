"""The one way a trial runs: train, commit, evaluate."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

import torch

from tcc.errors import BusyError, LostProcessError, NonFiniteError, StoreError
from tcc.records import SCHEMA, EvaluationSpec, TrialRecord, TrialSpec
from tcc.stores import Store
from tcc.trial import devices, training
from tcc.trial.evaluate import evaluate
from tcc.trial.interrupt import Stop, end_if
from tcc.trial.numerics import settled
from tcc.trial.observer import Observer, Silent
from tcc.trial.parents import build, parents_of, weights
from tcc.trial.place import Place, place_of
from tcc.trial.provenance import provenance
from tcc.trial.watch import Watch

log = logging.getLogger("tcc.trial")


def execute(
    trial: TrialSpec,
    store: Store,
    observer: Observer | None = None,
    *,
    study: str = "",
    stop: Stop = lambda: False,
) -> TrialRecord:
    """Trains the trial unless its training stands, then makes the evaluations that it lacks.

    A training that was cut off goes on from its last saved state. The record is committed as soon
    as the weights are, each evaluation as soon as it is made: what fails later loses neither.

    Raises:
        TrialError: a deterministic fault, such as a non-finite loss, or a parent without result.
        CheckpointError: a parent's weights are not those of its record, or do not fit.
        KeyboardInterrupt: ``stop`` said so; what was done is saved.
    """
    watch, place = Watch(trial, store, observer or Silent()), place_of(trial)
    with settled(trial, place):
        record = standing(trial, store)
        end_if(stop)
        model = build(trial, store)
        if record is None:
            record = _trained(model, trial, store, place, watch, study, stop)
        _evaluate(model, trial, record, store, place, watch, study, stop)
    committed = store.record(trial.id)
    if committed is None:
        raise StoreError(f"{store.uri}: the record of trial {trial.id} could not be read back")
    return committed


def finished(trial: TrialSpec, store: Store) -> TrialRecord | None:
    """The trial's record, where nothing is left to do."""
    record = standing(trial, store)
    return record if record is not None and not _lacking(trial, record) else None


def standing(trial: TrialSpec, store: Store) -> TrialRecord | None:
    """The trial's record, where its training stands: on the parents' checkpoints as they are now,
    and with a checkpoint of its own that is there and whole.

    Raises:
        TrialError: a trial that it needs has no result.
    """
    record = store.record(trial.id)
    parents = {need: parent.sha256 for need, parent in parents_of(trial, store).items()}
    if record is None or record.training.parents_sha256 != parents:
        return None
    return None if store.checkpoint_problem(trial.id, thorough=True) else record


def _lacking(trial: TrialSpec, record: TrialRecord) -> list[EvaluationSpec]:
    done = {item.evaluation.id for item in record.evaluations}
    return [spec for spec in trial.evaluations if spec.id not in done]


def _trained(
    model: Any, trial: TrialSpec, store: Store, place: Place, watch: Watch, study: str, stop: Stop
) -> TrialRecord:
    """Trains here, or on several devices, and commits the result."""
    started_at = datetime.now(UTC)
    log.info("training %s on %s", trial.label, place.device)
    if trial.resources.gpu > 0 and not place.on_gpu:
        log.warning("no CUDA device is visible: running on the CPU")
    try:
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
    return record


def _evaluate(
    model: Any, trial: TrialSpec, record: TrialRecord, store: Store, place: Place, watch: Watch,
    study: str, stop: Stop,
) -> None:  # fmt: skip
    """Makes and commits the evaluations that a record lacks; one that fails keeps no other from
    being made, the first such fault is raised in the end."""
    store.clear_state(trial.id)  # which the record has made needless
    training, lacking = record.training, _lacking(trial, record)
    if lacking:
        model.to(place.device, memory_format=torch.channels_last)
        model.load_trained(weights(store, trial.id, training.checkpoint_sha256))

    def report(done: int, total: int) -> None:
        watch.at("evaluate", done, total)
        if done < total:
            end_if(stop)

    first: Exception | None = None
    for spec in lacking:
        end_if(stop)
        log.info("evaluating on %s %s", spec.dataset.name, spec.split)
        watch.lap()
        try:
            measured = evaluate(
                model,
                trial,
                spec,
                checkpoint_sha256=training.checkpoint_sha256,
                place=place,
                study=study,
                previews=store.preview_dir(trial.id) / spec.id,
                report=report,
            )
        except (BusyError, StoreError, LostProcessError):
            raise  # not the evaluation's fault
        except Exception as error:  # noqa: BLE001 - whatever it was, the others are made
            log.error("failed on %s %s: %s", spec.dataset.name, spec.split, error)
            first = first or _of_weights(error, training.best_step)
            _free_frames(error)
        else:
            store.commit_evaluation(measured)
    if first is not None:
        raise first


def _of_weights(error: Exception, step: int) -> Exception:
    """An evaluation's fault; a value that is not finite came of the weights after a step."""
    if not isinstance(error, NonFiniteError):
        return error
    reason = f"{error}, of the weights after step {step}"
    found = NonFiniteError(reason, step=step, term=error.term)
    found.__cause__ = error
    return found


def _free_frames(error: BaseException | None) -> None:
    """Frees what the frames of an error hold that is kept for later, such as a GPU's tensors."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__
