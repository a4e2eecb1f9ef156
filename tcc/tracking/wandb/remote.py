"""The W&B server, asked how far it has the runs of a study, and given the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tcc.errors import LostServerError, TrackingError
from tcc.records import FailureRecord, TrialRecord
from tcc.tracking import Copy, Remote, StudyCopy, by_step, cut
from tcc.tracking.wandb.content import (
    CHECKPOINT,
    CONTENT,
    TAG_CHARACTERS,
    study_identity,
    summary_of,
    trial_identity,
)
from tcc.tracking.wandb.live import end, log_row, write_study
from tcc.tracking.wandb.session import NO_KEY, WandbParams, has_key, init, one_line, quiet

if TYPE_CHECKING:
    from wandb.apis.public import Run

RUNS_PER_QUERY = 100


class WandbRemote(Remote):
    """One project of a server, as the key's owner."""

    def __init__(self, params: WandbParams, directory: Path):
        if params.mode == "disabled":
            raise TrackingError("`wandb: {mode: disabled}`: the study is not mirrored to W&B")
        quiet()
        import wandb

        url = wandb.setup().settings.base_url
        try:
            if not has_key():
                raise TrackingError(f"W&B at {url}: {NO_KEY}; WANDB_BASE_URL names another server")
            self._api = wandb.Api(timeout=max(1, round(params.init_timeout_s)))
            entity = params.entity or self._api.settings["entity"] or self._api.default_entity
        except TrackingError:
            raise
        except Exception as error:
            raise TrackingError(
                f"W&B at {url} cannot be reached with this key: {one_line(error)}; `wandb login` "
                "or WANDB_API_KEY set the key, WANDB_BASE_URL the server"
            ) from error
        self._models = "checkpoints" in params.artifacts
        self._params, self._directory = params.model_copy(update={"entity": entity}), directory
        self._url, self._path = url, f"{entity}/{params.project}"
        self.place = f"{url} {self._path}" + (" with checkpoints" if self._models else "")
        self._tags: dict[str, list[str]] = {}  # of runs that are there

    def lacking(self, copies: Sequence[Copy]) -> dict[str, str]:
        there = self._runs([copy.id for copy in copies])
        self._tags |= {id: list(run.tags or ()) for id, run in there.items()}
        found = {copy.id: _lack(copy, there.get(copy.id), self._models) for copy in copies}
        return {id: why for id, why in found.items() if why}

    def absent(self, ids: Sequence[str]) -> frozenset[str]:
        return frozenset(ids).difference(self._runs(ids, lazy=True))

    def push(self, copy: Copy) -> None:
        try:
            with TemporaryDirectory(prefix="tcc-", ignore_cleanup_errors=True) as folder:
                self._push(copy, Path(folder))  # the store has it all: no local copy is to stay
        except Exception as error:
            self._runs([copy.id])  # raises where the server is lost
            raise TrackingError(one_line(error)) from error

    def publish(self, copy: StudyCopy) -> str:
        from tcc.tracking.wandb.page import publish

        try:
            return publish(self._api, self._params.entity or "", self._params.project, copy)
        except Exception as error:
            raise TrackingError(f"the W&B Report was not written: {one_line(error)}") from error

    def settle(self, ids: Iterable[str]) -> None:
        wanted = frozenset(ids)
        for folder in (self._directory / "wandb").glob("offline-run-*-*"):
            if folder.name.split("-", 3)[3] in wanted:
                for file in folder.glob("*.wandb"):
                    file.with_suffix(".wandb.synced").touch()  # as `wandb sync` leaves it

    def _push(self, copy: Copy, folder: Path) -> None:
        if isinstance(copy, StudyCopy):
            run = init(self._params, folder, "online", study_identity(copy))
            write_study(run, copy, folder, self._params.artifacts)
            return
        first = copy.outcome.provenance.study if isinstance(copy.outcome, TrialRecord) else ""
        identity = trial_identity(copy.trial, first or copy.study)
        tags = [*self._tags.get(copy.id, ()), *identity["tags"], cut(copy.study, TAG_CHARACTERS)]
        identity["tags"] = list(dict.fromkeys(tags))  # of every study that uses it
        run = init(self._params, folder, "online", identity)
        try:
            for step, values in by_step(copy.rows):
                log_row(run, step, values)
        finally:
            end(run, copy.outcome, copy.checkpoint if self._models else None)

    def _runs(self, ids: Sequence[str], *, lazy: bool = False) -> dict[str, Run]:
        """The server's runs of these ids; with summary and number of rows, unless ``lazy``."""
        self._api.flush()
        there: dict[str, Run] = {}
        try:
            for start in range(0, len(ids), RUNS_PER_QUERY):
                asked = {"name": {"$in": list(ids[start : start + RUNS_PER_QUERY])}}
                found = self._api.runs(self._path, asked, per_page=RUNS_PER_QUERY, lazy=lazy)
                there |= {run.id: run for run in found}
            return there
        except Exception as error:
            if "Could not find project" in str(error):
                return {}  # the first push makes it
            raise LostServerError(f"W&B at {self._url} was lost: {one_line(error)}") from error


def _lack(copy: Copy, run: Run | None, models: bool) -> str:
    """What a run of the server lacks; "". ``models``: whether it is to have the weights."""
    if run is None:
        return "there is no run"
    summary: Mapping[str, Any] = run.summary_metrics
    if cut(copy.study, TAG_CHARACTERS) not in (run.tags or ()):
        return f"it does not say that study {copy.study} uses it"
    if isinstance(copy, StudyCopy):
        return "" if summary.get(CONTENT) == copy.digest else "tables and figures are older"
    # A run that was only given its end anew tells no step any more.
    lines, last = run.history_line_count or 0, summary.get("_step", copy.last_step)
    if lines != copy.num_steps or (lines and last != copy.last_step):
        gap = ", and takes none in between" if lines and last == copy.last_step else ""
        return f"it holds {lines} rows where the store has {copy.num_steps}{gap}"
    if copy.outcome is None:
        return ""
    state = "failed" if isinstance(copy.outcome, FailureRecord) else "finished"
    if summary.get(CONTENT) != summary_of(copy.outcome)[CONTENT] or run.state != state:
        return "its end is missing"
    if models and isinstance(copy.outcome, TrialRecord):
        sent = summary.get(CHECKPOINT) == copy.outcome.training.checkpoint_sha256
        return "" if sent else "its checkpoint is missing"
    return ""
