"""Reads RD files: CompressAI's JSON, or CSV with a column ``bpp`` and one for each metric.

    {"name": "codec", "results": {"bpp": [0.1, …], "psnr-rgb": [28.3, …]}}      JSON
    bpp,psnr-rgb                                                            CSV
    0.1,28.3

A CSV's columns stand in any order, apart by commas, semicolons or tabs; one without a name is left
out, and a line that begins with # is a comment. A point whose number is missing (null, an empty
cell) or not finite is read as NaN and left to the verdict, which drops and names it.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tcc.errors import DataError
from tcc.registry import unknown

_DELIMITERS = ",;\t"
_COLOURS = "-rgb"  # CompressAI writes psnr in some files and psnr-rgb in others


@dataclass(frozen=True, kw_only=True)
class FileCurve:
    """An RD curve as a file gives it. ``bpp``: bits per pixel, as the file orders them."""

    name: str
    metric: str
    bpp: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RDFile:
    """A file's columns, by name: numbers, None where one is missing, or anything else."""

    path: Path
    name: str
    columns: Mapping[str, Sequence[object]]

    @property
    def metrics(self) -> list[str]:
        """What can be a metric: not the rate, not CompressAI's coding times, not words."""
        return [
            name
            for name, values in self.columns.items()
            if name.lower() != "bpp" and not name.endswith("_time")
            if not values or any(map(_is_number, values))
        ]

    def column_of(self, metric: str) -> str | None:
        """The column of a study's metric: of ``reconstruction/psnr`` what is named so, else
        ``psnr``, else what means the same, as ``psnr-rgb``; None where there is none."""
        names = (metric, metric.rpartition("/")[2])
        found = self.metrics
        return next(filter(None, (_named(name, found) for name in names)), None)

    def curve(self, metric: str | None = None) -> FileCurve:
        """One metric's curve; without ``metric``, of the only one that it has.

        Raises:
            DataError: there is no rate, no such metric, or they are no numbers.
        """
        rate = next((column for column in self.columns if column.lower() == "bpp"), None)
        found = self.metrics
        if rate is None or not found:
            there = ", ".join(map(self._told, self.columns)) or "none"
            raise DataError(
                f'{self.path}: needs a list or column "bpp" and one of a metric, of numbers such '
                f"as 0.1; there are: {there}"
            )
        if metric is None:
            if len(found) > 1:
                raise DataError(
                    f"{self.path}: has several metrics ({', '.join(found)}); give --metric"
                )
            metric = found[0]
        column = _named(metric, found)
        if column is None:
            raise DataError(f"{self.path}: {unknown('metric', metric, tuple(found))}")
        bpp, values = (self._numbers(item) for item in (rate, column))
        if len(bpp) != len(values):
            raise DataError(
                f"{self.path}: {rate} has length {len(bpp)} and {column} has length {len(values)}; "
                "give one of each for every point"
            )
        return FileCurve(name=self.name, metric=column, bpp=bpp, values=values)

    def _told(self, column: str) -> str:
        """A column by its name, and the first that is no number in it."""
        words = [it for it in self.columns[column] if it is not None and not _is_number(it)]
        return f"{column} ({words[0]!r:.40})" if words else column

    def _numbers(self, column: str) -> tuple[float, ...]:
        numbers = []
        for value in self.columns[column]:
            if value is not None and not _is_number(value):
                raise DataError(
                    f"{self.path}: {column}: {value!r:.60} is not a number; write it such as 0.1"
                )
            try:
                numbers.append(math.nan if value is None else float(value))  # type: ignore[arg-type]
            except OverflowError as error:  # an integer of hundreds of digits
                raise DataError(f"{self.path}: {column}: a number is too large") from error
        return tuple(numbers)


def read_curve(path: str | os.PathLike[str], metric: str | None = None) -> FileCurve:
    """One metric's curve of an RD file; without ``metric``, the only one that it has.

    Raises:
        DataError: the file cannot be read, is neither format, or does not say which metric.
    """
    return read_file(path).curve(metric)


def read_file(path: str | os.PathLike[str]) -> RDFile:
    """All that an RD file holds.

    Raises:
        DataError: the file cannot be read, or is neither format.
    """
    return parse_file(path, read_text(Path(path)))


def parse_file(path: str | os.PathLike[str], text: str) -> RDFile:
    """`read_file` of a text that was read from ``path``.

    Raises:
        DataError: the text is neither format.
    """
    path = Path(path)
    if is_json(text):
        return _read_json(path, text)
    return RDFile(path=path, name=path.stem, columns=_read_csv(path, text))


def read_text(path: Path, kept: str = "") -> str:
    """A file's text, without a byte order mark; where it is not there, what was kept of it.

    Raises:
        DataError: it cannot be read or is no text.
    """
    if kept and not path.exists():
        return kept
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a text file in UTF-8") from error
    if "\0" in text:
        raise DataError(f"{path}: is not a text file")
    return text


def is_json(text: str) -> bool:
    """Whether a file's text is meant as JSON; what is not is CSV."""
    return text.lstrip()[:1] in ("{", "[")


def same_metric(one: str, other: str) -> bool:
    """Whether two files mean one metric: ``PSNR`` and ``psnr-rgb``, ``ms_ssim`` and ``MS-SSIM``."""
    return _stem(one) == _stem(other)


def read_rows(path: Path, text: str) -> tuple[list[str], list[list[str]]]:
    """The header and the other rows of a CSV file, as wide as the header; comments left out.

    Raises:
        DataError: the text is no CSV, or its rows do not fit the header.
    """
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    first = lines[0] if lines else ""
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error as error:
        raise DataError(f"{path}: is not valid CSV: {error}") from error
    header, *points = [row for row in rows if any(row)] or [[]]
    named = [name for name in header if name]
    if len(set(named)) != len(named):
        raise DataError(f"{path}: two columns have the same name: {', '.join(header)}")
    for number, row in enumerate(points, start=1):
        if len(row) != len(header):
            raise DataError(
                f"{path}: point {number} has {len(row)} cells, not {len(header)}: "
                f"{delimiter.join(row)!r:.60}; give one for each column, decimals such as 0.1"
            )
    return header, points


def _read_json(path: Path, text: str) -> RDFile:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not valid JSON: {error}") from error
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise DataError(f'{path}: has no "results", such as {{"results": {{"bpp": [0.1], ...}}}}')
    columns = {name: values for name, values in results.items() if isinstance(values, list)}
    return RDFile(path=path, name=str(content.get("name") or path.stem), columns=columns)


def _read_csv(path: Path, text: str) -> Mapping[str, Sequence[object]]:
    header, points = read_rows(path, text)
    return {
        name: [_cell(row[index]) for row in points] for index, name in enumerate(header) if name
    }


def _cell(text: str) -> object:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _named(metric: str, found: Sequence[str]) -> str | None:
    """The column of a metric: its very name, its name in another case, or what means the same."""
    for same in (str.__eq__, lambda one, other: one.lower() == other.lower(), same_metric):
        names = [name for name in found if same(name, metric)]
        if len(names) == 1:
            return names[0]
    return None


def _stem(metric: str) -> str:
    return metric.lower().replace("_", "-").removesuffix(_COLOURS)
