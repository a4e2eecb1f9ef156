"""Where a reader of the page finds a trial: its folder in the store, its run at W&B."""

from __future__ import annotations

import json
import os
from collections.abc import Set
from dataclasses import dataclass

from tcc.report.study import MEMORY_FILE, Study
from tcc.stores import Store
from tcc.tracking import study_run

_TO_STORE = "../../../"  # from STORE/studies/NAME/report
_TO_STORE_FROM_PAST = "../../../../../"  # from STORE/studies/NAME/past/DIGEST/report


@dataclass(frozen=True, kw_only=True)
class Links:
    """Addresses that a trial's id completes; empty where there are none. ``folder`` is relative to
    the page. ``pushed``: the trials whose run is known to be there, None for all."""

    folder: str
    run: str
    pushed: Set[str] | None


NO_LINKS = Links(folder="", run="", pushed=frozenset())


def links(study: Study, store: Store) -> Links:
    """Of a store on a disk, and of the W&B project that the study went to."""
    up = _TO_STORE_FROM_PAST if study.past else _TO_STORE
    folder = "" if "://" in store.uri else f"{up}trials/"
    wandb = study.settings.wandb
    if wandb.mode == "online" and wandb.entity:
        server = _of_people(os.environ.get("WANDB_BASE_URL") or "https://wandb.ai")
        run = f"{server}/{wandb.entity}/{wandb.project}/runs/"
        return Links(folder=folder, run=run, pushed=None)
    place, pushed = _synced(study.name, store)
    return Links(folder=folder, run=place, pushed=pushed - {study_run(study.name)})


def _synced(study: str, store: Store) -> tuple[str, Set[str]]:
    """Where `tcc sync` pushed most to, and what."""
    try:
        places = json.loads(store.read_study(study, MEMORY_FILE) or "{}")
        place, held = max(places.items(), key=lambda item: len(item[1]))
        server, project, *_ = place.split(" ")  # it says so where checkpoints went there, too
    except (ValueError, TypeError, AttributeError):  # never synced, torn or edited
        return "", frozenset()
    return f"{_of_people(server)}/{project}/runs/", frozenset(held)


def _of_people(server: str) -> str:
    """The address of a server's pages: W&B's own answers programs at another one."""
    return server.replace("://api.wandb.ai", "://wandb.ai").rstrip("/")
