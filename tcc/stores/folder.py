"""The store in a local or shared folder: ``runs``, ``/data/runs`` or ``file:///data/runs``."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from tcc.errors import StoreError
from tcc.stores import Backend, Stamp
from tcc.stores._disk import link, reading, sync, writing
from tcc.stores._process import mark

T = TypeVar("T")

CLOCK_S = 600.0  # for which a disk's clock is known by one look at it


class FolderBackend(Backend):
    """Keys are files below one folder, on a local disk or one that several machines share."""

    schemes = ("file",)

    def __init__(self, uri: str):
        self._root = _path(uri)
        self.uri = str(self._root)
        self._clock: tuple[float, float] | None = None  # the disk's, and monotonic, at one time

    def check_writable(self) -> None:
        probe = _beside(self._root / "probe")
        with writing(self._root), _gone_after(probe):
            if self._root.exists() and not self._root.is_dir():
                raise StoreError(f"store {self.uri} is a file; give a folder, or a new path")
            self._root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"tcc")
            probe.unlink()

    def get(self, key: str) -> bytes | None:
        path = self._root / key
        with reading(path):
            return _if_there(path.read_bytes)

    def peek(self, key: str, count: int) -> bytes | None:
        path = self._root / key

        def begin() -> bytes:
            with path.open("rb", buffering=0) as file:
                return file.read(count)

        with reading(path):
            return _if_there(begin)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        with self._replacing(key, durable) as path:
            path.write_bytes(data)

    def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        target = self._root / key
        temporary = _beside(target)
        with writing(target), _gone_after(temporary):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            if durable:
                sync(temporary)
            try:
                created = link(temporary, target)
            except NotImplementedError:
                created = _write_new(target, data, durable)
            if created and durable:
                sync(target.parent)
        return created

    def stage(self, key: str) -> AbstractContextManager[Path]:
        return self._replacing(key, durable=True)

    @contextmanager
    def _replacing(self, key: str, durable: bool) -> Iterator[Path]:
        target = self._root / key
        temporary = _beside(target)
        with writing(target), _gone_after(temporary):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if durable:
                sync(temporary)
            temporary.replace(target)
            if durable:
                sync(target.parent)

    def delete(self, key: str) -> None:
        path = self._root / key
        with writing(path, "deleted"), suppress(NotADirectoryError):
            path.unlink(missing_ok=True)

    def touch(self, key: str) -> bool:
        path = self._root / key
        with writing(path):
            try:
                os.utime(path)
            except (FileNotFoundError, NotADirectoryError):
                return False
        return True

    def stamp(self, key: str) -> Stamp | None:
        path = self._root / key

        def look() -> os.stat_result:
            handle = os.open(path, os.O_RDONLY)  # opened: NFS asks its server only then
            try:
                return os.fstat(handle)
            finally:
                os.close(handle)

        with reading(path):
            found = _if_there(look)
        if found is None or not stat.S_ISREG(found.st_mode):
            return None
        return Stamp(found.st_size, found.st_mtime)

    def stamps(self, pattern: str) -> dict[str, Stamp]:
        with reading(self._root / pattern, "listed"):
            return dict(_below(self.uri, "", pattern.split("/")))

    def now(self) -> float:
        """Whatever this machine's clock is set to meanwhile."""
        if self._clock is None or time.monotonic() - self._clock[1] >= CLOCK_S:
            self._clock = self._look_at_clock(), time.monotonic()
        return self._clock[0] + time.monotonic() - self._clock[1]

    def _look_at_clock(self) -> float:
        """The disk's time; this machine's where it cannot be tried."""
        probe = _beside(self._root / "clock")
        try:
            with _gone_after(probe):
                probe.write_bytes(b"tcc")
                found = self.stamp(probe.name)
        except OSError:
            return time.time()
        return found.modified if found else time.time()

    def local(self, key: str, *, fresh: bool = False) -> Path | None:
        path = self._root / key
        with reading(path):
            return path if path.is_file() else None

    def folder(self, key: str, *, create: bool) -> Path:
        path = self._root / key
        if create:
            with writing(path, "created"):
                path.mkdir(parents=True, exist_ok=True)
        return path


PLUGIN = FolderBackend


def _path(uri: str) -> Path:
    if not uri.strip():
        raise StoreError("the store's path is empty; give a folder, such as runs")
    if "://" not in uri:
        return Path(uri).expanduser().absolute()
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise StoreError(
            f"store {uri} names the host {parts.netloc!r}; a local folder is file:///path"
        )
    return Path(unquote(parts.path))


def _beside(target: Path) -> Path:
    """A name that no other writer has and no listing shows, on the target's file system. It says
    whose it is: see `Store.prune`."""
    return target.with_name(f".{target.name}.{mark()}.tmp")


@contextmanager
def _gone_after(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _if_there(read: Callable[[], T]) -> T | None:
    """What is read of a file; None where there is none. NFS calls one stale that was replaced or
    deleted after it was opened: who opens it again finds the new one."""
    for _ in range(2):
        try:
            return read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return None


def _write_new(target: Path, data: bytes, durable: bool) -> bool:
    """Creates a file where there are no hard links; readers may see it before it is whole."""
    try:
        target.touch(exist_ok=False)
    except FileExistsError:
        return False
    try:
        target.write_bytes(data)
        if durable:
            sync(target)
    except BaseException:
        with suppress(OSError):
            target.unlink()
        raise
    return True


def _below(folder: str, above: str, pattern: list[str]) -> Iterator[tuple[str, Stamp]]:
    """The files of a folder that match a pattern's segments, with their keys."""
    head, *rest = pattern
    if "*" not in head:
        if rest:
            yield from _below(f"{folder}/{head}", f"{above}{head}/", rest)
        else:
            with suppress(FileNotFoundError, NotADirectoryError):
                found = os.stat(f"{folder}/{head}")  # noqa: PTH116 - ten times as fast
                if stat.S_ISREG(found.st_mode):
                    yield above + head, Stamp(found.st_size, found.st_mtime)
        return
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    everything = head == "**"
    with entries:
        for entry in entries:
            if not everything and not _fits(entry.name, head):
                continue
            if entry.is_dir():
                if everything or rest:
                    below = pattern if everything else rest
                    yield from _below(entry.path, f"{above}{entry.name}/", below)
            elif not rest:
                with suppress(FileNotFoundError):  # since it was listed
                    found = entry.stat()
                    yield above + entry.name, Stamp(found.st_size, found.st_mtime)


def _fits(name: str, segment: str) -> bool:
    hidden = name.startswith(".") and not segment.startswith(".")
    return not hidden and fnmatchcase(name, segment)
