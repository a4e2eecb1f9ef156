"""Runs a trial so that whatever goes wrong in it becomes its failure record and a log."""

from __future__ import annotations

import logging
import os
import traceback
from dataclasses import replace

import torch

from tcc.errors import LostProcessError, StoreError, TccError
from tcc.records import SCHEMA, FailureRecord, TrialRecord, TrialSpec
from tcc.stores import Store
from tcc.trial.execute import execute
from tcc.trial.logs import logging_to
from tcc.trial.observer import Guarded, Observer, Silent
from tcc.trial.parents import parents_of

log = logging.getLogger("tcc.trial")


def attempt(
    trial: TrialSpec, store: Store, observer: Observer | None = None, *, study: str = ""
) -> TrialRecord | FailureRecord:
    """Runs a trial; a deterministic fault becomes its failure record, its traceback is logged.

    An observer that breaks is logged and no more heard. Only the death of the process, an interrupt
    or a store that cannot be used ends a trial in another way.

    Raises:
        TrialError: a trial that it needs has no result; then nothing was begun.
        StoreError: the store cannot be read or written.
        LostProcessError: something outside killed one of its processes.
    """
    observer = Guarded(observer or Silent())
    parents_of(trial, store)
    store.begin(trial)
    with logging_to(store.log_path(trial.id)):
        try:
            outcome: TrialRecord | FailureRecord = execute(trial, store, observer, study=study)
        except (StoreError, LostProcessError):
            raise  # nothing can be written, or nothing need be: it was not the trial's fault
        except Exception as error:  # noqa: BLE001 - a boundary: what a trial raises is its failure
            log.error("failed: %s\n%s", error, traceback.format_exc())
            outcome = _failure(trial, store, error)
            store.fail(outcome)
        if (last := store.progress(trial.id)) is not None:
            store.write_progress(replace(last, phase="ended", eta_s=0.0))
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # the process may idle beside others on the same GPU
    observer.finished(outcome)
    return outcome


def _failure(trial: TrialSpec, store: Store, error: Exception) -> FailureRecord:
    deliberate = isinstance(error, TccError)
    return FailureRecord(
        schema=SCHEMA,
        trial=trial,
        reason=str(error) if deliberate else f"{type(error).__name__}: {error}",
        step=getattr(error, "step", None),
        term=getattr(error, "term", None),
        log=os.fspath(store.log_path(trial.id)),
    )
