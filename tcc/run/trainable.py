"""What Ray runs in a worker: one trial, whatever its kind, from its spec as JSON."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from tcc.errors import BusyError, LostProcessError, StoreError
from tcc.records import SCHEMA, FailureRecord, TrialRecord, TrialSpec
from tcc.run.events import Outcome
from tcc.run.leaving import LEAVING
from tcc.run.observer import WorkerObserver
from tcc.run.told import told
from tcc.stores import Store, from_json, open_store


def train(config: Mapping[str, Any]) -> dict[str, Any]:
    """Tune's function trainable; gives an `Outcome` as the last result.

    A fault that would come again is returned, never raised: only the death of a process is Tune's
    to retry.
    """
    with LEAVING.running():
        try:
            return asdict(_outcome(config))
        finally:
            _free_gpu_memory()


def _outcome(config: Mapping[str, Any]) -> Outcome:
    try:
        trial = from_json(TrialSpec, config["trial"])
        store = open_store(config["store"])
        if not trial.resources.gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray hides no GPU from who asked for none
        attempt = _resolve(config["execute"])  # may import torch: not before the line above
    except StoreError as error:
        return Outcome(how="store", reason=str(error))
    except Exception as error:  # noqa: BLE001 - the boundary between a trial and Ray
        return Outcome(how="failed", reason=f"{type(error).__name__}: {error}")
    stopped, leaving = told(config["run"]), LEAVING.asked

    def stop() -> bool:
        return stopped.is_set() or leaving.is_set()

    study, run = config["study"], config["run"]
    observer = WorkerObserver(trial, store, study, json.loads(config["trackers"]), stop)
    attempted = partial(attempt, trial, store, observer, study=study, run=run, stop=stop)
    how, reason = _attempt(attempted, trial, store, observer)
    untracked = observer.close()
    try:
        store.flush()
    except StoreError as error:
        how, reason = "store", str(error)
    return Outcome(how=how, reason=reason, untracked=untracked)


def _attempt(
    attempt: Callable[[], TrialRecord | FailureRecord],
    trial: TrialSpec,
    store: Store,
    observer: WorkerObserver,
) -> tuple[str, str]:
    """How an attempt ends, and why."""
    try:
        found = attempt()
    except LostProcessError:
        raise
    except BusyError as error:
        return "busy", str(error)
    except StoreError as error:
        return "store", str(error)
    except KeyboardInterrupt:
        return "interrupted", "it was told to end, and saved"
    except Exception as error:  # noqa: BLE001 - a boundary: nothing may stay open
        return "failed", _failed(trial, store, observer, error)
    if isinstance(found, FailureRecord):
        return "failed", found.reason
    return "done", ""


def _failed(trial: TrialSpec, store: Store, observer: WorkerObserver, error: Exception) -> str:
    """The reason of a failure that the trial itself could not handle."""
    reason = f"{type(error).__name__}: {error}"
    with store.log_path(trial.id).open("a", encoding="utf-8") as log:
        log.write(traceback.format_exc())
    place = store.log_place(trial.id)
    observer.finished(
        FailureRecord(schema=SCHEMA, trial=trial, reason=reason, step=None, term=None, log=place)
    )
    return reason


def _free_gpu_memory() -> None:
    """Gives back what torch keeps for later: the next trial of a GPU may be another process's."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _resolve(path: str) -> Callable[..., TrialRecord | FailureRecord]:
    """The function at ``module:name``."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
