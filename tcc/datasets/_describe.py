"""Keeps what data sets say of themselves, as long as their files stay as they are. Free of torch.

A large data set takes seconds to describe and every command asks for it; whether a file changed is
told by size and time in a fraction of that.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tcc.errors import DataError
from tcc.formats import atomic
from tcc.records import SCHEMA, DatasetInfo

if TYPE_CHECKING:
    from tcc.datasets import Dataset

log = logging.getLogger("tcc.datasets")


@contextmanager
def reading() -> Iterator[None]:
    """Makes what the system refuses in the block an error that names the file.

    Raises:
        DataError: a file or folder cannot be read.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise DataError(f"the data set cannot be read ({error})") from error
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error


class _Kept(msgspec.Struct):
    stamp: str  # of the files when they were described
    info: DatasetInfo


def describe(plugin: Dataset, params: Any) -> DatasetInfo:
    """What a data set holds: from its plug-in, or from $TCC_CACHE (by default ~/.cache/tcc) where
    no file among its `sources` was added, removed or written since. Errors are not kept.

    Raises:
        DataError: the root or a needed part of it is missing, malformed or cannot be read.
    """
    with reading():
        sources = sorted(os.path.realpath(source) for source in plugin.sources(params))
        if not sources:
            return plugin.describe(params)
    stamp = _stamp(sources)
    written = params.model_dump(mode="json")
    identity = [SCHEMA, type(plugin).__module__, plugin.version, written, sources]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    name = f"{digest.hexdigest()[:32]}.json"
    kept = _read(name)
    if kept is not None and kept.stamp == stamp:
        return kept.info
    with reading():
        info = plugin.describe(params)
    _write(name, _Kept(stamp=stamp, info=info))
    return info


def _stamp(sources: Iterable[str]) -> str:
    """A hash of the path, size and time of writing of every file among and below the sources."""
    digest = hashlib.sha256()
    waiting, seen = list(sources), set[tuple[int, int]]()
    while waiting:
        path = waiting.pop()
        files, folders = [], []
        try:
            state = os.stat(path)  # noqa: PTH116 (as text: pathlib would take twice as long)
            if not stat.S_ISDIR(state.st_mode):
                files.append(_line("", state))
            elif (state.st_dev, state.st_ino) not in seen:  # else it is a link to one above
                seen.add((state.st_dev, state.st_ino))
                with os.scandir(path) as entries:
                    for entry in entries:
                        if entry.is_dir():
                            folders.append(entry.path)
                        else:
                            files.append(_line(entry.name, _state(entry)))
        except OSError as error:
            files.append(str(error.strerror))
        digest.update("\n".join([path, *sorted(files), ""]).encode(errors="surrogateescape"))
        waiting += sorted(folders)
    return digest.hexdigest()[:32]


def _state(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except FileNotFoundError:  # a link to nowhere
        return entry.stat(follow_symlinks=False)


def _line(name: str, state: os.stat_result) -> str:
    return f"{name}\0{state.st_size}\0{state.st_mtime_ns}"


def _folder() -> Path:
    given = os.environ.get("TCC_CACHE")
    folder = Path(given).expanduser() if given else Path.home() / ".cache" / "tcc"
    return folder / "descriptions"


def _read(name: str) -> _Kept | None:
    try:
        return msgspec.json.decode((_folder() / name).read_bytes(), type=_Kept)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: there is no home
        return None


def _write(name: str, kept: _Kept) -> None:
    try:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(folder / name, msgspec.json.encode(kept))
    except (OSError, RuntimeError) as error:
        _tell(str(error))


@cache
def _tell(reason: str) -> None:
    """Once a process, not once a data set."""
    log.warning(
        "descriptions of data sets cannot be kept (%s) and are made anew by every command; "
        "set TCC_CACHE to a folder that can be written",
        reason,
    )
