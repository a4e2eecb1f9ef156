"""Leases: who works on a trial. Of all processes, on whatever machines, one at a time does.

    trials/ID/leases/000007.json    a sealed `Holder`; the highest number there is the trial's

To take a trial is to create the next number, which one process alone can; then the older numbers
are deleted, before anything else is done. A holder's own file says whether the lease is still its
own: nobody else writes it, nobody brings it back. Its time says when the holder was last heard of.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from tcc.errors import BusyError, StoreError
from tcc.records import SCHEMA, Holder
from tcc.stores import _holders, _process
from tcc.stores._holders import Held, highest, iso, lease_key, numbers
from tcc.stores._serial import to_json

if TYPE_CHECKING:
    from tcc.stores import Backend

log = logging.getLogger("tcc.stores")

RENEW_S = 10.0  # between signs of life
_TRIES = 50  # while others are quicker each time


class Share(NamedTuple):
    """Whose work on a trial another process takes part in; see `Store.sharing`."""

    holder: Holder
    number: int  # of the lease


class Lease:
    """A trial's lease while this process works on it, renewed by a thread.

    ``lost``: another process took over, after this one was not heard of for too long.
    """

    def __init__(self, backend: Backend, holder: Holder, number: int):
        self.lost = False
        self.holder = holder
        self.number = number
        self._backend = backend
        self._text = to_json(holder).encode()
        self._key = lease_key(holder.trial, number)
        self._lock = threading.Lock()  # against a renewal while it is given free
        self._free = False

    def check(self) -> None:
        """Looks at the store.

        Raises:
            BusyError: another process took over; names it.
        """
        self._look()
        if self.lost:
            by = highest(self._backend, self.holder.trial)
            whose = by.whose if by else "another process, which has ended since"
            raise BusyError(
                f"trial {self.holder.trial} was taken over by {whose}: this process was thought to "
                "be lost; it writes no more of the trial, and leaves it to the other one"
            )

    def release(self) -> None:
        """Gives the trial free. In a fork of the process that holds it, nothing happens."""
        if os.getpid() != self.holder.pid:
            return
        _renewals.remove(self)
        with self._lock:
            self._free = True
            try:
                self._look()
                if not self.lost:
                    self._backend.delete(self._key)
            except StoreError as error:
                log.warning("the lease stays until this process has ended: %s", error)

    def take(self) -> bool:
        """Tries to become the trial's holder; False: another process was quicker."""
        if not self._backend.create(self._key, self._text, durable=False):
            return False
        try:
            there = numbers(self._backend, self.holder.trial)
            for number in there:
                if number < self.number:
                    self._backend.delete(lease_key(self.holder.trial, number))
        except BaseException:
            self._backend.delete(self._key)  # or nobody could work on it for a while
            raise
        if max(there, default=0) > self.number:
            self._backend.delete(self._key)
            return False
        _renewals.add(self)
        return True

    def renew(self) -> None:
        """Gives a sign of life, unless another process has taken over."""
        with self._lock:
            if self._free or self.lost:
                return
            try:
                self._look()
                if not self.lost:
                    self._backend.touch(self._key)
            except StoreError as error:
                log.warning("the lease could not be renewed, it is tried again: %s", error)

    def _look(self) -> None:
        """Finds out whether another process has taken over: then a higher number is there, or
        this one is gone."""
        if self.lost:
            return
        above = max(numbers(self._backend, self.holder.trial), default=0) > self.number
        if above or self._backend.get(self._key) != self._text:
            self.lost = True
            log.warning("trial %s was taken over by another process", self.holder.trial)


class _Renewals:
    """The leases of this process, renewed by one thread for as long as it lives: to start one for
    each would cost more than all else that a lease takes."""

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """There are none: so it is in a fork."""
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._started = False

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._leases.add(lease)
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, daemon=True, name="leases").start()

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._leases.discard(lease)

    def _run(self) -> None:
        while True:
            time.sleep(RENEW_S)
            with self._lock:
                leases = tuple(self._leases)
            for lease in leases:
                try:
                    lease.renew()
                except Exception:  # the other leases need this thread, and so does the next try
                    trial = lease.holder.trial
                    log.exception("the lease of trial %s could not be renewed", trial)


_renewals = _Renewals()


def take(backend: Backend, trial: str, run: str) -> Lease:
    """The trial's lease, for this process. ``run``: whose processes on other machines it takes the
    trial from at once; "" is nobody's.

    Raises:
        BusyError: another living process has it.
    """
    for _ in range(_TRIES):
        before = highest(backend, trial)
        if before is not None and not before.is_over(backend.now()):
            it = before.holder
            lost = run and it.run == run and it.machine != _process.machine()
            if not lost:
                raise BusyError(_busy(backend, before))
        lease = Lease(backend, _this_process(trial, run), before.number + 1 if before else 1)
        if lease.take():
            return lease
    raise BusyError(f"trial {trial}: too many processes want it at once; try again later")


def _this_process(trial: str, run: str) -> Holder:
    pid = os.getpid()
    return Holder(
        schema=SCHEMA,
        trial=trial,
        run=run,
        token=secrets.token_hex(16),
        host=socket.gethostname(),
        machine=_process.machine(),
        pid=pid,
        process_started=_process.started(pid),
        since=iso(time.time()),
    )


def _busy(backend: Backend, held: Held) -> str:
    until = f"nobody else may for {_holders.EXPIRES_S:.0f} s after its last sign of life"
    if held.fault:
        where = f"{backend.uri}/{held.key}"
        return f"trial {held.holder.trial} may be worked on: {where} {held.fault}; {until}"
    return f"trial {held.holder.trial} is worked on by {held.whose}; {until}"
