"""Weights & Biases: one run a trial, written in the trial's process, and one for the study.

    content   what a run says: tags, config, summary, media
    session   opens runs: online where the server answers, else offline
    live      the mirror of a trial that runs
    remote    the server, for `tcc sync`
    page      the W&B Report of a study, written over an earlier one

Offline unless asked: files under ``STORE/wandb``. A server that does not answer, or is lost midway,
costs a bounded wait once and then leaves a process offline for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tcc.records import TrialSpec
from tcc.tracking import Remote, Rows, StudyCopy, TrackedRun, Tracker
from tcc.tracking.wandb.content import study_identity, trial_identity
from tcc.tracking.wandb.live import LiveRun, write_study
from tcc.tracking.wandb.remote import WandbRemote
from tcc.tracking.wandb.session import Session, WandbParams, one_line

_log = logging.getLogger("tcc.tracking")


class WandbTracker(Tracker):
    """Mirrors trials and studies to W&B."""

    Params = WandbParams

    def __init__(self) -> None:
        self._session = Session()

    def start(
        self,
        settings: Mapping[str, Any],
        *,
        trial: TrialSpec,
        study: str,
        directory: Path,
        past: Callable[[], Rows] = tuple,
        checkpoint: Callable[[], Path] | None = None,
    ) -> TrackedRun:
        try:
            params = WandbParams.model_validate(settings)
            run, trouble = self._session.open(params, directory, trial_identity(trial, study))
            if "checkpoints" not in params.artifacts:
                checkpoint = None
        except Exception as error:  # noqa: BLE001 - a mirror's fault is not the trial's
            run, trouble = None, f"W&B: starting run {trial.id} failed: {one_line(error)}"
            _log.warning(trouble)
        return LiveRun(run, trouble, past, checkpoint, self._session)

    def summarise(self, settings: Mapping[str, Any], copy: StudyCopy, *, directory: Path) -> None:
        try:
            params = WandbParams.model_validate(settings)
            run, _ = self._session.open(params, directory, study_identity(copy))
            if run is not None:
                write_study(run, copy, directory, params.artifacts)
        except Exception as error:  # noqa: BLE001
            _log.warning("W&B: writing the run of study %s failed: %s", copy.study, one_line(error))

    def connect(self, settings: Mapping[str, Any], *, directory: Path) -> Remote:
        return WandbRemote(WandbParams.model_validate(settings), directory)


PLUGIN = WandbTracker()
