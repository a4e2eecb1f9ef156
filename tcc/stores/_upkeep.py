"""The upkeep of a store: checkpoints that are not what their results say, disk that is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from tcc.records import TrialRecord
from tcc.stores import _process
from tcc.stores._ahead import HEAD, Source
from tcc.stores._disk import sha256_of
from tcc.stores._files import result_key, study_key, trial_key
from tcc.stores._holders import every
from tcc.stores._work import Work

if TYPE_CHECKING:
    from tcc.stores import Backend, Stamp

CHECKPOINT, LAST, STATE = "checkpoint.safetensors", "last.safetensors", "training.safetensors"
ABANDONED_S = 86400.0  # after which an unfinished file has no writer any more

_UNFINISHED = re.compile(r"\..+\.([0-9a-f]+)\.tmp")
_PREVIEW = re.compile(r"\..+[.-]\d+-[0-9a-f]+")  # an unfinished one, as `formats` names it
_LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


class Upkeep(Work):
    """What looks after the files of trials."""

    def __init__(self, backend: Backend, *, write: bool):
        super().__init__(backend, write=write)
        self._hashed: dict[str, tuple[tuple[Stamp, Stamp], str]] = {}

    def checkpoint_problem(self, id: str, *, thorough: bool) -> str | None:
        """What is wrong with the checkpoint of a trial that has a result; None: nothing.

        It is missing or cut off; with ``thorough``, its content is another than the result says.
        That is only found out of a file that changed after its result was written, and once: a
        writer dates the result anew.
        """
        key = trial_key(id, CHECKPOINT)
        fault = self._fault(id, key, thorough)
        if not fault:
            self._problems.pop(key, None)
            return None
        return self._distrust(key, fault)

    def disk_used(self, ids: Iterable[str]) -> dict[str, int]:
        """Trial → bytes of all its files, by one listing."""
        used = dict.fromkeys(ids, 0)
        for key, stamp in self._source.stamps("trials/**").items():
            id = key.split("/")[1]
            if id in used:
                used[id] += stamp.size
        return used

    def prune(self, id: str) -> int:
        """Deletes what a done trial needs no more; gives the bytes that became free.

        These are the state that its training went on from, the weights after its last step, and
        what dead writers left. Nothing is deleted that a living process may still want.
        """
        return self._delete(dict(self._needless(id)))

    def prune_study(self, name: str) -> int:
        """`prune` for what dead writers left of a study's own files."""
        return self._delete(dict(self._left_by_dead(f"{study_key(name)}/**")))

    def littered(self, ids: Iterable[str]) -> set[str]:
        """The trials that hold anything that `prune` may delete, by one listing."""
        found: set[str] = set()
        for key in self._backend.stamps("trials/**"):
            _, id, *folders, name = key.split("/")
            if name.startswith(".") or name in (STATE, LAST) or "leases" in folders:
                found.add(id)
        return found.intersection(ids)

    def _delete(self, sizes: Mapping[str, int]) -> int:
        self._refuse_reader()
        for key in sizes:
            self._backend.delete(key)
        return sum(sizes.values())

    def _needless(self, id: str) -> Iterator[tuple[str, int]]:
        mine = id in self._leases
        previews = self._backend.stamps(trial_key(id, "previews", "*", ".*"))
        if mine or self.holder(id) is None:  # asked last: who wrote what is listed is gone
            for key, stamp in previews.items():
                if _PREVIEW.fullmatch(key.rpartition("/")[2]):
                    yield key, stamp.size
            if self._result(id) is not None:
                for file in (STATE, LAST):
                    yield from _sizes(self._backend.stamps(trial_key(id, file)))
        for pattern in (trial_key(id, ".*.tmp"), trial_key(id, "*", ".*.tmp")):
            yield from self._left_by_dead(pattern)
        if not mine:
            old = self._now() - ABANDONED_S
            for lease in every(self._backend, id):
                if lease.is_left() or lease.modified < old:
                    yield lease.key, lease.size

    def _left_by_dead(self, pattern: str) -> Iterator[tuple[str, int]]:
        """The unfinished files of writers that are gone."""
        old = self._now() - ABANDONED_S
        for key, stamp in self._backend.stamps(pattern).items():
            name = key.rpartition("/")[2]
            if not (name.startswith(".") and name.endswith(".tmp")):
                continue
            made = _UNFINISHED.fullmatch(name)
            dead = made is not None and _process.left_by_dead(made[1])
            if dead or stamp.modified < old:
                yield key, stamp.size

    def _result(self, id: str) -> TrialRecord | None:
        return self._read(TrialRecord, result_key(id), lambda it: it.trial.id == id)

    def _fault(self, id: str, key: str, thorough: bool) -> str:
        stamp = self._source.stamp(key)
        if stamp is None:
            return "is missing"
        if fault := _length_fault(self._source, key, stamp.size):
            now = self._backend.stamp(key)
            if now is None or now == stamp:
                return fault
            stamp = now  # it was replaced meanwhile
            if fault := _length_fault(self._backend, key, stamp.size):
                return fault
        result = self._source.stamp(result_key(id)) if thorough else None
        if result is None or stamp.modified <= result.modified:
            return ""
        known, fault = self._hashed.get(id, (None, ""))
        if known != (stamp, result):
            fault = self._content_fault(id, key)
            self._hashed[id] = (stamp, result), fault
        return fault

    def _content_fault(self, id: str, key: str) -> str:
        result = self._result(id)
        for fresh in (False, True):
            path = self._backend.local(key, fresh=fresh)
            if result is None or path is None:
                return "" if path else "is missing"
            if sha256_of(path) == result.training.checkpoint_sha256:
                if self._write:
                    self._backend.touch(result_key(id))
                return ""
        return "was changed: it is not the one that its result was measured of"


def _sizes(stamps: dict[str, Stamp]) -> Iterator[tuple[str, int]]:
    for key, stamp in stamps.items():
        yield key, stamp.size


def _length_fault(source: Source, key: str, size: int) -> str:
    """What is wrong with a safetensors file, by its header: bytes, JSON, then the tensors."""
    begin = source.peek(key, HEAD) or b""
    length = int.from_bytes(begin[:8], "little")
    if size >= 8 and length > _LONGEST_HEADER:
        return "is not a safetensors file"
    expected = 8 + length
    if size >= expected:
        if expected > len(begin):
            begin = source.peek(key, expected) or b""
        try:
            tensors = json.loads(begin[8:expected])
            tensors.pop("__metadata__", None)
            expected += max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return "is not a safetensors file"
    if size != expected:
        return f"is cut off or was added to: {size} bytes, where its header asks for {expected}"
    return ""
