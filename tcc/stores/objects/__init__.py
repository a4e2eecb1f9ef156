"""The store in an object storage: ``s3://BUCKET/PREFIX``, and the same with gs, gcs, abfs and az.

Keys are objects. Which server is asked and with which credentials comes from the environment that
each driver documents. A bucket is never created here.

    ObjectBackend ─┬─ Remote      objects, through fsspec
                   ├─ Downloads   objects as local files, once a node
                   └─ Working     local files that grow and are sent up
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from tcc.errors import StoreError
from tcc.stores import Backend, Stamp
from tcc.stores.objects._downloads import Downloads
from tcc.stores.objects._remote import DRIVERS, Remote
from tcc.stores.objects._working import Working


class ObjectBackend(Backend):
    """Keys are objects below one prefix of a bucket."""

    schemes = tuple(DRIVERS)
    tell_every_s = 10.0
    answers_late = True

    def __init__(self, uri: str):
        self.uri = _tidy(uri)

    def check_writable(self) -> None:
        key = f".probe-{secrets.token_hex(8)}"
        remote = self._site.remote
        try:
            if not remote.create(key, b"tcc") or remote.create(key, b"tcc"):
                raise StoreError(
                    f"store {self.uri}: its server writes an object although there is one "
                    "(it knows no If-None-Match), so two runs could do the same trial; give a "
                    "server that does, or another --store"
                )
        finally:
            with suppress(StoreError):
                remote.delete(key)

    def get(self, key: str) -> bytes | None:
        return self._site.remote.get(key)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        if durable:
            self._site.working.send(_unit(key))
        self._site.working.keep(key, data, self._site.remote.put(key, data))

    def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        return self._site.remote.create(key, data)

    @contextmanager
    def stage(self, key: str) -> Iterator[Path]:
        folder = self._site.working.root / ".staging"
        path = folder / f"{secrets.token_hex(8)}-{key.rpartition('/')[2]}"
        with _cached(folder):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with _cached(path):
                yield path
            self._site.working.send(_unit(key))
            self._site.remote.upload(key, path)
        finally:
            path.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        self._site.working.send(_unit(key))
        self._site.remote.delete(key)
        self._site.working.forget(key)

    def touch(self, key: str) -> bool:
        touched = self._site.remote.touch(key)
        return super().touch(key) if touched is None else touched

    def peek(self, key: str, count: int) -> bytes | None:
        return self._site.remote.head(key, count)

    def get_many(self, keys: Iterable[str], count: int | None = None) -> dict[str, bytes]:
        return self._site.remote.get_many(keys, count)

    def stamp(self, key: str) -> Stamp | None:
        info = self._site.remote.info(key)
        return None if info is None else Stamp(info.size, info.modified)

    def stamps(self, pattern: str) -> dict[str, Stamp]:
        fixed = pattern.partition("*")[0].rpartition("/")[0]
        matches = _matcher(pattern).fullmatch
        found = self._site.remote.below(fixed).items()
        return {key: Stamp(info.size, info.modified) for key, info in found if matches(key)}

    def now(self) -> float:
        return self._site.remote.now()

    @property
    def tells_readers(self) -> bool:
        return self._site.remote.tells_readers

    def local(self, key: str, *, fresh: bool = False) -> Path | None:
        with _cached(self._site.folder):
            self._site.working.send(_unit(key))
            return self._site.downloads.get(key, fresh=fresh)

    def folder(self, key: str, *, create: bool) -> Path:
        with _cached(self._site.folder):
            return self._site.working.open(key, write=create)

    def flush(self) -> None:
        """Sends what grew in the working folders and was not sent yet."""
        self._site.working.send()

    @property
    def _site(self) -> _Site:
        return _site(self.uri)


PLUGIN = ObjectBackend


@dataclass(frozen=True)
class _Site:
    """What the stores of one URI share within a process."""

    folder: Path
    remote: Remote
    downloads: Downloads
    working: Working


_sites: dict[tuple[int, str, str], _Site] = {}
_making = threading.Lock()


def _site(uri: str) -> _Site:
    """This process's part in a store: a forked child inherits neither connections nor folders."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    key = (os.getpid(), uri, endpoint)
    if key not in _sites:
        with _making:
            if key not in _sites:
                _sites[key] = _make(uri, endpoint)
    return _sites[key]


def _make(uri: str, endpoint: str) -> _Site:
    name = re.sub(r"[^\w.-]+", "-", uri.partition("://")[2])[:60]
    digest = sha256(f"{endpoint} {uri}".encode()).hexdigest()[:8]
    given = os.environ.get("TCC_CACHE")
    cache = Path(given).expanduser() if given else Path.home() / ".cache" / "tcc"
    folder, remote = cache / "stores" / f"{name}-{digest}", Remote(uri)
    with _cached(folder):
        working = Working(remote, folder / "working")
    return _Site(folder, remote, Downloads(remote, folder / "objects"), working)


def _tidy(uri: str) -> str:
    """The URI with one spelling.

    Raises:
        StoreError: it names no bucket, or what cannot be in a key.
    """
    parts = urlsplit(uri)
    segments = [part for part in parts.path.split("/") if part]
    if not parts.netloc or parts.query or parts.fragment or {".", ".."} & set(segments):
        raise StoreError(f"store {uri} names no place; give {parts.scheme}://BUCKET/PREFIX")
    return "/".join((f"{parts.scheme}://{parts.netloc}", *segments))


def _unit(key: str) -> str:
    """The trial or study that a key belongs to: what grows in it goes up before the key does."""
    return "/".join(key.split("/")[:2])


def _matcher(pattern: str) -> re.Pattern[str]:
    def segment(text: str) -> str:
        hidden = "" if text.startswith(".") else r"(?!\.)"
        return hidden + re.escape(text).replace(r"\*", "[^/]*")

    *before, last = pattern.split("/")
    parts = [segment(text) for text in before] + [".+" if last == "**" else segment(last)]
    return re.compile("/".join(parts))


@contextmanager
def _cached(path: Path) -> Iterator[None]:
    """Makes what the local disk refuses an error that names the fix."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or path} cannot be written ({error.strerror or error}); "
            "free space, or set TCC_CACHE to a folder that can be written"
        ) from error
