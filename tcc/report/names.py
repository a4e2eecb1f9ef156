"""The files of single curves: their names, and what the curves are called in them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence

from tcc.records import CurveKey, RDCurve
from tcc.report.words import curve_text, pair_text

MAX_NAME = 160  # characters


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
