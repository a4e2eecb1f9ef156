"""What tells one state of a data set from another: cheap, and blind to paths and times."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from tcc.errors import DataError

UNCOMPRESSED = (".bmp", ".pgm", ".ppm", ".tif", ".tiff")  # of one size in bytes, whatever they show


def fingerprint_files(
    root: Path,
    *,
    images: Iterable[Path | str],
    annotations: Iterable[Path] = (),
) -> str:
    """Hash of the images' names (relative to ``root``) and byte sizes, in order, and of the
    annotations' names and contents: 3 µs an image, 2 s a GB of annotations. Of formats that do not
    compress the contents count, too; another image exchanged for one of equal size in bytes goes
    unseen. Of files that lie elsewhere the bare name counts.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    inside = f"{root}{os.sep}"

    def add(path: Path | str, what: object) -> None:
        name = os.fspath(path)
        name = name[len(inside) :] if name.startswith(inside) else name.rpartition(os.sep)[2]
        digest.update(f"{name}\0{what}\n".encode(errors="surrogateescape"))

    try:
        for path in images:
            if os.fspath(path).lower().endswith(UNCOMPRESSED):
                add(path, content_sha256(path))
            else:
                add(path, os.stat(path).st_size)  # noqa: PTH116 (twice as fast as pathlib)
        for path in annotations:
            add(path, content_sha256(path))
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()[:32]


def content_sha256(path: Path | str) -> str:
    """Hash of a file's contents.

    Raises:
        OSError: it is missing or cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
