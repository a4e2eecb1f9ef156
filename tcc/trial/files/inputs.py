"""Many inputs in one go: which files, in groups of one size, and what came of each.

What is wrong with one of them is told at the end; the others are done.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import Progress

from tcc.codec.geometry import Size
from tcc.errors import DataError, OutputError, TccError
from tcc.formats import atomic
from tcc.trial import memory
from tcc.trial.order import EVALUATION_BATCH, EVALUATION_PIXELS

_NO_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input that was read. Those of equal ``size`` and ``kin`` may be worked on together."""

    path: Path
    size: Size
    kin: Hashable = None


Item = TypeVar("Item", bound=Input)


@dataclass(frozen=True, kw_only=True)
class Coded:
    """An image and its file, or a file and what was decoded of it. ``layer_bytes``: payloads from
    the base up; ``num_bytes``: of the file with its headers; both as far as it was read."""

    source: Path
    outputs: tuple[Path, ...]
    trial: str
    size: Size
    layer_bytes: tuple[int, ...]
    num_bytes: int

    @property
    def bpp(self) -> float:
        """Bits of the file for each pixel, as far as it was read."""
        return 8 * self.num_bytes / (self.size[0] * self.size[1])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "source": _plain(self.source),
            "outputs": [_plain(path) for path in self.outputs],
            "trial": self.trial,
            "size": list(self.size),
            "bytes": self.num_bytes,
            "layer_bytes": list(self.layer_bytes),
            "bpp": self.bpp,
        }


@dataclass(kw_only=True)
class Outcome:
    """What came of the inputs of a verb, ``encoded`` or ``decoded``. ``failed``: input → why."""

    verb: str
    done: list[Coded] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        failed = [{"source": _plain(path), "reason": _plain(x)} for path, x in self.failed.items()]
        return {"done": [item.to_json() for item in self.done], "failed": failed}

    def summary(self) -> str:
        """One line on what was done."""
        count, total = len(self.done), sum(item.num_bytes for item in self.done)
        mean_bpp = sum(item.bpp for item in self.done) / max(1, count)
        what = ("image" if self.verb == "encoded" else "file") + "s" * (count != 1)
        return f"{self.verb} {count} {what}: {total} bytes, {mean_bpp:.4f} bpp on average"

    def complaint(self) -> str:
        """What failed, one line each."""
        lines, count = list(self.failed.values()), len(self.done) + len(self.failed)
        if count > 1:
            lines.insert(0, f"{len(lines)} of {count} could not be {self.verb}:")
        return "\n  ".join(lines)


def listed(
    given: Sequence[Path], within: Callable[[Path], list[Path]], stem: Callable[[Path], str]
) -> list[Path]:
    """The files to work on: those given and, of folders, those ``within``.

    Raises:
        DataError: a folder holds none.
        OutputError: what is made of two of them would have one name.
    """
    found: dict[Path, Path] = {}
    for path in given:
        # not `Path.is_dir`, which raises where the system refuses: who reads the file tells of it
        is_folder = os.path.isdir(path)  # noqa: PTH112
        for file in within(path) if is_folder else [path]:
            found.setdefault(file.absolute(), file)
    named: dict[str, Path] = {}
    for file in found.values():
        if (other := named.setdefault(stem(file), file)) != file:
            raise OutputError(
                f"{other} and {file}: what is made of both would be named {stem(file)!r}, and one "
                "would overwrite the other; give them in two commands with an -o each"
            )
    return list(found.values())


def make_folder(folder: Path) -> None:
    """Makes a folder where there is none, and tries whether it can be written to.

    Raises:
        OutputError: it cannot.
    """
    probe = atomic.scratch_name(folder / "probe")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written to ({error.strerror}); give a folder that can with -o"
        ) from error


def work_all(
    outcome: Outcome,
    paths: Sequence[Path],
    read: Callable[[Path], Item],
    work: Callable[[Sequence[Item]], list[Coded]],
) -> Outcome:
    """Reads each input and works on groups of them; a group that fails, one by one.

    Raises:
        OutputError: the disk is full, or was made read-only.
    """

    def attempt(path: Path, items: Sequence[Item]) -> bool:
        try:
            with _writing(), memory.explained(torch.device("cpu"), *_memory_of(items)):
                outcome.done += work(items)
        except TccError as error:
            _fail(outcome, path, error)
            return False
        return True

    def flush(items: list[Item]) -> None:
        before = outcome.failed.copy()
        if items and not attempt(items[0].path, items) and len(items) > 1:
            outcome.failed = before
            for item in items:
                attempt(item.path, [item])
        tick(len(items))
        items.clear()

    waiting: list[Item] = []
    with _progress(outcome.verb, len(paths)) as tick:
        for path in paths:
            try:
                with memory.explained(torch.device("cpu"), *_memory_of([])):
                    item = read(path)
            except TccError as error:
                _fail(outcome, path, error)
                tick(1)
                continue
            if waiting and not _fits(item, waiting):
                flush(waiting)
            waiting.append(item)
        flush(waiting)
    order = {path: place for place, path in enumerate(paths)}
    outcome.failed = dict(sorted(outcome.failed.items(), key=lambda item: order[item[0]]))
    return outcome


def _fits(item: Input, group: Sequence[Input]) -> bool:
    height, width = item.size
    limit = min(EVALUATION_BATCH, EVALUATION_PIXELS // (height * width))
    return (item.size, item.kin) == (group[0].size, group[0].kin) and len(group) < limit


def _fail(outcome: Outcome, path: Path, error: TccError) -> None:
    said = str(error)
    outcome.failed[path] = said if str(path) in said else f"{path}: {said}"


def _memory_of(items: Sequence[Input]) -> tuple[str, str]:
    """What is being done, and what helps where memory does not suffice for it."""
    size = "×".join(map(str, items[0].size)) if items else "many"
    return f"an image of {size} pixels", "give a smaller image, or cut it into parts"


@contextmanager
def _writing() -> Iterator[None]:
    """Makes what the system refuses a `TccError`; one that concerns all ends the work.

    Raises:
        OutputError: one file cannot be written.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or "a file"
        if error.errno in _NO_DISK:
            raise
        raise OutputError(f"{where}: cannot be written ({error.strerror})") from error


@contextmanager
def _progress(verb: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(verb, total=total)
        try:
            yield lambda count: bar.advance(task, count)
        except OSError as error:
            raise OutputError(
                f"{error.filename or 'a file'}: cannot be written ({error.strerror}); what was "
                f"{verb} before is kept"
            ) from error


def _plain(text: object) -> str:
    """Of a file name that is not UTF-8, what can be printed."""
    return str(text).encode(errors="replace").decode()


def list_files(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder itself that end so, by name.

    Raises:
        DataError: there is none, or the folder cannot be read.
    """
    try:
        found = sorted(
            path
            for path in folder.iterdir()
            if path.name.endswith(suffix) and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    if not found:
        raise DataError(f"{folder}: no {suffix} file in this folder itself")
    return found
