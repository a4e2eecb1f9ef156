"""What Ray runs in a worker: one trial, whatever its kind, from its spec as JSON."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from tcc.errors import LostProcessError
from tcc.records import SCHEMA, FailureRecord, TrialRecord, TrialSpec
from tcc.run.observer import WorkerObserver
from tcc.stores import Store, from_json, open_store


def train(config: Mapping[str, Any]) -> dict[str, Any]:
    """Tune's function trainable; gives ``failed`` and ``reason`` as the last result.

    A fault that would come again is returned, never raised: only the death of a process is Tune's
    to retry.
    """
    try:
        trial = from_json(TrialSpec, config["trial"])
        outcome = _attempt(trial, open_store(config["store"]), config)
    except LostProcessError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary between a trial and Ray
        return {"failed": True, "reason": f"{type(error).__name__}: {error}"}
    finally:
        _free_gpu_memory()
    if isinstance(outcome, FailureRecord):
        return {"failed": True, "reason": outcome.reason}
    return {"failed": False, "reason": ""}


def _attempt(
    trial: TrialSpec, store: Store, config: Mapping[str, Any]
) -> TrialRecord | FailureRecord:
    if not trial.resources.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray hides no GPU from who asked for none
    attempt = _resolve(config["execute"])  # may import torch: not before the line above
    observer = WorkerObserver(trial, store, config["study"], json.loads(config["trackers"]))
    try:
        return attempt(trial, store, observer, study=config["study"])
    except LostProcessError:
        raise
    except Exception as error:  # noqa: BLE001 - such as a full disk: nothing may stay open
        reason = f"{type(error).__name__}: {error}"
        path = store.log_path(trial.id)
        failure = FailureRecord(
            schema=SCHEMA, trial=trial, reason=reason, step=None, term=None, log=str(path)
        )
        observer.finished(failure)
        with path.open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())
        return failure


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
