"""Stores: where trials and studies keep their files. The files are the truth of a study.

    STORE/trials/ID/    trial.json  state.json  metrics.jsonl  log.txt  previews/
                        training.safetensors (while it trains: what it needs to go on)
                        checkpoint.safetensors  last.safetensors (the last weights, where the
                        checkpoint holds others)  evaluations/EID.json  failure.json
                        result.json (written last)
    STORE/studies/NAME/ the resolved spec, the plan, the report

What the files mean is `Store`'s; where bytes lie is a backend's. This page is the contract of a
backend: a plug-in file ends with ``PLUGIN = MyBackend``, a class that is made with a URI, and
importing it must not import what only its own scheme needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from tcc import registry
from tcc.errors import StoreError
from tcc.stores._serial import from_json, to_json
from tcc.stores._store import Store

__all__ = ["Backend", "Store", "from_json", "open_store", "to_json"]


class Backend(ABC):
    """Keys are relative paths with ``/``; a key holds the whole of what was put, or nothing.

    All methods raise `StoreError`, naming the place, when the storage itself fails.
    """

    schemes: ClassVar[tuple[str, ...]]  # URI schemes it serves; "file" stands for a plain path
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
    def stage(self, key: str) -> AbstractContextManager[Path]:
        """`put` for a large file: gives a local path to write, which becomes the key's content,
        atomically and durably, when the block ends without an error."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes a key; none is no error."""

    @abstractmethod
    def find(self, pattern: str) -> list[str]:
        """The keys that match; ``*`` stands for one whole or part of a path segment."""

    @abstractmethod
    def local(self, key: str) -> Path | None:
        """A local file with a key's content, for reading only; None when there is nothing."""

    @abstractmethod
    def folder(self, key: str, *, create: bool) -> Path:
        """The local folder of files that grow in place: logs, metrics, previews, reports. A backend
        that is not local gives a working folder and uploads it with the next `put` below it."""


def open_store(uri: str | Path, *, write: bool = True) -> Store:
    """The store at a path or URI. With ``write``, it is created where there is none and tried;
    without, nothing is ever created or changed and a missing store reads as an empty one.

    Raises:
        StoreError: unknown scheme, not a folder, or not writable.
    """
    before, separator, _ = str(uri).partition("://")
    scheme = before if separator else "file"
    plugins = [registry.load("stores", name) for name in registry.names("stores")]
    for plugin in plugins:
        if scheme in plugin.schemes:
            store = Store(plugin(str(uri)), write=write)
            if write:
                store.check_writable()
            return store
    allowed = tuple(sorted(scheme for plugin in plugins for scheme in plugin.schemes))
    raise StoreError(f"store {uri}: {registry.unknown('URI scheme', scheme, allowed)}")
