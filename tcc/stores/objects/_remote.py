"""One bucket and prefix through fsspec, with bounded patience for its server.

A server that does not answer is asked again for `PATIENCE_S`, by this page alone: the drivers' own
repetitions are turned off, so that the wait is bounded. A call that was under way then ends within
its time limit. Nothing here relies on listings that lag: S3, GCS and Azure show a written object in
the next listing.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

from tcc.errors import StoreError
from tcc.stores.objects._drivers import (
    AT_ONCE,
    DRIVERS,
    connect,
    faults,
    in_vain,
    names_no_bucket,
    words,
)

T = TypeVar("T")
log = logging.getLogger("tcc.stores")

PATIENCE_S = 40.0  # with a server that does not answer, or is too busy
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_CLOCK_KEPT_S = 60.0


class Info(NamedTuple):
    """What the storage says of one object."""

    size: int
    modified: float  # seconds since the epoch, by the storage's clock
    etag: str  # changes with the content


class Remote:
    """Objects below ``SCHEME://BUCKET/PREFIX``, by their key from there."""

    def __init__(self, uri: str):
        self.uri = uri
        self._scheme = uri.partition("://")[0]
        self._connection: tuple[Any, str] | None = None
        self._clock: tuple[float, float] | None = None  # the storage's, and monotonic, at one time

    # --- objects -------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """The whole of an object; None when there is none."""
        # s3fs would ask for the size first, and fetch parts that may be of two contents
        whole = {"max_concurrency": 1} if self._scheme == "s3" else {}
        return self._call(
            "read", key, lambda fs, path: _or_none(lambda: fs.cat_file(path, **whole))
        )

    def head(self, key: str, count: int) -> bytes | None:
        """The first bytes of an object."""

        def once(fs: Any, path: str) -> bytes:
            try:
                return fs.cat_file(path, start=0, end=count)
            except OSError as error:
                if error.errno == errno.EINVAL and fs.info(path)["size"] == 0:
                    return b""  # of nothing there is no first byte
                raise

        return self._call("read", key, lambda fs, path: _or_none(once, fs, path))

    def get_many(self, keys: Iterable[str], count: int | None = None) -> dict[str, bytes]:
        """What there is of some objects, or their first ``count`` bytes, asked for at once. What
        fails so is asked for alone, with patience."""
        asked, start = list(keys), None if count is None else 0
        limits = {"batch_size": AT_ONCE}
        if self._scheme == "s3" and count is None:
            limits["max_concurrency"] = 1  # as in `get`

        def once(fs: Any, root: str) -> list[bytes | Exception]:
            return fs.cat_ranges([f"{root}/{key}" for key in asked], start, count, **limits)

        found: dict[str, bytes] = {}
        for key, data in zip(asked, self._call("read", "", once), strict=True):
            if not isinstance(data, bytes):
                data = self.get(key) if count is None else self.head(key, count)
            if data is not None:
                found[key] = data
        return found

    def put(self, key: str, data: bytes) -> str:
        """Replaces an object; gives its ETag."""
        said = self._call("written", key, lambda fs, path: fs.pipe_file(path, data))
        etag = said.get("ETag") if isinstance(said, dict) else None
        return etag or getattr(self.info(key), "etag", "")

    def create(self, key: str, data: bytes) -> bool:
        """Puts an object where there is none."""
        tries = 0

        def once(fs: Any, path: str) -> bool:
            nonlocal tries
            tries += 1
            try:
                fs.pipe_file(path, data, mode="create")
            except OSError as error:
                if not isinstance(error, FileExistsError) and not _refused_condition(error):
                    raise
                return False
            return True

        if self._call("written", key, once):
            return True
        # the answer to an earlier try may have been lost on its way
        return tries > 1 and self.get(key) == data

    def upload(self, key: str, path: os.PathLike[str]) -> None:
        """Puts a file; it shows only when it is complete."""
        self._call("written", key, lambda fs, target: fs.put_file(os.fspath(path), target))

    def download(self, key: str, path: os.PathLike[str]) -> None:
        """Writes an object to a file.

        Raises:
            FileNotFoundError: there is none.
        """
        self._call("read", key, lambda fs, source: fs.get_file(source, os.fspath(path)))

    def delete(self, key: str) -> None:
        self._call("deleted", key, lambda fs, path: _or_none(fs.rm_file, path))

    def touch(self, key: str) -> bool | None:
        """Makes an object's time the present one; None where this storage has no such call."""
        if self._scheme != "s3":
            return None

        def once(fs: Any, path: str) -> bool:
            fs.cp_file(path, path, MetadataDirective="REPLACE")
            return True

        return bool(self._call("written", key, lambda fs, path: _or_none(once, fs, path)))

    def info(self, key: str) -> Info | None:
        found = self._call("read", key, lambda fs, path: _or_none(fs.info, path))
        return None if found is None or found["type"] != "file" else _info(found)

    def below(self, key: str) -> dict[str, Info]:
        """All objects whose key begins with ``key/``, or all for an empty one."""

        def once(fs: Any, path: str) -> dict[str, Any]:
            return _or_none(lambda: fs.find(path, detail=True)) or {}

        skip = len(self._connected()[1]) + 1
        return {
            path[skip:]: _info(found)
            for path, found in self._call("listed", key, once).items()
            if found["type"] == "file" and not path.endswith("/") and len(path) > skip
        }

    def now(self) -> float:
        """The storage's clock, asked for at most once a minute."""
        if self._clock is None or time.monotonic() - self._clock[1] > _CLOCK_KEPT_S:
            self._clock = self._ask_clock(), time.monotonic()
        return self._clock[0] + time.monotonic() - self._clock[1]

    @property
    def tells_readers(self) -> bool:
        """Whether `now` writes nothing: S3 tells the time with every answer."""
        return self._scheme == "s3"

    def _ask_clock(self) -> float:
        if self.tells_readers:
            said = self._call("read", "", _list_one)
            return parsedate_to_datetime(
                said["ResponseMetadata"]["HTTPHeaders"]["date"]
            ).timestamp()
        key = f".clock-{os.urandom(8).hex()}"
        self.put(key, b"")
        try:
            found = self.info(key)
        finally:
            self.delete(key)
        return found.modified if found else time.time()

    # --- calls and their faults ------------------------------------------------------------------

    def _call(self, what: str, key: str, action: Callable[[Any, str], T]) -> T:
        """Does one call, again and again while the server does not answer.

        Raises:
            StoreError: it cannot be done, or not within `PATIENCE_S`.
            FileNotFoundError: the object is not there.
        """
        place = f"{self.uri}/{key}" if key else self.uri
        system, root = self._connected()
        driver, bucket = DRIVERS[self._scheme], root.partition("/")[0]
        end, pause = time.monotonic() + PATIENCE_S, _FIRST_PAUSE_S
        while True:
            try:
                return action(system, f"{root}/{key}" if key else root)
            except faults(driver) as error:
                reason = in_vain(error, driver, bucket)
                if reason is not None:
                    raise StoreError(f"{place} cannot be {what}: {reason}") from error
                if isinstance(error, FileNotFoundError):
                    raise
                if time.monotonic() > end:
                    raise StoreError(
                        f"{place} cannot be {what}: the storage did not answer within "
                        f"{PATIENCE_S:g} s ({words(error)}); check the network and {driver.place}; "
                        "what was done is kept, and the same command goes on from it"
                    ) from error
                if pause == _FIRST_PAUSE_S:
                    log.warning("%s: trying again (%s)", place, words(error))
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _connected(self) -> tuple[Any, str]:
        if self._connection is None:
            self._connection = connect(self.uri)
        return self._connection


def _or_none(action: Callable[..., T], *arguments: Any) -> T | None:
    try:
        return action(*arguments)
    except FileNotFoundError as error:
        if names_no_bucket(error):
            raise
        return None


def _refused_condition(error: OSError) -> bool:
    """Whether another had created the object, as servers word it that do not name the condition."""
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") in ("PreconditionFailed", "412")


def _list_one(fs: Any, path: str) -> Any:
    """Any answer has the server's time in it; this one also says when there is no bucket."""
    return fs.call_s3("list_objects_v2", Bucket=path.partition("/")[0], MaxKeys=1)


def _info(found: Mapping[str, Any]) -> Info:
    names = ("LastModified", "mtime", "last_modified")
    modified: datetime = next(found[name] for name in names if found.get(name))
    etag = found.get("ETag") or found.get("etag") or modified.isoformat()
    return Info(found["size"], modified.timestamp(), etag)
