"""Runs a trial so that whatever goes wrong in it becomes its failure record and a log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch

from tcc.errors import BusyError, LostProcessError, StoreError, TccError
from tcc.plan import standing
from tcc.records import SCHEMA, FailureRecord, TrialRecord, TrialSpec
from tcc.stores import Lease, Store
from tcc.trial.execute import execute, finished
from tcc.trial.interrupt import Stop, asked_by_signals
from tcc.trial.logs import logging_to
from tcc.trial.observer import Guarded, Observer, Silent
from tcc.trial.parents import parents_of

log = logging.getLogger("tcc.trial")


def attempt(
    trial: TrialSpec,
    store: Store,
    observer: Observer | None = None,
    *,
    study: str = "",
    run: str = "",
    stop: Stop | None = None,
) -> TrialRecord | FailureRecord:
    """Runs a trial; a deterministic fault becomes its failure record, its traceback is logged.

    Keeps other processes from the trial meanwhile; what one of them finished before is the outcome,
    and nothing is done. An observer that breaks is logged and no more heard. ``run``: the run of a
    study that this is for, see `Store.working_on`. ``stop``: asked wherever the trial can end with
    what was done saved; without, Ctrl-C and SIGTERM ask for that, and a second one ends at once.

    Raises:
        TrialError: a trial that it needs has no result; then nothing was begun.
        BusyError: another living process works on the trial, or has taken it over.
        StoreError: the store cannot be read or written.
        LostProcessError: something outside killed one of its processes.
        KeyboardInterrupt: it was asked to stop.
    """
    observer = Guarded(observer or Silent())
    parents_of(trial, store)
    asking = nullcontext(stop) if stop is not None else asked_by_signals()
    with asking as asked, store.working_on(trial.id, run) as lease:
        outcome: TrialRecord | FailureRecord | None = finished(trial, store)
        if outcome is None:
            store.begin(trial)
            with logging_to(store.log_path(trial.id)), _ending(trial, store, lease):
                outcome = _outcome(trial, store, observer, study, lease, asked)
    observer.finished(outcome)
    return outcome


def _outcome(
    trial: TrialSpec, store: Store, observer: Observer, study: str, lease: Lease, asked: Stop
) -> TrialRecord | FailureRecord:
    def stop() -> bool:
        if lease.lost:
            lease.check()  # raises: what is another's now is not saved
        return asked()

    try:
        return execute(trial, store, observer, study=study, stop=stop)
    except (BusyError, StoreError, LostProcessError):
        raise  # nothing can be written, or nothing need be: it was not the trial's fault
    except Exception as error:
        log.error("failed: %s\n%s", error, traceback.format_exc())
        if asked():  # the signal may have ended what it needs; a fault of its own will come again
            raise KeyboardInterrupt from error
        failure = _failure(trial, store, error)
        store.fail(failure)
        return failure


@contextmanager
def _ending(trial: TrialSpec, store: Store, lease: Lease) -> Iterator[None]:
    """However the block ends: the trial no more shows as running, and its memory is free."""
    try:
        yield
    except BaseException as error:
        log.info("ended before it was done: %s", error or type(error).__name__)
        raise
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # the process may idle beside others on the same GPU
        _tell_ended(trial, store, lease)


def _tell_ended(trial: TrialSpec, store: Store, lease: Lease) -> None:
    try:
        lease.check()  # another's to tell; a rank may have found out before this process
        if (last := store.progress(trial.id)) is not None:
            store.write_progress(replace(last, phase="ended", eta_s=0.0))
    except (BusyError, StoreError) as error:
        log.warning("its end could not be told: %s", error)


def _failure(trial: TrialSpec, store: Store, error: Exception) -> FailureRecord:
    deliberate = isinstance(error, TccError)
    missing = standing(trial, store).missing  # of a training that stands: the first one failed
    return FailureRecord(
        schema=SCHEMA,
        trial=trial,
        reason=str(error) if deliberate else f"{type(error).__name__}: {error}",
        step=getattr(error, "step", None),
        term=getattr(error, "term", None),
        log=store.log_place(trial.id),
        evaluation=missing[0].id if missing else "",
    )
