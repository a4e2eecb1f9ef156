"""Opens W&B runs: online where the server answers, else offline, and never with a long wait."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tcc.tracking import TrackerParams

if TYPE_CHECKING:
    from wandb import Run

_log = logging.getLogger("tcc.tracking")

RETRY_AFTER_S = 300.0  # a server that failed once is left alone for so long
NO_KEY = "no key; run `wandb login` or set WANDB_API_KEY"


Artifact = Literal["report", "checkpoints"]


class WandbParams(TrackerParams):
    """The spec's ``wandb`` section. The server and the key come from W&B's own environment."""

    project: str = "tcc"
    entity: str | None = None
    mode: Literal["offline", "online", "auto", "disabled"] = Field(
        default="offline",
        description="online: try the server, and say so where it cannot be; auto: try it where a "
        "key is configured. Both go offline rather than wait",
    )
    artifacts: tuple[Artifact, ...] = Field(
        default=("report",),
        description="report: the page, tables and figures, with the study's run; checkpoints: each "
        "trial's weights, as a model, with its run",
    )
    init_timeout_s: float = Field(default=10.0, gt=0, description="wait for the server's answer")
    finish_timeout_s: float = Field(default=30.0, gt=0, description="wait for the last upload")


class Session:
    """The runs of one process."""

    def __init__(self) -> None:
        self._offline_until = 0.0  # time.monotonic()
        self._trouble = ""

    def open(
        self, params: WandbParams, directory: Path, identity: Mapping[str, Any]
    ) -> tuple[Run | None, str]:
        """A run, None where the settings disable it; and why it is offline though they ask for a
        server, or ""."""
        if params.mode == "disabled":
            return None, ""
        directory.mkdir(parents=True, exist_ok=True)
        if params.mode == "offline":
            return _offline(params, directory, identity), ""
        if time.monotonic() >= self._offline_until:
            before = _run_folders(directory, identity["id"])
            try:
                if has_key():
                    return init(params, directory, "online", identity), ""
                self._trouble = ""
                if params.mode == "online":
                    raise LookupError(NO_KEY)
            except Exception as error:  # noqa: BLE001 - of many types, and none may stop a trial
                self.lost(f"W&B cannot be reached, going offline: {one_line(error)}")
                for folder in _run_folders(directory, identity["id"]) - before:
                    shutil.rmtree(folder, ignore_errors=True)  # an empty run, never to be pushed
        return _offline(params, directory, identity), self._trouble

    def lost(self, trouble: str) -> None:
        """Leaves the server alone for a while, and says why."""
        self._offline_until, self._trouble = time.monotonic() + RETRY_AFTER_S, trouble
        _log.warning(trouble)


def init(params: WandbParams, directory: Path, mode: Any, identity: Mapping[str, Any]) -> Run:
    """A run of W&B, gone on with where its id is known to the server.

    Raises:
        Exception: of W&B's, of many types.
    """
    import wandb

    quiet()
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
            finish_timeout_raises=True,
            disable_git=True,  # the record's provenance says all this, and asking costs 0.1 s
            disable_code=True,
            label_disable=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        ),
        **identity,
    )


def has_key() -> bool:
    """Whether W&B finds a key; asks no server.

    Raises:
        Exception: of W&B's, where the key cannot be one.
    """
    import wandb

    quiet()
    return wandb.login(prompt=False, verify=False)


def quiet() -> None:
    """Keeps W&B from saying anything itself, and from reports of its own that it would try to send
    for seconds where there is no server. It reads this once, when it is set up."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")


def one_line(error: Exception) -> str:
    """An error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _offline(params: WandbParams, directory: Path, identity: Mapping[str, Any]) -> Run:
    try:
        return init(params, directory, "offline", identity)
    except Exception:  # noqa: BLE001 - W&B's service process has died: start a new one
        import wandb

        with suppress(Exception):  # it complains of the dead service, and forgets it
            wandb.teardown()
        return init(params, directory, "offline", identity)


def _run_folders(directory: Path, id: str) -> set[Path]:
    return set((directory / "wandb").glob(f"run-*-{id}"))
