"""The studies of a store at a glance, by one listing of its results and one of its sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tcc.errors import RecordError
from tcc.plan import plan_from_json
from tcc.records import RunRecord
from tcc.report.runs import runs_json
from tcc.report.study import PLAN_FILE
from tcc.stores import Store


@dataclass(frozen=True, kw_only=True)
class StudyLine:
    """One study. ``trials`` is None where its plan cannot be read; ``done`` counts result files,
    which only `status` reads and checks."""

    study: str
    trials: int | None
    done: int
    disk_bytes: int
    shared_bytes: int  # of these, of trials that other studies have too
    last_run: RunRecord | None


@dataclass(frozen=True, kw_only=True)
class StoreStatus:
    """All studies of a store. ``disk_bytes``: of their trials, shared ones counted once."""

    uri: str
    studies: tuple[StudyLine, ...]
    disk_bytes: int

    def to_json(self) -> dict[str, Any]:
        """What `tcc status --json` prints."""
        return {
            "store": self.uri,
            "disk_bytes": self.disk_bytes,
            "studies": [
                {
                    "study": line.study,
                    "trials": line.trials,
                    "done": line.done,
                    "disk_bytes": line.disk_bytes,
                    "disk_bytes_shared": line.shared_bytes,
                    "last_run": runs_json([line.last_run])[0] if line.last_run else None,
                }
                for line in self.studies
            ],
        }


def studies(store: Store) -> StoreStatus:
    """What a store holds; an empty one where there is none."""
    names = store.studies()
    plans = planned(store, names)
    users = Counter(id for ids in plans.values() for id in ids)
    used = store.disk_used(sorted(users))
    results = store.result_ids()
    lines = []
    for name in names:
        ids = plans.get(name)
        sizes = {id: used.get(id, 0) for id in ids or ()}
        runs = store.runs(name)
        lines.append(
            StudyLine(
                study=name,
                trials=None if ids is None else len(ids),
                done=len(results & sizes.keys()),
                disk_bytes=sum(sizes.values()),
                shared_bytes=sum(size for id, size in sizes.items() if users[id] > 1),
                last_run=runs[-1] if runs else None,
            )
        )
    return StoreStatus(uri=store.uri, studies=tuple(lines), disk_bytes=sum(used.values()))


def planned(store: Store, names: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """Study → the ids of its trials; without the studies whose plan is absent or not to be
    trusted."""
    found = {}
    for name in names:
        text = store.read_study(name, PLAN_FILE)
        try:
            found[name] = frozenset(trial.id for trial in plan_from_json(text or ""))
        except RecordError:
            continue
    return found
