"""What the files of a trial mean, over any backend."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from tcc.errors import CheckpointError
from tcc.records import EvaluationRecord, FailureRecord, Progress, TrialRecord, TrialSpec
from tcc.stores._ahead import Ahead
from tcc.stores._disk import sha256_of
from tcc.stores._files import named, result_key, trial_key
from tcc.stores._rows import append_row, last_said, read_rows
from tcc.stores._serial import to_json
from tcc.stores._studies import Studies
from tcc.stores._upkeep import CHECKPOINT, LAST, STATE, Upkeep


class Store(Studies, Upkeep):
    """Trials and studies by id and name.

    A record file that cannot be trusted (torn, edited, of another version, of another trial) reads
    as absent, so that its trial is done again, and is named in `problems`.
    """

    def preloaded(self, ids: Iterable[str]) -> Self:
        """This store for reading many trials in one go, in this order. Where each answer takes a
        while, what there is of trials is listed once, now, and read many files at once. What it
        does not trust, this store names too."""
        if not self._backend.answers_late or self._source is not self._backend:
            return self
        loaded = copy.copy(self)
        loaded._source = Ahead(self._backend, ids)
        return loaded

    # --- trials ----------------------------------------------------------------------------

    def begin(self, trial: TrialSpec) -> None:
        """Makes the trial's folder, writes what it is, and forgets an earlier failure. A result
        whose checkpoint cannot be trusted is taken back: the trial is to be trained again."""
        self._put(trial_key(trial.id, "trial.json"), to_json(trial), durable=False)
        self.clear_failure(trial.id)
        if self._result(trial.id) and self.checkpoint_problem(trial.id, thorough=True):
            self.withdraw(trial.id)

    def trial(self, id: str) -> TrialSpec | None:
        """The trial as it was last begun."""
        return self._read(TrialSpec, trial_key(id, "trial.json"), lambda trial: trial.id == id)

    def result_ids(self) -> set[str]:
        """The trials that have a result file, by one listing. Only `record` says whether the
        file can be trusted."""
        return {key.split("/")[1] for key in self._source.stamps("trials/*/result.json")}

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
        id = record.trial.id
        for key, text in evaluations.items():
            self._write_under_lease(id, key, text)
        self._write_under_lease(id, result_key(id), result)

    def withdraw(self, id: str) -> None:
        """Takes back a trial's result, so that it is done again; none is no error."""
        self._delete_under_lease(id, result_key(id))

    def commit_evaluation(self, record: EvaluationRecord) -> None:
        """Adds one evaluation to a trial."""
        self._write_under_lease(record.trial, _evaluation(record), to_json(record))

    def evaluations(self, id: str) -> tuple[EvaluationRecord, ...]:
        """A trial's evaluations by id. Once the trial is done, only those of the checkpoint it
        ended with: a redone trial's older ones describe other weights."""
        return self._evaluations(id, self._result(id))

    def failure(self, id: str) -> FailureRecord | None:
        """Why a trial failed, until it is begun again."""
        return self._read(
            FailureRecord, trial_key(id, "failure.json"), lambda it: it.trial.id == id
        )

    def fail(self, failure: FailureRecord) -> None:
        """Marks a trial failed."""
        id = failure.trial.id
        self._write_under_lease(id, trial_key(id, "failure.json"), to_json(failure))

    def clear_failure(self, id: str) -> None:
        """Forgets a failure, so that the trial is tried again; none is no error."""
        self._delete_under_lease(id, trial_key(id, "failure.json"))

    # --- what a trial writes while it runs -----------------------------------------------------

    def save_checkpoint(self, id: str, write: Callable[[Path], None]) -> str:
        """Replaces a trial's checkpoint, atomically, by the file that ``write`` makes at the path
        it is given; gives the file's sha256. What belongs to other weights goes: a result that was
        measured of them, and the last weights of an earlier training."""
        with self._staged(id, CHECKPOINT) as path:
            write(path)
            digest = sha256_of(path)
            if self.checkpoint_sha256(id) not in (None, digest):
                self.withdraw(id)
        self._backend.delete(trial_key(id, LAST))
        return digest

    def save_last(self, id: str, write: Callable[[Path], None]) -> str:
        """`save_checkpoint` for the weights after a training's last step, where others are the
        checkpoint."""
        with self._staged(id, LAST) as path:
            write(path)
            return sha256_of(path)

    def checkpoint(self, id: str, *, fresh: bool = False) -> Path:
        """A local file with a trial's checkpoint, for reading. ``fresh``: see `Backend.local`.

        Raises:
            CheckpointError: there is none.
        """
        key = trial_key(id, CHECKPOINT)
        path = self._backend.local(key, fresh=fresh)
        if path is None:
            raise CheckpointError(f"{self.uri}/{key} is missing")
        return path

    def checkpoint_sha256(self, id: str) -> str | None:
        """The hash of a finished trial's checkpoint, from its record."""
        result = self._result(id)
        return result.training.checkpoint_sha256 if result else None

    def save_state(self, id: str, write: Callable[[Path], None]) -> None:
        """Replaces what a training in progress needs to go on, atomically, as `save_checkpoint`."""
        with self._staged(id, STATE) as path:
            write(path)

    def state(self, id: str) -> Path | None:
        """A local file with what `save_state` wrote, for reading; None when there is none."""
        return self._backend.local(trial_key(id, STATE))

    def clear_state(self, id: str) -> None:
        """Forgets how far a training had come; none is no error."""
        self._delete_under_lease(id, trial_key(id, STATE))

    def write_progress(self, progress: Progress) -> None:
        """Replaces a trial's state, unless the trial is known to be another's now."""
        self._refuse_lost(progress.trial)
        self._put(trial_key(progress.trial, "state.json"), to_json(progress), durable=False)

    def progress(self, id: str) -> Progress | None:
        """Where a trial is or was last."""
        return self._read(
            Progress, trial_key(id, "state.json"), lambda progress: progress.trial == id
        )

    def append_metrics(self, id: str, step: int, values: Mapping[str, float]) -> None:
        """Adds one row to a trial's metrics, unless the trial is known to be another's now. A
        resumed trial adds its repeated steps again."""
        self._refuse_lost(id)
        append_row(self._folder(trial_key(id)) / "metrics.jsonl", {"step": step, **values})

    def metrics(self, id: str) -> Iterator[dict[str, Any]]:
        """The rows of a trial's metrics, each with its ``step``; what a resumed trial said again,
        as it said it last."""
        key = trial_key(id, "metrics.jsonl")
        path = self._backend.local(key)
        if path is not None:
            rows = read_rows(path, lambda line: self._distrust(key, f"line {line} is torn"))
            yield from last_said(rows)

    def log_path(self, id: str) -> Path:
        """Where a trial's log grows."""
        return self._folder(trial_key(id)) / "log.txt"

    def log_place(self, id: str) -> str:
        """What to call a trial's log where others read it: a path, or the object's address."""
        return f"{self.uri}/{trial_key(id, 'log.txt')}"

    def flush(self) -> None:
        """Makes logs, metrics, previews and reports seen by all that share the store, at once."""
        self._backend.flush()

    def preview_dir(self, id: str) -> Path:
        """Where a trial's preview images go."""
        return self._folder(trial_key(id, "previews"))

    # --- within ------------------------------------------------------------------------------

    def _evaluations(self, id: str, result: TrialRecord | None) -> tuple[EvaluationRecord, ...]:
        keys = sorted(self._source.stamps(f"{trial_key(id)}/evaluations/*.json"))
        read = [self._read(EvaluationRecord, key, partial(_lies_at, key)) for key in keys]
        return tuple(
            record
            for record in read
            if record is not None
            and (result is None or record.checkpoint_sha256 == result.training.checkpoint_sha256)
        )


def _evaluation(record: EvaluationRecord) -> str:
    id = named("evaluation id", record.evaluation.id)
    return trial_key(record.trial, "evaluations", f"{id}.json")


def _lies_at(key: str, record: EvaluationRecord) -> bool:
    return _evaluation(record) == key
