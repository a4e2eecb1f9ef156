"""Weights & Biases: one run a trial, written in the trial's process, and one for the study.

Offline unless asked: files under ``STORE/wandb``, which `wandb sync` can push. A server that does
not answer, or is lost midway, costs a bounded wait and then leaves the run offline.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, TypeAdapter

from tcc.records import EvaluationRecord, FailureRecord, Recipe, TrialRecord, TrialSpec
from tcc.tracking import Table, TrackedRun, Tracker, TrackerParams

if TYPE_CHECKING:
    from wandb import Run

_log = logging.getLogger("tcc.tracking")

_RETRY_AFTER_S = 300.0  # a server that failed once is left alone for so long
_TAG_CHARACTERS = 64  # what W&B takes


class WandbParams(TrackerParams):
    """The spec's ``wandb`` section. The server and the key come from W&B's own environment."""

    project: str = "tcc"
    entity: str | None = None
    mode: Literal["offline", "online", "auto", "disabled"] = Field(
        default="offline",
        description="online: try the server, and say so where it cannot be; auto: try it where a "
        "key is configured. Both go offline rather than wait",
    )
    init_timeout_s: float = Field(default=10.0, gt=0, description="wait for the server's answer")
    finish_timeout_s: float = Field(default=30.0, gt=0, description="wait for the last upload")


class WandbTracker(Tracker):
    """Mirrors trials and studies to W&B."""

    Params = WandbParams

    def __init__(self) -> None:
        self._offline_until = 0.0  # time.monotonic()

    def start(
        self, settings: Mapping[str, Any], *, trial: TrialSpec, study: str, directory: Path
    ) -> TrackedRun:
        run = None
        with _guarded(f"starting the run of trial {trial.id}"):
            run = self._open(
                WandbParams.model_validate(settings),
                directory,
                id=trial.id,
                name=trial.label,
                group=study,
                job_type=trial.kind,
                tags=_tags(trial, study),
                config=_config(trial),
            )
        return _TrackedRun(run, self._finish)

    def summarise(
        self,
        settings: Mapping[str, Any],
        *,
        study: str,
        directory: Path,
        tables: Mapping[str, Table],
        images: Mapping[str, Path],
        config: Mapping[str, Any],
    ) -> None:
        with _guarded(f"writing the run of study {study}"):
            run = self._open(
                WandbParams.model_validate(settings),
                directory,
                id=f"study-{study}",
                name=study,
                group=study,
                job_type="study",
                tags=[study[:_TAG_CHARACTERS]],
                config=dict(config),
            )
            if run is None:
                return
            try:
                with _staging_in(directory / "wandb"):
                    run.log(_media(tables, images))
            finally:
                self._finish(run, exit_code=0)

    def _open(self, params: WandbParams, directory: Path, **identity: Any) -> Run | None:
        if params.mode == "disabled":
            return None
        os.environ.setdefault("WANDB_SILENT", "true")  # read once, when wandb is set up
        directory.mkdir(parents=True, exist_ok=True)
        if params.mode != "offline" and time.monotonic() >= self._offline_until:
            before = _run_folders(directory, identity["id"])
            try:
                if _has_key():
                    return _init(params, directory, "online", identity)
                if params.mode == "online":
                    raise LookupError("no key; run `wandb login` or set WANDB_API_KEY")
            except Exception as error:  # noqa: BLE001 - of many types, and none may stop a trial
                self._offline_until = time.monotonic() + _RETRY_AFTER_S
                _log.warning("W&B cannot be reached, going offline: %s", _one_line(error))
                for folder in _run_folders(directory, identity["id"]) - before:
                    shutil.rmtree(folder, ignore_errors=True)  # an empty run, never to be pushed
        try:
            return _init(params, directory, "offline", identity)
        except Exception:  # noqa: BLE001 - W&B's service process has died: start a new one
            import wandb

            with suppress(Exception):  # it complains of the dead service, and forgets it
                wandb.teardown()
            return _init(params, directory, "offline", identity)

    def _finish(self, run: Run, exit_code: int) -> None:
        limit_s = run.settings.finish_timeout
        started = time.monotonic()
        run.finish(exit_code=exit_code)
        if time.monotonic() - started >= limit_s:
            self._offline_until = time.monotonic() + _RETRY_AFTER_S
            _log.warning("W&B did not take run %s within %g s, going offline", run.id, limit_s)


class _TrackedRun(TrackedRun):
    def __init__(self, run: Run | None, end: Callable[[Run, int], None]):
        self._run = run
        self._end = end

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        with _guarded(f"logging step {step} of run {run.id}"):
            run.log(dict(values), step=step)
            self._run = run  # after a failure there is none

    def finish(self, outcome: TrialRecord | FailureRecord) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        failed = isinstance(outcome, FailureRecord)
        with _guarded(f"finishing run {run.id}"):
            run.summary.update(_failure(outcome) if failed else _summary(outcome))
            self._end(run, 1 if failed else 0)


PLUGIN = WandbTracker()


def _init(params: WandbParams, directory: Path, mode: Any, identity: Mapping[str, Any]) -> Run:
    import wandb

    return wandb.init(
        project=params.project,
        entity=params.entity,
        dir=str(directory),
        mode=mode,
        resume="allow",
        reinit="create_new",
        settings=wandb.Settings(
            console="off",
            silent=True,
            use_dot_wandb=False,
            symlink=False,  # a shared folder may have none, and its writers would race for them
            init_timeout=params.init_timeout_s,
            finish_timeout=params.finish_timeout_s,
            disable_git=True,  # the record's provenance says all this, and asking costs 0.1 s
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        ),
        **identity,
    )


def _has_key() -> bool:
    import wandb

    return wandb.login(prompt=False, verify=False)


def _media(tables: Mapping[str, Table], images: Mapping[str, Path]) -> dict[str, Any]:
    import wandb

    return {name: wandb.Image(str(path)) for name, path in images.items()} | {
        name: wandb.Table(
            columns=list(table.columns),
            data=[list(row) for row in table.rows],
            allow_mixed_types=True,
        )
        for name, table in tables.items()
    }


def _tags(trial: TrialSpec, study: str) -> list[str]:
    tags = [study, *trial.tasks, *trial.datasets, f"seed-{trial.seed}", trial.kind]
    return [tag[:_TAG_CHARACTERS] for tag in dict.fromkeys(tags)]


def _config(trial: TrialSpec) -> dict[str, Any]:
    return {
        **trial.axes,
        "seed": trial.seed,
        "kind": trial.kind,
        "variant": trial.variant,
        "pair": "-".join(trial.tasks),
        "datasets": list(trial.datasets),
        "needs": list(trial.needs),
        "recipe": TypeAdapter(Recipe).dump_python(trial.recipe, mode="json"),
    }


def _summary(record: TrialRecord) -> dict[str, Any]:
    """The first evaluation by plain names, each further one below its data set and split."""
    summary: dict[str, Any] = {
        "best_step": record.training.best_step,
        "best_rd_cost": record.training.best_rd_cost,
    }
    for index, evaluation in enumerate(record.evaluations):
        spec = evaluation.evaluation
        place = f"{spec.dataset.name}.{spec.split}/" if index else ""
        summary |= {place + name: value for name, value in _measured(evaluation).items()}
    return summary


def _measured(evaluation: EvaluationRecord) -> dict[str, float]:
    """Rates as ``rate/base_bpp`` where the source is the one that was asked for, and as
    ``rate/estimated/base_bpp`` where it is the other."""
    values = {metric.name: metric.value for metric in evaluation.metrics}
    for rate in evaluation.rates:
        place = "rate/" if rate.source == evaluation.evaluation.rate else f"rate/{rate.source}/"
        values[f"{place}total_bpp"] = rate.bpp
        for stream, bpp in rate.bpp_by_stream.items():
            name = f"{place}{stream.partition('.')[0]}_bpp"
            values[name] = values.get(name, 0.0) + bpp
    return values


def _failure(failure: FailureRecord) -> dict[str, Any]:
    return {"failure": failure.reason, "failure_step": failure.step, "failure_term": failure.term}


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


def _run_folders(directory: Path, id: str) -> set[Path]:
    return set((directory / "wandb").glob(f"run-*-{id}"))


@contextmanager
def _guarded(doing: str) -> Iterator[None]:
    """Lets nothing out: a mirror's fault is not the trial's."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        _log.warning("W&B: %s failed: %s", doing, _one_line(error))


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
