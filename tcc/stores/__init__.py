"""Stores: where trials and studies keep their files. The files are the truth of a study.

    STORE/trials/ID/    trial.json  state.json  metrics.jsonl  log.txt  previews/
                        training.safetensors (while it trains: what it needs to go on)
                        checkpoint.safetensors  last.safetensors (the last weights, where the
                        checkpoint holds others)  evaluations/EID.json  failure.json
                        leases/NUMBER.json (while a process works on it)
                        result.json (written last)
    STORE/studies/NAME/ the resolved spec, the plan, the report, runs/STARTED-RUN.json

What the files mean is `Store`'s; where bytes lie is a backend's. This page is the contract of a
backend: a plug-in file ends with ``PLUGIN = MyBackend``, a class that is made with a URI, and
importing it must not import what only its own scheme needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

from tcc import registry
from tcc.errors import StoreError
from tcc.stores._lease import Lease, Share
from tcc.stores._serial import from_json, to_json
from tcc.stores._store import Store

__all__ = ["Backend", "Lease", "Share", "Stamp", "Store", "from_json", "open_store", "to_json"]


class Stamp(NamedTuple):
    """What a listing says of a key. ``modified``: seconds since the epoch, by the storage's clock,
    when the key was put or touched last."""

    size: int  # bytes
    modified: float


class Backend(ABC):
    """Keys are relative paths with ``/``; a key holds the whole of what was put, or nothing.

    All methods raise `StoreError`, naming the place, when the storage itself fails.
    """

    schemes: ClassVar[tuple[str, ...]]  # URI schemes it serves; "file" stands for a plain path
    tell_every_s: ClassVar[float] = 1.0  # how often a trial may replace its state.json
    answers_late: ClassVar[bool] = False  # many keys are better listed and read at once
    uri: str  # opens the same store from any working directory of the machine

    @abstractmethod
    def __init__(self, uri: str): ...

    @abstractmethod
    def check_writable(self) -> None:
        """Creates the store where there is none, and really writes to it.

        Raises:
            StoreError: it cannot be written; says why.
        """

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """What was put under a key; None when there is nothing."""

    @abstractmethod
    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Replaces what a key holds, atomically: a reader sees the old or the new. ``durable``:
        after a power loss too; without, it is faster."""

    @abstractmethod
    def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """`put` where the key holds nothing. Exactly one of all that create a key at once, from
        whatever machine, gets True; who gets False changed nothing."""

    @abstractmethod
    def stage(self, key: str) -> AbstractContextManager[Path]:
        """`put` for a large file: gives a local path to write, which becomes the key's content,
        atomically and durably, when the block ends without an error."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes a key; none is no error."""

    def touch(self, key: str) -> bool:
        """Makes a key's time the present one, with its content as it is. False: it holds nothing;
        what was deleted does not come back."""
        data = self.get(key)
        if data is not None:
            self.put(key, data, durable=False)
        return data is not None

    def peek(self, key: str, count: int) -> bytes | None:
        """The first bytes of what a key holds, without fetching the rest where that can be."""
        data = self.get(key)
        return None if data is None else data[:count]

    def get_many(self, keys: Iterable[str], count: int | None = None) -> dict[str, bytes]:
        """Key → what `get` gives of it or, with a ``count``, `peek`; without the keys that hold
        nothing."""
        read = self.get if count is None else partial(self.peek, count=count)
        return {key: data for key in keys if (data := read(key)) is not None}

    @abstractmethod
    def stamp(self, key: str) -> Stamp | None:
        """Size and time of a key as they are now, past any cache; None when it holds nothing."""

    @abstractmethod
    def stamps(self, pattern: str) -> dict[str, Stamp]:
        """The keys that match, by one listing; ``*`` stands for one whole or part of a path
        segment, ``**`` as the last segment for all below. Names that start with a dot (what a
        backend has not finished) match only ``**`` and what starts with a dot itself."""

    def find(self, pattern: str) -> list[str]:
        """The keys that match, as for `stamps`."""
        return list(self.stamps(pattern))

    @abstractmethod
    def now(self) -> float:
        """Seconds since the epoch by the clock that `Stamp.modified` is told by; may write a probe
        to find out."""

    @property
    def tells_readers(self) -> bool:
        """Whether `now` writes nothing."""
        return False

    @abstractmethod
    def local(self, key: str, *, fresh: bool = False) -> Path | None:
        """A local file with a key's content, for reading only; None when there is nothing.
        ``fresh``: no copy of before, which this machine's disk may have spoilt."""

    @abstractmethod
    def folder(self, key: str, *, create: bool) -> Path:
        """The local folder of files that grow in place: logs, metrics, previews, reports. A backend
        that is not local gives a working folder and uploads it with the next `put` below it."""

    def flush(self) -> None:  # noqa: B027 - nothing to do where the store is local
        """Sends what grew in folders and was not sent yet, where the store is not local."""


def open_store(uri: str | Path, *, write: bool = True) -> Store:
    """The store at a path or URI. With ``write``, it is created where there is none and tried;
    without, nothing is ever created or changed and a missing store reads as an empty one.

    Raises:
        StoreError: unknown scheme, a file where a folder belongs, or not writable.
    """
    before, separator, _ = str(uri).partition("://")
    scheme = before if separator else "file"
    plugins = [registry.load("stores", name) for name in registry.names("stores")]
    for plugin in plugins:
        if scheme in plugin.schemes:
            store = Store(plugin(str(uri)), write=write)
            if write:
                store.check_writable()
            elif scheme == "file":
                _refuse_file(Path(store.uri))
            return store
    allowed = tuple(sorted(scheme for plugin in plugins for scheme in plugin.schemes))
    raise StoreError(f"store {uri}: {registry.unknown('URI scheme', scheme, allowed)}")


def _refuse_file(path: Path) -> None:
    with suppress(OSError):  # who may not look at it is told so when it is read
        if path.is_file():
            raise StoreError(f"store {path} is a file; give a folder")
