"""Work on trials: one process at a time, and nobody writes to a trial that was taken from him."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.records import Holder
from tcc.stores._files import Files, named, trial_key
from tcc.stores._holders import highest
from tcc.stores._lease import Lease, Share, take

if TYPE_CHECKING:
    from tcc.stores import Backend


class Work(Files):
    """The leases of trials, and what may only be written under them."""

    def __init__(self, backend: Backend, *, write: bool):
        super().__init__(backend, write=write)
        self._leases: dict[str, Lease] = {}

    @contextmanager
    def working_on(self, id: str, run: str) -> Iterator[Lease]:
        """Keeps other processes from a trial within the block. ``run``: of a study, whose processes
        on other machines it is taken from at once: the run itself found that they are lost. So it
        is from a process that is gone, and from one that was not heard of for a minute.

        What this store then writes of the trial raises `BusyError` once another process has taken
        over.

        Raises:
            BusyError: another living process has it; names it.
        """
        self._refuse_reader()
        lease = take(self._backend, named("trial id", id), run)
        self._leases[id] = lease
        try:
            yield lease
        finally:
            del self._leases[id]
            lease.release()

    def share(self, id: str) -> Share | None:
        """What a process needs to take part in this store's work on a trial; None: no work."""
        lease = self._leases.get(id)
        return None if lease is None else Share(lease.holder, lease.number)

    @contextmanager
    def sharing(self, share: Share | None) -> Iterator[None]:
        """Within the block, this store writes of a trial as `working_on` has it, under the lease
        of the process that gave the share and renews it; without one, as who holds no lease."""
        if share is None:
            yield
            return
        id = share.holder.trial
        self._leases[id] = Lease(self._backend, *share)
        try:
            yield
        finally:
            del self._leases[id]

    def holder(self, id: str) -> Holder | None:
        """Who works on a trial; None: nobody that is living."""
        held = highest(self._backend, named("trial id", id))
        if held is None or held.is_over(self._now()):
            return None
        if held.fault:
            self._distrust(held.key, held.fault)
        return held.holder

    def _now(self) -> float:
        """By the storage's clock, if it may be asked: that may write. Then a reader has this
        machine's, and takes the living for dead where it runs ahead by more than `EXPIRES_S`."""
        asked = self._write or self._backend.tells_readers
        return self._backend.now() if asked else time.time()

    def _fence(self, id: str) -> None:
        """Raises `BusyError` if another process took over a trial that this store worked on."""
        self._refuse_reader()
        if id in self._leases:
            self._leases[id].check()

    def _refuse_lost(self, id: str) -> None:
        """`_fence`, but by what is known already: nothing is asked of the storage."""
        self._refuse_reader()
        lease = self._leases.get(id)
        if lease is not None and lease.lost:
            lease.check()

    def _write_under_lease(self, id: str, key: str, text: str) -> None:
        self._fence(id)
        self._put(key, text)

    def _delete_under_lease(self, id: str, key: str) -> None:
        self._fence(id)
        self._backend.delete(key)

    @contextmanager
    def _staged(self, id: str, file: str) -> Iterator[Path]:
        """A path to write what becomes a trial's file, if the trial is still its writer's then."""
        self._refuse_reader()
        key = trial_key(id, file)
        with self._backend.stage(key) as path:
            yield path
            self._fence(id)
        self._problems.pop(key, None)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_leases": {}}  # they are this process's
