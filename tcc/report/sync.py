"""Brings the tracker's server up to what the store holds of a study: `tcc sync`.

The store is the truth. The server is asked what it has, gets what it lacks, and is asked again;
what it confirmed is remembered in ``studies/NAME/synced.json``: of that it is asked only whether it
is still there.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import track

from tcc import registry
from tcc.errors import BusyError, LostServerError, TrackingError
from tcc.report.build import build_report
from tcc.report.mirror import study_copy
from tcc.report.study import MEMORY_FILE, Study, read_study
from tcc.stores import Store, to_json
from tcc.tracking import Copy, Remote, StudyCopy, Tracker, TrialCopy, by_step, study_run

CONFIRM_AFTER_S = (0.0, 1.0, 3.0)  # a server may take a moment to show what it was given


@dataclass(kw_only=True)
class SyncResult:
    """Run ids by what became of them; the study's own run is ``study-NAME``."""

    study: str
    place: str
    pushed: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # id → why
    skipped: dict[str, str] = field(default_factory=dict)  # id → who works on it
    lost: str = ""  # how the server was lost, if it was
    page: str = ""  # address of the study's page on the server
    trouble: str = ""  # why it could not be written

    def to_json(self) -> dict[str, Any]:
        """What `tcc sync --json` prints."""
        return {
            "study": self.study,
            "pushed": self.pushed,
            "already": self.already,
            "failed": self.failed,
            "skipped": self.skipped,
            "lost": self.lost,
            "page": self.page,
            "trouble": self.trouble,
        }

    def lines(self) -> Iterator[str]:
        """What went wrong, a line each."""
        if self.lost:
            yield f"{self.lost}; {len(self.failed)} runs are left, the same command goes on"
            return
        for id, why in self.failed.items():
            yield f"run {id} is not whole at {self.place}: {why}"
        if self.trouble:
            yield self.trouble

    def summary(self) -> str:
        """One line for a terminal."""
        counts = [f"{len(self.pushed)} pushed", f"{len(self.already)} already there"]
        counts += [f"{len(self.failed)} failed"] if self.failed else []
        counts += [f"{len(self.skipped)} still at work"] if self.skipped else []
        return "\n".join([f"{self.place}: {', '.join(counts)}", *filter(None, [self.page])])


def sync_study(study: str, store: Store, console: Console | None = None) -> SyncResult:
    """Pushes what the tracker's server lacks of a study; any number of times, and by any number of
    processes at once: each run is one's alone while it is pushed.

    ``store``: open for writing. ``console``: where a bar may show how far it is.

    Raises:
        StoreError, RecordError: as `read_study`.
        TrackingError: the study is not mirrored, there is no key, or no server answers.
    """
    found = read_study(study, store)
    settings = found.settings
    tracker: Tracker = registry.load("tracking", "wandb")
    remote = tracker.connect(settings.wandb.model_dump(mode="json"), directory=store.directory)
    memory = _Memory(study, store, remote.place)
    result = SyncResult(study=study, place=remote.place)
    copies: list[Copy] = [*_trial_copies(found, store, result.skipped)]
    try:
        _bring_up(copies, store, remote, memory, result, console)
        # the study's own run comes last: its page leads to the runs that were pushed
        whole = study_copy(study, settings, build_report(study, store))
        _bring_up([whole], store, remote, memory, result, console)
        copies.append(whole)
        if memory.has(whole):
            _publish(whole, remote, result)
    except LostServerError as error:
        result.lost = str(error)
        left = [*(copy.id for copy in copies if not memory.has(copy)), study_run(study)]
        result.pushed = [id for id in result.pushed if id not in left]  # was not confirmed
        why = {id: result.lost for id in left if id not in result.skipped}
        result.failed = why | result.failed
    told = {*result.pushed, *result.failed, *result.skipped}
    result.already = [copy.id for copy in copies if copy.id not in told]
    remote.settle(copy.id for copy in copies if memory.has(copy))
    return result


def _bring_up(
    copies: Sequence[Copy],
    store: Store,
    remote: Remote,
    memory: _Memory,
    result: SyncResult,
    console: Console | None,
) -> None:
    """Pushes what the server lacks of these, and remembers what it confirmed."""
    memory.forget(remote.absent([copy.id for copy in copies if memory.has(copy)]))
    unsure = [copy for copy in copies if not memory.has(copy)]
    lacking = remote.lacking(unsure)
    memory.add(copy for copy in unsure if copy.id not in lacking)
    lacked = [copy for copy in unsure if copy.id in lacking]
    memory.add(_confirmed(_push(lacked, store, remote, result, console), remote, result))


