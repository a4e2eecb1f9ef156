"""What a disk says when it cannot, in words, and how files become durable on it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tcc.errors import StoreError, TccError

_KEPT = "what was done is kept, and the same command goes on from it"
_FIXES = {
    "the disk is full": f"free space, or give another --store; {_KEPT}",
    "it is read-only": f"make it writable, or give another --store; {_KEPT}",
}
_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EROFS: "it is read-only",
    errno.EACCES: "it is read-only",
    errno.EPERM: "it is read-only",
}
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # what folders of some file systems answer
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
_RUST = re.compile(r"\(os error (\d+)\)")  # how safetensors, written in it, words an OSError


@contextmanager
def reading(path: Path, what: str = "read", *, missing: bool = True) -> Iterator[None]:
    """Makes what the disk refuses a `StoreError` that names the file; without ``missing``, a
    `FileNotFoundError` stays one. Knows the errors of libraries that are written in Rust, too."""
    try:
        yield
    except Exception as error:
        refused = _refused(error)
        if refused is None or (isinstance(error, FileNotFoundError) and not missing):
            raise
        raise StoreError(f"{path} cannot be {what} ({refused.strerror or refused})") from error


@contextmanager
def writing(path: Path, what: str = "written") -> Iterator[None]:
    """`reading` for what changes a file; says what can be done about a full disk or a read-only
    one."""
    try:
        yield
    except Exception as error:
        refused = _refused(error)
        if refused is None:
            raise
        raise StoreError(_told(path, what, refused)) from error


def sha256_of(path: Path) -> str:
    """The hash of a file's content."""
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Waits until a file's content is on the disk; for a folder, until its names are."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC or not path.is_dir():
            raise
    finally:
        os.close(handle)


def link(source: Path, target: Path) -> bool:
    """Gives a file a second name where that is free: False where it is not.

    Raises:
        NotImplementedError: the file system has no hard links.
    """
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return source.stat().st_nlink == 2  # over NFS, the answer to a first try may be lost
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise NotImplementedError from error
    return True


def _refused(error: Exception) -> OSError | None:
    """What the disk said, if an error is of that kind."""
    found = None if isinstance(error, TccError) else _RUST.search(str(error))
    if found is not None:
        return OSError(int(found[1]), os.strerror(int(found[1])))
    return error if isinstance(error, OSError) else None


def _told(path: Path, what: str, error: OSError) -> str:
    said = error.strerror or str(error)
    cause = _CAUSES.get(error.errno or 0)
    if cause is None:
        return f"{path} cannot be {what} ({said})"
    return f"{path} cannot be {what}, {cause} ({said}): {_FIXES[cause]}"
