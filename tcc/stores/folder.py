"""The store in a local or shared folder: ``runs``, ``/data/runs`` or ``file:///data/runs``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tcc.errors import StoreError
from tcc.stores import Backend


class FolderBackend(Backend):
    """Keys are files below one folder."""

    schemes = ("file",)

    def __init__(self, uri: str):
        self._root = _path(uri)
        self.uri = str(self._root)

    def check_writable(self) -> None:
        probe = _beside(self._root / "probe")
        with _blaming(self._root, "cannot be written", "; give a folder that you may write to"):
            if self._root.exists() and not self._root.is_dir():
                raise StoreError(f"store {self.uri} is a file; give a folder, or a new path")
            self._root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"tcc")
            probe.unlink()

    def get(self, key: str) -> bytes | None:
        path = self._root / key
        with _blaming(path, "cannot be read"):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        with self._replacing(key, durable) as path:
            path.write_bytes(data)

    def stage(self, key: str) -> AbstractContextManager[Path]:
        return self._replacing(key, durable=True)

    @contextmanager
    def _replacing(self, key: str, durable: bool) -> Iterator[Path]:
        target = self._root / key
        temporary = _beside(target)
        try:
            with _blaming(target, "cannot be written"):
                target.parent.mkdir(parents=True, exist_ok=True)
                yield temporary
                if durable:
                    _sync(temporary)
                temporary.replace(target)
        finally:
            with suppress(OSError):
                temporary.unlink()

    def delete(self, key: str) -> None:
        path = self._root / key
        with _blaming(path, "cannot be deleted"):
            path.unlink(missing_ok=True)

    def find(self, pattern: str) -> list[str]:
        with _blaming(self._root / pattern, "cannot be listed"):
            found = [path for path in self._root.glob(pattern) if not path.name.startswith(".")]
        return [path.relative_to(self._root).as_posix() for path in found]

    def local(self, key: str) -> Path | None:
        path = self._root / key
        with _blaming(path, "cannot be read"):
            return path if path.is_file() else None

    def folder(self, key: str, *, create: bool) -> Path:
        path = self._root / key
        if create:
            with _blaming(path, "cannot be created"):
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
    """A name that no other writer has and no listing shows, on the target's file system."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _blaming(path: Path, what: str, fix: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} {what} ({error.strerror or error}){fix}") from error
