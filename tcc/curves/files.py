"""RD files from anywhere: CompressAI's JSON and CSV in, CompressAI's JSON out, verdicts as text.

    {"name": "…", "results": {"bpp": [0.1, …], "psnr-rgb": [28.3, …]}}      JSON
    bpp,psnr-rgb                                                            CSV
    0.1,28.3

A point whose number is missing (null, an empty cell) or not finite is read as NaN and left to the
verdict, which drops and names it.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcc.curves.bdrate import verdict
from tcc.errors import DataError
from tcc.records import BDRate, RDCurve
from tcc.registry import unknown

_LOWER = {"rmse", "mse", "mae", "loss", "error", "lpips", "dists", "fid", "nll", "perplexity"}
_HIGHER = {"psnr", "ssim", "map", "miou", "iou", "accuracy", "top1", "top5", "vmaf", "f1"}


@dataclass(frozen=True, kw_only=True)
class FileCurve:
    """An RD curve as a file gives it. ``bpp``: bits per pixel, as the file orders them."""

    name: str
    metric: str
    bpp: tuple[float, ...]
    values: tuple[float, ...]


def read_curve(path: str | os.PathLike[str], metric: str | None = None) -> FileCurve:
    """One metric's curve of an RD file; without ``metric``, the only one that it has.

    Raises:
        DataError: the file cannot be read, is neither format, or does not say which metric.
    """
    return _curve(Path(path), *_read(Path(path)), metric)


def verdict_on_files(
    anchor: str | os.PathLike[str],
    test: str | os.PathLike[str],
    *,
    metric: str | None = None,
    lower_is_better: bool = False,
) -> BDRate:
    """The verdict on two RD files; without ``metric``, on the only one that they share.

    Raises:
        DataError: as `read_curve`.
    """
    paths = Path(anchor), Path(test)
    files = _read(paths[0]), _read(paths[1])
    if metric is None:
        shared = [name for name in _metrics(files[0][1]) if name in _metrics(files[1][1])]
        metric = shared[0] if len(shared) == 1 else None
    curves = [_curve(path, *file, metric) for path, file in zip(paths, files, strict=True)]
    if curves[0].metric.lower() != curves[1].metric.lower():
        raise DataError(
            f"{paths[0]} holds {curves[0].metric!r} and {paths[1]} holds {curves[1].metric!r}: a "
            "BD-rate compares one metric"
        )
    return verdict(
        curves[0].bpp,
        curves[0].values,
        curves[1].bpp,
        curves[1].values,
        metric=curves[0].metric,
        higher_is_better=not lower_is_better,
        anchor=curves[0].name,
        test=curves[1].name,
        cautions=_direction(curves[0].metric, lower_is_better),
    )


def curve_json(curve: RDCurve, name: str) -> dict[str, Any]:
    """A curve in CompressAI's JSON format; the metric under its name without the task."""
    return {
        "name": name,
        "description": f"{curve.key.metric} on {curve.key.dataset}, {curve.key.split} split",
        "results": {
            "bpp": [_number(point.rate_bpp) for point in curve.points],
            curve.key.metric.rpartition("/")[2]: [_number(point.value) for point in curve.points],
        },
    }


def bdrate_json(result: BDRate) -> dict[str, Any]:
    """A verdict as `tcc bdrate --json` prints it."""
    return {
        "metric": result.metric,
        "bd_rate_percent": result.percent,
        "cross_checks": dict(result.cross_checks),
        "overlap": result.overlap,
        "points": dict(result.num_points),
        "dropped": list(result.dropped),
        "interval": None if result.interval is None else list(result.interval),
        "verdict": result.verdict,
        "reasons": list(result.reasons),
    }


