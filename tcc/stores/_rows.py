"""Metric rows: one JSON object a line, added while a trial runs; a killed writer tears one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tcc.errors import RecordError
from tcc.stores._disk import reading, writing


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Adds one row, after cutting off what a killed writer left unfinished.

    Raises:
        RecordError: a value is not a finite number or not JSON.
        StoreError: the file cannot be written.
    """
    try:
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path}: row {dict(row)} cannot be written: {error}") from None
    with writing(path), path.open("a+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end and not _ends_line(file, end):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line)


def read_rows(path: Path, report: Callable[[int], object]) -> Iterator[dict[str, Any]]:
    """The rows of a file. A torn last line is left out; another unreadable one is left out too,
    and its number, from 1, told to ``report``."""
    with reading(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            row = _parse(line)
            if row is not None:
                yield row
            elif line.endswith(b"\n"):
                report(number)


def last_said(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the order of their ``step``: one that comes again, with a value that its step had
    before, takes back all that was said from there on."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        end = len(kept)
        while end and kept[end - 1]["step"] >= row["step"]:
            end -= 1
        again = (
            index
            for index in range(end, len(kept))
            if kept[index]["step"] > row["step"] or kept[index].keys() & row.keys() > {"step"}
        )
        del kept[next(again, len(kept)) :]
        kept.append(dict(row))
    return kept


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _ends_line(file: Any, end: int) -> bool:
    file.seek(end - 1)
    return file.read(1) == b"\n"
