"""What all parts of a store share: keys, records, and which of these it does not trust."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tcc.errors import RecordError, StoreError
from tcc.stores._ahead import Source
from tcc.stores._serial import from_json

if TYPE_CHECKING:
    from tcc.stores import Backend

T = TypeVar("T")

_NAME = re.compile(r"\w[\w .+=,@-]*")  # one path segment: no separator, no wildcard, not hidden


class Files:
    """Record files by key over a backend, read with distrust."""

    def __init__(self, backend: Backend, *, write: bool):
        self._backend = backend
        self._source: Source = backend
        self._write = write
        self._problems: dict[str, str] = {}

    @property
    def uri(self) -> str:
        """Opens this store from any working directory of the machine."""
        return self._backend.uri

    @property
    def directory(self) -> Path:
        """The store's local folder, where trackers keep their files."""
        return self._backend.folder("", create=self._write)

    @property
    def tell_every_s(self) -> float:
        """How often a trial may replace its state."""
        return self._backend.tell_every_s

    def check_writable(self) -> None:
        """Raises `StoreError` unless the store can really be written."""
        self._refuse_reader()
        self._backend.check_writable()

    def problems(self) -> tuple[str, ...]:
        """The files that were read so far and could not be trusted, each with the reason."""
        return tuple(self._problems[key] for key in sorted(self._problems))

    def _read(self, cls: type[T], key: str, belongs: Callable[[T], bool]) -> T | None:
        data = self._source.get(key)
        self._problems.pop(key, None)
        if data is None:
            return None
        try:
            record = from_json(cls, data)
        except RecordError as error:
            self._distrust(key, str(error))
            return None
        if not belongs(record):
            kind = "trial" if key.startswith("trials/") else "study"
            self._distrust(key, f"belongs to another {kind}")
            return None
        return record

    def _distrust(self, key: str, reason: str) -> str:
        self._problems[key] = f"{self.uri}/{key} {reason}"
        return self._problems[key]

    def _put(self, key: str, text: str, *, durable: bool = True) -> None:
        self._refuse_reader()
        self._backend.put(key, text.encode("utf-8", "replace"), durable=durable)
        self._problems.pop(key, None)

    def _folder(self, key: str) -> Path:
        return self._backend.folder(key, create=self._write)

    def _refuse_reader(self) -> None:
        if not self._write:
            raise StoreError(f"store {self.uri} was opened for reading only")


def trial_key(id: str, *rest: str) -> str:
    """Where a trial's file lies."""
    return "/".join(("trials", named("trial id", id), *rest))


def result_key(id: str) -> str:
    """Where a trial's result lies."""
    return trial_key(id, "result.json")


def study_key(name: str, *rest: str) -> str:
    """Where a study's file lies."""
    return "/".join(("studies", named("study name", name), *(named("file", x) for x in rest)))


def named(what: str, value: str) -> str:
    """A value that is to name a file.

    Raises:
        StoreError: it cannot.
    """
    if not _NAME.fullmatch(value):
        raise StoreError(
            f"{what} {value!r} cannot name a file: letters, digits, spaces and _.+=,@- only, "
            "and a letter, digit or _ first"
        )
    return value
