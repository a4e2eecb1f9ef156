"""Ids by content: two trials have one id where nothing that shapes their weights differs.

An id is the start of the SHA-256 of canonical JSON. What is only a name (of the study, of a data
entry), a path, or decided after training (evaluations, resources, labels) is not in it; of a file
of weights, its content is.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tcc.errors import DataError
from tcc.records import DatasetUse, EvaluationSpec, PluginUse, TrialSpec

ID_LENGTH = 16  # hexadecimal digits: 64 bits
EXACT_INTEGERS = 2**53  # floats below it hold integers exactly


def canonical_json(value: Any) -> str:
    """One text for equal values: sorted keys, 1.0 and 1 alike, -0.0 as 0, shortest exact floats.

    Raises:
        ValueError: a number is not finite.
        TypeError: a value is not JSON, or a key not text.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))


def trial_id(trial: TrialSpec) -> str:
    """The id of a trial; the one it has is not looked at."""
    recipe = trial.recipe
    return _digest(
        {
            "kind": trial.kind,
            "method": trial.method,
            "tasks": trial.tasks,
            "axes": trial.axes,
            "seed": trial.seed,
            "variant": trial.variant,
            "needs": trial.needs,
            "recipe": {
                "method": _plugin(recipe.method),
                "tasks": [_plugin(use) for use in recipe.tasks],
                "datasets": [_dataset(use) for use in recipe.datasets],
                "train": vars(recipe.train),
                "loop_version": recipe.loop_version,
            },
        }
    )


def evaluation_id(trial: str, evaluation: EvaluationSpec) -> str:
    """The id of an evaluation of a trial of that id; the one it has is not looked at."""
    return _digest(
        {
            "trial": trial,
            "dataset": _dataset(evaluation.dataset),
            "split": evaluation.split,
            "rate": evaluation.rate,
            "metrics": evaluation.metrics,
        }
        | ({"coded_images": evaluation.coded_images} if evaluation.coded_images else {})
    )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, read once a process unless it changes.

    Raises:
        DataError: it cannot be read.
    """
    try:
        status = path.stat()
        return _file_sha256(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


@cache
def _file_sha256(path: Path, _mtime_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:ID_LENGTH]


def _plugin(use: PluginUse) -> dict[str, Any]:
    """A file's content stands for where it lies."""
    contents = {param: {"sha256": sha256} for param, sha256 in use.contents.items()}
    return {"plugin": use.plugin, "version": use.version, "params": {**use.params, **contents}}


def _dataset(use: DatasetUse) -> dict[str, Any]:
    """The fingerprint stands for the parameters and for where the files lie."""
    return {"plugin": use.plugin, "version": use.version, "fingerprint": use.fingerprint}


def _canonical(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        whole = value.is_integer() and abs(value) < EXACT_INTEGERS
        return int(value) if whole else value
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _canonical(item) for key, item in value.items()}
    raise TypeError(f"{value!r} of type {type(value).__name__} has no canonical JSON")
