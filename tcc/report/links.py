"""Where a reader of the page finds a trial: its folder in the store, its run at W&B."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass

from tcc.report.study import MEMORY_FILE, Study
from tcc.stores import Store

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
        project = f"https://wandb.ai/{wandb.entity}/{wandb.project}"
        return Links(folder=folder, run=f"{project}/runs/", pushed=None)
    place, pushed = _synced(study.name, store)
    return Links(folder=folder, run=place, pushed=pushed)


def _synced(study: str, store: Store) -> tuple[str, Set[str]]:
    """Where `tcc sync` pushed most to, and what."""
    try:
        places = json.loads(store.read_study(study, MEMORY_FILE) or "{}")
        place, held = max(places.items(), key=lambda item: len(item[1]))
        server, project = place.split(" ")
    except (ValueError, TypeError, AttributeError):  # never synced, torn or edited
        return "", frozenset()
    server = server.replace("://api.wandb.ai", "://wandb.ai").rstrip("/")
    return f"{server}/{project}/runs/", frozenset(held)
