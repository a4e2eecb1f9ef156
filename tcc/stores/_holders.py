"""Who holds the trials of a store, as the files of their leases say; see `_lease`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tcc.errors import RecordError
from tcc.records import SCHEMA, Holder
from tcc.stores import _process
from tcc.stores._serial import from_json

if TYPE_CHECKING:
    from tcc.stores import Backend

EXPIRES_S = 60.0  # without a sign of life, after which anybody may take over

_LATE = 50  # times that a listing may still show what is gone …
_AGAIN_S = 0.04  # … each so long


class Held(NamedTuple):
    """A lease. ``fault``: why its file cannot be trusted; then nothing is known of its holder."""

    number: int
    holder: Holder
    modified: float  # its last sign of life, by the storage's clock
    size: int  # bytes
    fault: str = ""

    @property
    def key(self) -> str:
        return lease_key(self.holder.trial, self.number)

    @property
    def whose(self) -> str:
        """Its holder, in words."""
        it = self.holder
        run = f", run {it.run}" if it.run else ""
        return f"process {it.pid} on {it.host}{run}, since {it.since}"

    def is_left(self) -> bool:
        """Whether its process is known to be gone."""
        it = self.holder
        return _process.is_dead(it.machine, it.pid, it.process_started)

    def is_over(self, now: float) -> bool:
        """Whether its process is known to be gone, or was not heard of for too long."""
        return self.is_left() or now - self.modified > EXPIRES_S


def lease_key(trial: str, number: int) -> str:
    """Where a lease lies."""
    return f"trials/{trial}/leases/{number:06}.json"


def numbers(backend: Backend, trial: str) -> list[int]:
    """The leases that a trial has: the highest counts."""
    names = [found.rpartition("/")[2] for found in backend.find(f"trials/{trial}/leases/*.json")]
    return [int(name[:-5]) for name in names if name[:-5].isdecimal()]


def highest(backend: Backend, trial: str) -> Held | None:
    """A trial's lease; None where there is none."""
    for attempt in range(_LATE):
        number = max(numbers(backend, trial), default=0)
        if not number:
            return None
        if found := _read(backend, trial, number):
            return found
        time.sleep(_AGAIN_S * (attempt > 0))
    return Held(number, _unknown(trial, time.time()), time.time(), 0, "is listed but not there")


def every(backend: Backend, trial: str) -> Iterator[Held]:
    """All leases of a trial."""
    for number in numbers(backend, trial):
        if found := _read(backend, trial, number):
            yield found


def iso(seconds: float) -> str:
    """A time as ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _read(backend: Backend, trial: str, number: int) -> Held | None:
    key = lease_key(trial, number)
    data, stamp = backend.get(key), backend.stamp(key)
    if data is None or stamp is None:
        return None
    try:
        holder = from_json(Holder, data)
        if holder.trial != trial:
            raise RecordError("belongs to another trial")
    except RecordError as error:
        unknown = _unknown(trial, stamp.modified)
        return Held(number, unknown, stamp.modified, stamp.size, str(error))
    return Held(number, holder, stamp.modified, stamp.size)


def _unknown(trial: str, modified: float) -> Holder:
    return Holder(
        schema=SCHEMA,
        trial=trial,
        run="",
        token="",
        host="unknown",
        machine="",
        pid=0,
        process_started=0.0,
        since=iso(modified),
    )
