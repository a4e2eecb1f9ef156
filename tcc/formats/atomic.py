"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file in one step: readers see the old content or the new, never a part.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    scratch = scratch_name(path)
    try:
        scratch.write_bytes(data)
        scratch.replace(path)
    except OSError as error:
        raise _of(path, error) from error
    finally:
        with suppress(OSError):
            scratch.unlink()


def write_json(stem: Path, content: Mapping[str, Any]) -> Path:
    """Writes ``stem``.json in one step, and gives its path."""
    path = stem.with_name(f"{stem.name}.json")
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())
    return path


@contextmanager
def all_or_none(folder: Path) -> Iterator[Path]:
    """Gives a folder to write files to. They come into ``folder`` once nothing has failed; till
    then, what is there stays as it is.

    Raises:
        OSError: one cannot be written; names it as a file of ``folder``.
    """
    scratch = scratch_name(folder / "files")
    try:
        scratch.mkdir()
        yield scratch
        made = sorted(scratch.iterdir())
        for path in made:
            if (folder / path.name).is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        for path in made:
            path.replace(folder / path.name)
    except OSError as error:
        path = Path(error.filename or scratch)
        raise _of(folder if path == scratch else folder / path.name, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def scratch_name(path: Path) -> Path:
    """A hidden, unused name beside ``path``, however long that one's is. Unlike `tempfile`, what is
    made under it keeps the user's own permissions, so that a shared cache stays readable for the
    group."""
    return path.with_name(f".tcc-{os.getpid()}-{secrets.token_hex(4)}")


def _of(path: Path, error: OSError) -> OSError:
    """What the system said, of the file that was meant."""
    return OSError(error.errno, error.strerror, str(path))
