"""The files of single curves: their names, what the curves are called in them, and writing them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from tcc.curves.bulk import spread
from tcc.curves.files import curve_json
from tcc.records import CurveKey, RDCurve
from tcc.report.words import curve_text, pair_text

MAX_NAME = 160  # characters
CHUNK = 64  # files that a process writes at a time


def write_curves(
    curves: Sequence[RDCurve], folder: Path, pool: Executor | None = None
) -> Iterator[str]:
    """Writes each curve that has a rate straight into its file, as there may be thousands: a report
    without a stamp is drawn again. Gives the files' names. The workers of a ``pool`` begin at
    once."""
    (folder / "curves").mkdir(exist_ok=True)
    wanted = [(name, curve_json(curve, curve_title(curve.key))) for name, curve in named(curves)]
    parts = [wanted[at : at + CHUNK] for at in range(0, len(wanted), CHUNK)]
    return chain.from_iterable(spread(pool, partial(_write, folder=folder), parts))


def _write(wanted: Sequence[tuple[str, dict[str, Any]]], folder: Path) -> list[str]:
    for name, content in wanted:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name, _ in wanted]


def named(curves: Sequence[RDCurve]) -> Iterator[tuple[str, RDCurve]]:
    """A file name for each curve that has a rate. Names that had to be cut end in a hash."""
    for curve in curves:
        if not all(math.isfinite(point.rate_bpp) for point in curve.points):
            continue
        key = curve.key
        fixed = [f"{axis}={value:g}" for axis, value in key.fixed.items()]
        parts = [key.family, *key.tasks, key.method, key.trained_on, key.dataset, key.split]
        parts += [
            key.source,
            key.metric.rpartition("/")[2],
            *fixed,
            key.variant,
            f"seed={key.seed}",
        ]
        text = "-".join(part for part in parts if part)
        name = re.sub(r"[^\w.=+-]", "_", text)[:MAX_NAME]
        if name != text:
            name += "-" + hashlib.sha256(repr(key).encode()).hexdigest()[:8]
        yield f"curves/{name}.json", curve


def curve_title(key: CurveKey) -> str:
    """What a curve is called in its file."""
    return f"{pair_text(key.tasks)}: {curve_text(key)}, seed {key.seed}"