def _publish(copy: StudyCopy, remote: Remote, result: SyncResult) -> None:
    """The page is made of what the runs hold: where it fails, they are whole all the same."""
    try:
        result.page = remote.publish(copy)
    except TrackingError as error:
        result.trouble = str(error)


def _push(
    copies: Sequence[Copy],
    store: Store,
    remote: Remote,
    result: SyncResult,
    console: Console | None,
) -> list[Copy]:
    """Pushes one after the other; gives those that went through."""
    pushed = []
    quiet = console is None or not console.is_terminal
    for copy in track(copies, "sync", console=console, transient=True, disable=quiet):
        try:
            with store.working_on(copy.id, ""):
                if not remote.lacking([copy]):  # another process has pushed it meanwhile
                    pushed.append(copy)
                    continue
                remote.push(copy)
        except BusyError as error:
            result.skipped[copy.id] = str(error)
        except LostServerError:
            raise
        except TrackingError as error:
            result.failed[copy.id] = str(error)
        else:
            pushed.append(copy)
            result.pushed.append(copy.id)
    return pushed


def _confirmed(pushed: Sequence[Copy], remote: Remote, result: SyncResult) -> list[Copy]:
    """What the server shows whole; the rest is failed."""
    lacking: dict[str, str] = {}
    unsure = pushed
    for wait_s in CONFIRM_AFTER_S:
        time.sleep(wait_s)
        lacking = remote.lacking(unsure)
        unsure = [copy for copy in unsure if copy.id in lacking]
        if not unsure:
            break
    result.failed |= lacking
    result.pushed = [id for id in result.pushed if id not in lacking]
    return [copy for copy in pushed if copy.id not in lacking]


def _trial_copies(found: Study, store: Store, skipped: dict[str, str]) -> Iterator[TrialCopy]:
    """The trials that were begun and that nobody works on now."""
    for trial in found.plan:
        failed = found.states[trial.id].state == "failed"
        outcome = store.failure(trial.id) if failed else store.record(trial.id)
        rows = _StoredRows(store, trial.id)
        seal, num_steps, last_step = hashlib.sha256(), 0, None
        for step, values in by_step(rows):
            seal.update(json.dumps([step, values], sort_keys=True).encode())
            num_steps, last_step = num_steps + 1, step
        if outcome is None and not num_steps:
            continue
        if (holder := store.holder(trial.id)) is not None:
            skipped[trial.id] = f"process {holder.pid} on {holder.host} works on it"
            continue
        seal.update(to_json(outcome).encode() if outcome else b"")
        yield TrialCopy(
            trial=trial,
            study=found.name,
            rows=rows,
            num_steps=num_steps,
            last_step=last_step,
            outcome=outcome,
            digest=seal.hexdigest(),
            checkpoint=partial(store.checkpoint, trial.id),
        )


@dataclass(frozen=True)
class _StoredRows:
    """A trial's metrics, read anew each time: those of a whole study may not fit into memory."""

    store: Store
    id: str

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.store.metrics(self.id))


class _Memory:
    """What one place confirmed to hold: run id → digest."""

    def __init__(self, study: str, store: Store, place: str):
        self._study, self._store, self._place = study, store, place
        try:
            self._places = dict(json.loads(store.read_study(study, MEMORY_FILE) or "{}"))
            self._held = dict(self._places.get(place, {}))
        except (ValueError, TypeError):  # torn or edited: then the server is asked again
            self._places, self._held = {}, {}

    def has(self, copy: Copy) -> bool:
        return self._held.get(copy.id) == copy.digest

    def add(self, copies: Iterable[Copy]) -> None:
        self._keep(self._held | {copy.id: copy.digest for copy in copies})

    def forget(self, ids: Set[str]) -> None:
        self._keep({id: digest for id, digest in self._held.items() if id not in ids})

    def _keep(self, held: dict[str, str]) -> None:
        if held != self._held:
            self._held = held
            text = json.dumps({**self._places, self._place: held}, indent=1)
            self._store.write_study(self._study, MEMORY_FILE, text)
