"""What the files of a store mean: trials, their records, and studies, over any backend."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tcc.errors import CheckpointError, RecordError, StoreError
from tcc.records import EvaluationRecord, FailureRecord, Progress, TrialRecord, TrialSpec
from tcc.stores._rows import append_row, last_said, read_rows
from tcc.stores._serial import from_json, to_json

if TYPE_CHECKING:
    from tcc.stores import Backend

T = TypeVar("T")

_NAME = re.compile(r"\w[\w .+=,@-]*")  # one path segment: no separator, no wildcard, not hidden


class Store:
    """Trials and studies by id and name.

    A record file that cannot be trusted (torn, edited, of another version, of another trial) reads
    as absent, so that its trial is done again, and is named in `problems`.
    """

    def __init__(self, backend: Backend, *, write: bool):
        self._backend = backend
        self._write = write
        self._problems: dict[str, str] = {}

    @property
    def uri(self) -> str:
        """Opens this store from any working directory of the machine."""
        return self._backend.uri

    @property
    def directory(self) -> Path:
        """The store's local folder, where trackers keep their files."""
        return self._backend.folder("", create=self._write)

    def check_writable(self) -> None:
        """Raises `StoreError` unless the store can really be written."""
        self._refuse_reader()
        self._backend.check_writable()

    def problems(self) -> tuple[str, ...]:
        """The files that were read so far and could not be trusted, each with the reason."""
        return tuple(self._problems[key] for key in sorted(self._problems))

    # --- trials ----------------------------------------------------------------------------

    def begin(self, trial: TrialSpec) -> None:
        """Makes the trial's folder, writes what it is, and forgets an earlier failure."""
        self._put(_trial(trial.id, "trial.json"), to_json(trial))
        self.clear_failure(trial.id)

    def trial(self, id: str) -> TrialSpec | None:
        """The trial as it was last begun."""
        return self._read(TrialSpec, _trial(id, "trial.json"), lambda trial: trial.id == id)

    def result_ids(self) -> set[str]:
        """The trials that have a result file, by one listing. Only `record` says whether the
        file can be trusted."""
        return {key.split("/")[1] for key in self._backend.find("trials/*/result.json")}

    def record(self, id: str) -> TrialRecord | None:
        """A finished trial with its evaluations; None when it is not, or cannot be trusted."""
        result = self._result(id)
        if result is None:
            return None
        return replace(result, evaluations=self._evaluations(id, result))

    def commit(self, record: TrialRecord) -> None:
        """Marks a trial done: its evaluations are written first, its result last.

        Raises:
            RecordError: a value is not finite or does not fit; then nothing is written.
        """
        result = to_json(replace(record, evaluations=()))
        evaluations = {_evaluation(item): to_json(item) for item in record.evaluations}
        for key, text in evaluations.items():
            self._put(key, text)
        self._put(_trial(record.trial.id, "result.json"), result)

    def withdraw(self, id: str) -> None:
        """Takes back a trial's result, so that it is done again; none is no error."""
        self._refuse_reader()
        self._backend.delete(_trial(id, "result.json"))

    def commit_evaluation(self, record: EvaluationRecord) -> None:
        """Adds one evaluation to a trial."""
        self._put(_evaluation(record), to_json(record))

    def evaluations(self, id: str) -> tuple[EvaluationRecord, ...]:
        """A trial's evaluations by id. Once the trial is done, only those of the checkpoint it
        ended with: a redone trial's older ones describe other weights."""
        return self._evaluations(id, self._result(id))

    def failure(self, id: str) -> FailureRecord | None:
        """Why a trial failed, until it is begun again."""
        return self._read(FailureRecord, _trial(id, "failure.json"), lambda it: it.trial.id == id)

    def fail(self, failure: FailureRecord) -> None:
        """Marks a trial failed."""
        self._put(_trial(failure.trial.id, "failure.json"), to_json(failure))

    def clear_failure(self, id: str) -> None:
        """Forgets a failure, so that the trial is tried again; none is no error."""
        self._refuse_reader()
        self._backend.delete(_trial(id, "failure.json"))

    # --- what a trial writes while it runs -----------------------------------------------------

    def save_checkpoint(self, id: str, write: Callable[[Path], None]) -> str:
        """Replaces a trial's checkpoint, atomically, by the file that ``write`` makes at the path
        it is given; gives the file's sha256. Last weights of an earlier training go."""
        digest = self._stage(_trial(id, "checkpoint.safetensors"), write)
        self._backend.delete(_trial(id, "last.safetensors"))
        return digest

    def save_last(self, id: str, write: Callable[[Path], None]) -> str:
        """`save_checkpoint` for the weights after a training's last step, where others are the
        checkpoint."""
        return self._stage(_trial(id, "last.safetensors"), write)

    def checkpoint(self, id: str) -> Path:
        """A local file with a trial's checkpoint, for reading.

        Raises:
            CheckpointError: there is none.
        """
        key = _trial(id, "checkpoint.safetensors")
        path = self._backend.local(key)
        if path is None:
            raise CheckpointError(f"{self.uri}/{key} is missing")
        return path

    def checkpoint_sha256(self, id: str) -> str | None:
        """The hash of a finished trial's checkpoint, from its record."""
        result = self._result(id)
        return result.training.checkpoint_sha256 if result else None

    def save_state(self, id: str, write: Callable[[Path], None]) -> None:
        """Replaces what a training in progress needs to go on, atomically, as `save_checkpoint`."""
        self._refuse_reader()
        with self._backend.stage(_trial(id, "training.safetensors")) as path:
            write(path)

    def state(self, id: str) -> Path | None:
        """A local file with what `save_state` wrote, for reading; None when there is none."""
        return self._backend.local(_trial(id, "training.safetensors"))

    def clear_state(self, id: str) -> None:
        """Forgets how far a training had come; none is no error."""
        self._refuse_reader()
        self._backend.delete(_trial(id, "training.safetensors"))

    def write_progress(self, progress: Progress) -> None:
        """Replaces a trial's state."""
        self._put(_trial(progress.trial, "state.json"), to_json(progress), durable=False)

    def progress(self, id: str) -> Progress | None:
        """Where a trial is or was last."""
        return self._read(Progress, _trial(id, "state.json"), lambda progress: progress.trial == id)

    def append_metrics(self, id: str, step: int, values: Mapping[str, float]) -> None:
        """Adds one row to a trial's metrics. A resumed trial adds its repeated steps again."""
        self._refuse_reader()
        append_row(self._folder(_trial(id)) / "metrics.jsonl", {"step": step, **values})

    def metrics(self, id: str) -> Iterator[dict[str, Any]]:
        """The rows of a trial's metrics, each with its ``step``; what a resumed trial said again,
        as it said it last."""
        key = _trial(id, "metrics.jsonl")
        path = self._backend.local(key)
        if path is not None:
            rows = read_rows(path, lambda line: self._distrust(key, f"line {line} is torn"))
            yield from last_said(rows)

    def log_path(self, id: str) -> Path:
        """Where a trial's log grows."""
        return self._folder(_trial(id)) / "log.txt"

    def preview_dir(self, id: str) -> Path:
        """Where a trial's preview images go."""
        return self._folder(_trial(id, "previews"))

    # --- studies -----------------------------------------------------------------------------

    def studies(self) -> tuple[str, ...]:
        """The names of the studies that wrote anything."""
        return tuple(sorted({key.split("/")[1] for key in self._backend.find("studies/*/*")}))

    def write_study(self, name: str, file: str, text: str) -> None:
        """Replaces a study's file; ``file`` may lie in a folder, as ``report/points.csv``."""
        self._put(_study(name, *file.split("/")), text)

    def read_study(self, name: str, file: str) -> str | None:
        """A study's file as text; None when there is none."""
        data = self._backend.get(_study(name, *file.split("/")))
        return None if data is None else data.decode("utf-8", "replace")

    def study_dir(self, name: str) -> Path:
        """A study's local folder, for the report."""
        return self._folder(_study(name))

    # --- within ------------------------------------------------------------------------------

    def _result(self, id: str) -> TrialRecord | None:
        return self._read(TrialRecord, _trial(id, "result.json"), lambda it: it.trial.id == id)

    def _evaluations(self, id: str, result: TrialRecord | None) -> tuple[EvaluationRecord, ...]:
        keys = sorted(self._backend.find(_trial(id, "evaluations", "*.json")))
        read = [self._read(EvaluationRecord, key, partial(_lies_at, key)) for key in keys]
        return tuple(
            record
            for record in read
            if record is not None
            and (result is None or record.checkpoint_sha256 == result.training.checkpoint_sha256)
        )

    def _read(self, cls: type[T], key: str, belongs: Callable[[T], bool]) -> T | None:
        data = self._backend.get(key)
        self._problems.pop(key, None)
        if data is None:
            return None
        try:
            record = from_json(cls, data)
        except RecordError as error:
            return self._distrust(key, str(error))
        return record if belongs(record) else self._distrust(key, "belongs to another trial")

    def _distrust(self, key: str, reason: str) -> None:
        self._problems[key] = f"{self.uri}/{key} {reason}"

    def _stage(self, key: str, write: Callable[[Path], None]) -> str:
        self._refuse_reader()
        with self._backend.stage(key) as path:
            write(path)
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

    def _put(self, key: str, text: str, *, durable: bool = True) -> None:
        self._refuse_reader()
        self._backend.put(key, text.encode("utf-8", "replace"), durable=durable)
        self._problems.pop(key, None)

    def _folder(self, key: str) -> Path:
        return self._backend.folder(key, create=self._write)

    def _refuse_reader(self) -> None:
        if not self._write:
            raise StoreError(f"store {self.uri} was opened for reading only")


def _trial(id: str, *rest: str) -> str:
    return "/".join(("trials", _name("trial id", id), *rest))


def _evaluation(record: EvaluationRecord) -> str:
    id = _name("evaluation id", record.evaluation.id)
    return _trial(record.trial, "evaluations", f"{id}.json")


def _lies_at(key: str, record: EvaluationRecord) -> bool:
    return _evaluation(record) == key


def _study(name: str, *rest: str) -> str:
    return "/".join(("studies", _name("study name", name), *(_name("file", part) for part in rest)))


def _name(what: str, value: str) -> str:
    if not _NAME.fullmatch(value):
        raise StoreError(
            f"{what} {value!r} cannot name a file: letters, digits, spaces and _.+=,@- only, "
            "and a letter, digit or _ first"
        )
    return value
