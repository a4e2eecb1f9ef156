"""Reading many trials of a store that is far away: one listing, then their files, many at once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tcc.stores import Backend, Stamp

TRIALS = 64  # whose files are held at once
HEAD = 1 << 16  # bytes of a checkpoint that are read: its header is seldom longer

_RECORDS = re.compile(r"trials/[^/]+/(result|failure|evaluations/[^/.][^/]*)\.json")


class Source(Protocol):
    """What records are read from: a backend, or `Ahead`."""

    def get(self, key: str) -> bytes | None: ...

    def peek(self, key: str, count: int) -> bytes | None: ...

    def stamp(self, key: str) -> Stamp | None: ...

    def stamps(self, pattern: str) -> dict[str, Stamp]: ...


class Ahead:
    """The trials of a store as one listing shows them.

    The records of a trial, and the begin of a finished one's checkpoint, are read when one of them
    is asked for, with those of the trials after it in ``ids``. They are given once: who asks again
    gets what there is by then.
    """

    def __init__(self, backend: Backend, ids: Iterable[str]):
        self._backend = backend
        self._listed = backend.stamps("trials/**")
        self._keys: dict[str, list[str]] = defaultdict(list)
        for key in self._listed:
            self._keys[key.split("/")[1]].append(key)
        self._waiting = dict.fromkeys(id for id in ids if id in self._keys)
        self._read: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        if not self._holds(key):
            return None
        found = self._read.pop(key, None)
        return self._backend.get(key) if found is None else found

    def peek(self, key: str, count: int) -> bytes | None:
        if not self._holds(key):
            return None
        found = self._read.pop(key, b"")
        whole = len(found) == self._listed[key].size
        return found[:count] if whole or len(found) >= count else self._backend.peek(key, count)

    def stamp(self, key: str) -> Stamp | None:
        return self._listed.get(key) if _of_trial(key) else self._backend.stamp(key)

    def stamps(self, pattern: str) -> dict[str, Stamp]:
        if not _of_trial(pattern):
            return self._backend.stamps(pattern)
        if pattern == "trials/**":
            return self._listed
        id = pattern.split("/")[1]
        keys = self._listed if "*" in id else self._keys.get(id, ())
        return {key: self._listed[key] for key in keys if _matches(key, pattern)}

    def _holds(self, key: str) -> bool:
        """Whether there is something to be read; it is then, if it is a trial's that was asked
        for."""
        if not _of_trial(key):
            return True
        if (id := key.split("/")[1]) in self._waiting:
            self._read_from(id)
        return key in self._listed

    def _read_from(self, id: str) -> None:
        ids = list(islice(dropwhile(lambda other: other != id, self._waiting), TRIALS))
        records, checkpoints = [], []
        for some in ids:
            del self._waiting[some]
            keys = self._keys[some]
            records += [key for key in keys if _RECORDS.fullmatch(key)]
            if f"trials/{some}/result.json" in self._listed:
                checkpoints += [key for key in keys if key.endswith("/checkpoint.safetensors")]
            else:
                records += [key for key in keys if key == f"trials/{some}/state.json"]
        self._read |= self._backend.get_many(records)
        self._read |= self._backend.get_many(checkpoints, HEAD)


def _of_trial(key: str) -> bool:
    return key.startswith("trials/")


def _matches(key: str, pattern: str) -> bool:
    """As `Backend.stamps` has it, but for ``**``."""
    names, segments = key.split("/"), pattern.split("/")
    return len(names) == len(segments) and all(
        fnmatchcase(name, segment) and name.startswith(".") <= segment.startswith(".")
        for name, segment in zip(names, segments, strict=True)
    )
