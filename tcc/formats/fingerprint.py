"""What tells one state of a data set from another: cheap, and blind to paths and times."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tcc.errors import DataError


def fingerprint_files(
    root: Path,
    *,
    images: Iterable[Path],
    annotations: Iterable[Path] = (),
) -> str:
    """Hash of the images' names (relative to ``root``) and byte sizes, in order, and of the
    annotations' names and contents. An image exchanged for another of equal size in bytes goes
    unseen.

    Raises:
        DataError: a file is missing.
    """
    digest = hashlib.sha256()
    try:
        for path in images:
            digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\n".encode())
        for path in annotations:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()[:32]
