"""Working folders: local copies of the files of a store that grow in place, sent up as they grow.

Each process has its own folder, so that two of them never write one file. What is in the storage is
fetched when a folder is opened. What changed goes up before anything is put beside it (so the rows
of a training are never behind its saved state), every `SEND_EVERY_S`, and when the process ends.
Lines that another machine added meanwhile are kept: both ends are joined.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path, PurePosixPath

from tcc.errors import StoreError
from tcc.stores.objects._remote import Remote

log = logging.getLogger("tcc.stores")

SEND_EVERY_S = 15.0
BYTES_PER_S = 200_000  # a growing file is sent whole: the larger, the less often
KEPT_S = 86_400.0  # copies of an ended process, such as a report that is being looked at
_FETCHES = 8  # at once
_LINES = (".txt", ".jsonl", ".log")  # files that grow by lines
# What `Store` puts by key among a trial's growing files; it is never taken from a folder.
_RECORDS = re.compile(r"trials/[^/]+/(?:[^/]+\.(?:json|safetensors)|(?:evaluations|leases)/.*)")


@dataclass
class _Sent:
    """A local file as it was when it and its object were last the same."""

    etag: str
    size: int
    modified_ns: int
    digest: bytes
    at: float  # time.monotonic()
    apart: bool = False  # the object holds another's lines too


class Working:
    """The working folders of one process, below a folder that no other process has."""

    def __init__(self, remote: Remote, folder: Path):
        self._remote = remote
        self._lock = threading.RLock()
        self._sent: dict[str, _Sent] = {}
        self._own: Path | None = None
        self._writing: set[str] = set()  # keys of the folders that are written here
        self._folder = folder
        self._pid = os.getpid()
        self._begun_ns = 0
        self._failing = False

    @property
    def root(self) -> Path:
        """This process's own folder."""
        with self._lock:
            if self._own is None:
                self._own, self._begun_ns = _own_folder(self._folder), time.time_ns()
            return self._own

    def open(self, key: str, *, write: bool) -> Path:
        """The local folder of a key, with what the storage has below it. One that this process
        writes is fetched once; else, again each time."""
        path = self.root / key
        if key in self._writing:
            return path
        with self._lock:
            path.mkdir(parents=True, exist_ok=True)
            if key:
                self._fetch(key)
            if write:
                if not self._writing:
                    threading.Thread(target=self._keep_sending, daemon=True).start()
                    _at_exit(self._send_last)
                self._writing.add(key)
        return path

    def send(self, key: str = "", *, due: bool = False) -> None:
        """Sends what changed at or below a key; with ``due``, only what has waited long enough."""
        if not self._writing:
            return
        with self._lock:
            folders = {max(key, one, key=len) for one in self._writing if _related(key, one)}
            for path in {path for one in folders for path in self._files(one)}:
                self._send(path.relative_to(self.root).as_posix(), path, due)
            for name in [name for name in self._sent if any(_lies(name, one) for one in folders)]:
                if not (self.root / name).exists() and (self.root / ".lock").exists():
                    self._remote.delete(name)
                    del self._sent[name]

    def keep(self, key: str, data: bytes, etag: str) -> None:
        """Takes note of what was put by its key into a folder that is written here."""
        with self._lock:
            folders = [one for one in self._writing if one and _lies(key, one)]
            if folders and not _RECORDS.fullmatch(key):
                self._store(key, data, etag)

    def forget(self, key: str) -> None:
        """Takes note that an object was deleted."""
        with self._lock:
            if self._sent.pop(key, None) is not None:
                (self.root / key).unlink(missing_ok=True)

    # --- within ----------------------------------------------------------------------------------

    def _fetch(self, key: str) -> None:
        there = {
            name: info.etag
            for name, info in self._remote.below(key).items()
            if not _RECORDS.fullmatch(name) and not PurePosixPath(name).name.startswith(".")
        }
        for path in self._files(key, leftovers=True):
            name = path.relative_to(self.root).as_posix()
            if name not in there and (name in self._sent or self._is_leftover(path)):
                self._sent.pop(name, None)
                path.unlink()
        wanted = [name for name, etag in there.items() if not self._is_newer(name, etag)]
        with ThreadPoolExecutor(_FETCHES) as pool:
            for name, data in zip(wanted, pool.map(self._remote.get, wanted), strict=True):
                if data is not None:
                    self._store(name, data, there[name])

    def _is_newer(self, name: str, etag: str) -> bool:
        """Whether the local file is the object's, or was changed since it was."""
        sent, path = self._sent.get(name), self.root / name
        if sent is None or not path.exists():
            return path.exists() and not self._is_leftover(path)
        return sent.etag == etag or not _same(sent, path)

    def _store(self, name: str, data: bytes, etag: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._sent[name] = _sent(path, data, etag)

    def _send(self, name: str, path: Path, due: bool) -> None:
        sent = self._sent.get(name)
        try:
            if self._is_leftover(path) or (sent is not None and _same(sent, path)):
                return
            if due and sent is not None:
                wait = max(SEND_EVERY_S, path.stat().st_size / BYTES_PER_S)
                if time.monotonic() - sent.at < wait:
                    return
            before = path.stat()
            data = path.read_bytes()
        except FileNotFoundError:
            return
        whole, apart = data, False
        if path.suffix in _LINES:
            whole, apart = self._joined(name, data, sent)
        etag = self._remote.put(name, whole)
        digest = sha256(data).digest()
        self._sent[name] = _Sent(
            etag, len(data), before.st_mtime_ns, digest, time.monotonic(), apart
        )

    def _joined(self, name: str, data: bytes, sent: _Sent | None) -> tuple[bytes, bool]:
        """What a file of lines becomes: what is new here, after what others have added there."""
        info = self._remote.info(name)
        if info is None or (sent is not None and sent.etag == info.etag and not sent.apart):
            return data, False
        there = self._remote.get(name) or b""
        size = 0 if sent is None or sha256(data[: sent.size]).digest() != sent.digest else sent.size
        if data.startswith(there) and not (sent and sent.apart):
            return data, False
        return there + data[size:], True

    def _files(self, key: str, *, leftovers: bool = False) -> Iterator[Path]:
        for folder, folders, names in os.walk(self.root / key):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(folder, name)
                if name.startswith(".") or path.is_symlink():
                    continue
                if _RECORDS.fullmatch(path.relative_to(self.root).as_posix()):
                    continue
                if leftovers or not self._is_leftover(path):
                    yield path

    def _is_leftover(self, path: Path) -> bool:
        """Whether a file is that of an earlier process."""
        if path.relative_to(self.root).as_posix() in self._sent:
            return False
        try:
            return path.stat().st_mtime_ns < self._begun_ns
        except FileNotFoundError:
            return True

    def _keep_sending(self) -> None:
        while True:
            time.sleep(SEND_EVERY_S)
            self._try(due=True)

    def _send_last(self) -> None:
        if os.getpid() == self._pid:  # a forked child may end in the same way
            self._try(due=False)

    def _try(self, *, due: bool) -> None:
        try:
            self.send(due=due)
            self._failing = False
        except (StoreError, OSError) as error:
            if not self._failing:
                log.warning("logs and metrics wait on this machine: %s", error)
            self._failing = True


def _at_exit(action: Callable[[], None]) -> None:
    """Calls an action when the process ends, while the drivers can still resolve names: what
    `atexit` calls runs after Python's thread pools were shut."""
    threading._register_atexit(action)  # type: ignore[attr-defined]


def _own_folder(folder: Path) -> Path:
    """The first folder of this machine that no living process holds; this one does till its end."""
    for number in count():
        root = folder / f"{socket.gethostname()}-{number}"
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        _clear(root)
        return root
    raise AssertionError


def _clear(root: Path) -> None:
    """Removes what ended processes left, but for what is still new."""
    shutil.rmtree(root / ".staging", ignore_errors=True)
    oldest = time.time() - KEPT_S
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(folder, name)
            with suppress(OSError):
                if name != ".lock" and path.lstat().st_mtime < oldest:
                    path.unlink()
        with suppress(OSError):
            Path(folder).rmdir()  # only where it is empty


def _sent(path: Path, data: bytes, etag: str) -> _Sent:
    state = path.stat()
    digest = sha256(data).digest()
    return _Sent(etag, len(data), state.st_mtime_ns, digest, time.monotonic())


def _same(sent: _Sent, path: Path) -> bool:
    state = path.stat()
    return (state.st_size, state.st_mtime_ns) == (sent.size, sent.modified_ns)


def _lies(key: str, folder: str) -> bool:
    return not folder or key == folder or key.startswith(f"{folder}/")


def _related(key: str, folder: str) -> bool:
    return _lies(key, folder) or _lies(folder, key)