def bdrate_text(result: BDRate) -> str:
    """A verdict in plain lines."""
    checks = ", ".join(f"{name} {_percent(value)}" for name, value in result.cross_checks.items())
    lines = [
        f"BD-rate ({result.metric}): {_percent(result.percent)} by PCHIP, {result.verdict}",
        f"  anchor        {result.anchor}",
        f"  test          {result.test}",
        f"  cross-checks  {checks}",
        f"  overlap       {result.overlap:.1%}",
        f"  points        anchor {result.num_points['anchor']}, test {result.num_points['test']}",
    ]
    if result.interval is not None:
        low, high = result.interval
        lines.append(f"  95 % interval {low:+.2f} to {high:+.2f} %")
    lines += [f"  dropped       {item}" for item in result.dropped]
    lines += [f"  because       {reason}" for reason in result.reasons]
    return "\n".join(lines)


_Columns = Mapping[str, Sequence[object]]  # numbers; None where one is missing; anything else


def _read(path: Path) -> tuple[str, _Columns]:
    """The name and the columns of a file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a text file in UTF-8") from error
    if text.lstrip()[:1] in ("{", "["):
        return _read_json(path, text)
    return path.stem, _read_csv(path, text)


def _read_json(path: Path, text: str) -> tuple[str, _Columns]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not valid JSON: {error}") from error
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise DataError(f'{path}: has no "results", such as {{"results": {{"bpp": [0.1], ...}}}}')
    columns = {name: values for name, values in results.items() if isinstance(values, list)}
    return str(content.get("name") or path.stem), columns


def _read_csv(path: Path, text: str) -> _Columns:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    except csv.Error as error:
        raise DataError(f"{path}: is not valid CSV: {error}") from error
    header, *points = [row for row in rows if any(row)] or [[]]
    if len(set(header)) != len(header):
        raise DataError(f"{path}: two columns have the same name: {', '.join(header)}")
    for number, row in enumerate(points, start=1):
        if len(row) != len(header):
            raise DataError(f"{path}: point {number} has {len(row)} cells, not {len(header)}")
    return {name: [_cell(row[index]) for row in points] for index, name in enumerate(header)}


def _cell(text: str) -> object:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _metrics(columns: _Columns) -> list[str]:
    """What can be a metric: not the rate, not CompressAI's coding times, not words."""
    return [
        name
        for name, values in columns.items()
        if name.lower() != "bpp" and not name.endswith("_time")
        if not values or any(map(_is_number, values))
    ]


def _curve(path: Path, name: str, columns: _Columns, metric: str | None) -> FileCurve:
    rate = next((column for column in columns if column.lower() == "bpp"), None)
    found = _metrics(columns)
    if rate is None or not found:
        there = ", ".join(columns) or "none"
        raise DataError(f'{path}: needs a list "bpp" and one of a metric; there are: {there}')
    if metric is None:
        if len(found) > 1:
            raise DataError(f"{path}: has several metrics ({', '.join(found)}); give --metric")
        metric = found[0]
    same = [column for column in found if column.lower() == metric.lower()]
    if not same:
        raise DataError(f"{path}: {unknown('metric', metric, tuple(found))}")
    column = metric if metric in same else same[0]
    bpp, values = (_numbers(path, item, columns[item]) for item in (rate, column))
    if len(bpp) != len(values):
        raise DataError(
            f"{path}: {rate} has length {len(bpp)} and {column} has length {len(values)}; "
            "give one of each for every point"
        )
    return FileCurve(name=name, metric=column, bpp=bpp, values=values)


def _numbers(path: Path, column: str, values: Sequence[object]) -> tuple[float, ...]:
    numbers = []
    for value in values:
        if value is not None and not _is_number(value):
            raise DataError(f"{path}: {column}: {value!r:.60} is not a number")
        try:
            numbers.append(math.nan if value is None else float(value))  # type: ignore[arg-type]
        except OverflowError as error:  # an integer of hundreds of digits
            raise DataError(f"{path}: {column}: a number is too large") from error
    return tuple(numbers)


def _direction(metric: str, lower_is_better: bool) -> list[str]:
    """A caution where a metric's name speaks against the direction given."""
    words = set(re.split(r"[^a-z0-9]+", metric.lower()))
    if words & _LOWER and not lower_is_better:
        return [f"{metric} was taken as higher is better; its name suggests --lower-is-better"]
    if words & _HIGHER and lower_is_better:
        return [f"{metric} was taken as lower is better; its name suggests the opposite"]
    return []


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:+.2f} %"
