"""Objects kept as local files, so that a base's checkpoint comes once to a node, not to each child.

FOLDER/KEY/ETAG-name    KEY, ETAG: hashes; another content of a key is another file
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath

from tcc.errors import StoreError
from tcc.stores._disk import sync
from tcc.stores.objects._remote import Info, Remote

MAX_BYTES = 20 * 2**30
SAFE_S = 600.0  # who was given a file has opened it by then; an open one may be removed
_TRIES = 5  # with an object that is replaced while it is fetched


class Downloads:
    """A bounded folder of downloaded objects that all processes of a machine share."""

    def __init__(self, remote: Remote, folder: Path):
        self._remote, self._folder = remote, folder

    def get(self, key: str, *, fresh: bool = False) -> Path | None:
        """A local file with an object's content as it is now; None when there is none. ``fresh``:
        fetched again, though it is there."""
        folder = self._folder / _short(key)
        for _ in range(_TRIES):
            info = self._remote.info(key)
            if info is None:
                return None
            target = folder / _short(info.etag) / PurePosixPath(key).name
            with _locked(folder):
                there = not fresh and _holds(target, info.size)
                if there or self._fetch(key, info, target):
                    os.utime(target)
                    return target
        raise StoreError(f"{self._remote.uri}/{key} is replaced faster than it can be read")

    def _fetch(self, key: str, info: Info, target: Path) -> bool:
        scratch = target.with_name(f".{secrets.token_hex(8)}")
        scratch.parent.mkdir(exist_ok=True)
        try:
            self._remote.download(key, scratch)
            if scratch.stat().st_size != info.size or self._remote.info(key) != info:
                return False  # it may be parts of two contents
            sync(scratch)  # or a power loss could leave the name of what is not there
            scratch.replace(target)
        except FileNotFoundError:
            return False
        finally:
            scratch.unlink(missing_ok=True)
        self._prune(target)
        return True

    def _prune(self, fresh: Path) -> None:
        """Removes other contents of the same key, and then the oldest files beyond the bound; none
        that was given out so lately that it may not be open yet."""
        now, others = time.time(), []
        for path in self._folder.glob("*/*/*"):
            with suppress(OSError):
                state = path.stat()
                if path.parent.parent == fresh.parent.parent and now - state.st_mtime > SAFE_S:
                    _remove(path)
                elif path != fresh:
                    others.append((state.st_mtime, state.st_size, path))
        room = MAX_BYTES - fresh.stat().st_size - sum(size for _, size, _ in others)
        for modified, size, path in sorted(others):
            if room >= 0 or now - modified <= SAFE_S:
                break
            _remove(path)
            room += size


def _holds(path: Path, size: int) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_size == size
    return False


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
        path.parent.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One download of a key at a time on this machine; the others then find it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
