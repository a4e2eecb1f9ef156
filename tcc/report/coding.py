"""Estimated and coded rates side by side, as the page shows them."""

from __future__ import annotations

from typing import Any

from tcc.curves.coding import CurveGap
from tcc.report.words import curve_text, number, pair_text

COLUMNS = (
    *("curve", "tasks", "measured on", "rate of the curve", "points", "images coded"),
    *("files above the estimate", "least to most", "of which headers"),
)


def coding_cells(gap: CurveGap) -> tuple[str, ...]:
    """One row of the table, by `COLUMNS`."""
    key = gap.key
    return (
        curve_text(key),
        pair_text(key.tasks),
        f"{key.dataset} {key.split}",
        key.source or "any",
        str(gap.points),
        str(gap.images),
        f"{number(gap.percent, '+.2f')} %",
        f"{number(gap.least, '+.2f')} to {number(gap.most, '+.2f')} %",
        f"{gap.headers_percent:.2f} %",
    )


def coding_json(gap: CurveGap) -> dict[str, Any]:
    """The same for programs; percent are of the estimate."""
    key = gap.key
    return {
        "family": key.family,
        "tasks": list(key.tasks),
        "dataset": key.dataset,
        "split": key.split,
        "source": key.source,
        "fixed": dict(key.fixed),
        "variant": key.variant,
        "points": gap.points,
        "images": gap.images,
        "gap_percent": gap.percent,
        "least_percent": gap.least,
        "most_percent": gap.most,
        "headers_percent": gap.headers_percent,
    }
