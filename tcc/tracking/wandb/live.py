"""The mirror of a trial while it runs, and the study's own run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.records import FailureRecord, TrialRecord
from tcc.tracking import Rows, StudyCopy, TrackedRun, by_step
from tcc.tracking.wandb.content import (
    CHECKPOINT,
    CONTENT,
    FAILURE_KEYS,
    media_of,
    model_artifact,
    report_artifact,
    summary_of,
)
from tcc.tracking.wandb.session import Session, one_line

if TYPE_CHECKING:
    from wandb import Run

_log = logging.getLogger("tcc.tracking")


class LiveRun(TrackedRun):
    """Sends each row whole, once its step is over: a row that is half on the server could never
    be mended. After a failure there is no run any more."""

    def __init__(
        self,
        run: Run | None,
        trouble: str,
        past: Callable[[], Rows],
        checkpoint: Callable[[], Path] | None,
        session: Session,
    ):
        self._run, self.trouble = run, trouble
        self._past: Callable[[], Rows] | None = past
        self._checkpoint, self._session = checkpoint, session
        self._step, self._values = 0, {}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self._run is None:
            return
        with self._guarded(f"logging step {self._step}"):
            if step != self._step:
                self._flush()
            self._catch_up(step)
            self._step, self._values = step, {**self._values, **values}

    def finish(self, outcome: TrialRecord | FailureRecord | None) -> None:
        if self._run is None:
            return
        with self._guarded("finishing") as run:
            self._flush()
            self._catch_up(None)
            end(run, outcome, self._checkpoint)
        self._run = None

    def _flush(self) -> None:
        if self._run is not None and self._values:
            log_row(self._run, self._step, self._values)
            self._values = {}

    def _catch_up(self, before: int | None) -> None:
        """Sends what an earlier process of the trial put into the store and not onto the server:
        W&B takes no row below one that it has."""
        past, self._past = self._past, None
        if past is None or self._run is None or self._run.offline:
            return
        for step, values in by_step(past()):
            if before is None or step < before:
                log_row(self._run, step, values)

    @contextmanager
    def _guarded(self, doing: str) -> Iterator[Run]:
        """Lets nothing out: a mirror's fault is not the trial's."""
        run = self._run
        assert run is not None
        try:
            yield run
        except TimeoutError:
            limit_s = run.settings.finish_timeout
            self.trouble = f"W&B did not take run {run.id} within {limit_s:g} s, going offline"
            self._session.lost(self.trouble)
        except Exception as error:  # noqa: BLE001
            self._run = None
            self.trouble = f"W&B: {doing} of run {run.id} failed: {one_line(error)}"
            _log.warning(self.trouble)


def log_row(run: Run, step: int, values: Mapping[str, Any]) -> None:
    """Adds one whole row, unless the run had it when it was opened."""
    if step >= run.starting_step:
        run.log(dict(values), step=step, commit=True)


def end(
    run: Run, outcome: TrialRecord | FailureRecord | None, checkpoint: Callable[[], Path] | None
) -> None:
    """Adds what a trial came to, and its checkpoint where one is given, and ends its run.

    Raises:
        TimeoutError: the server did not take all of it in time.
    """
    if outcome is None:
        run.mark_preempting()
    else:
        if run.resumed and not isinstance(outcome, FailureRecord):
            for key in set(FAILURE_KEYS).intersection(run.summary.keys()):
                del run.summary[key]
        if isinstance(outcome, TrialRecord) and checkpoint is not None:
            with _staging_in(Path(run.dir).parents[1]):
                run.log_artifact(model_artifact(outcome, checkpoint()))
            run.summary[CHECKPOINT] = outcome.training.checkpoint_sha256
        run.summary.update(summary_of(outcome))
    run.finish(exit_code=0 if isinstance(outcome, TrialRecord) else 1)


def write_study(
    run: Run, copy: StudyCopy, directory: Path, artifacts: Collection[str] = ()
) -> None:
    """Adds a study's tables, charts and figures to its run, unless they are there, and ends it.

    Raises:
        TimeoutError: the server did not take all of it in time.
    """
    try:
        if not run.resumed or run.summary.get(CONTENT) != copy.digest:
            with _staging_in(directory / "wandb"):
                if "report" in artifacts and copy.files:
                    run.log_artifact(report_artifact(copy))
                run.log({**media_of(copy), CONTENT: copy.digest})
    finally:
        run.finish(exit_code=0)


@contextmanager
def _staging_in(folder: Path) -> Iterator[None]:
    """An offline run refers to staged files by path; in the home they would part from the store."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]
