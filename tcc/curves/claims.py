"""A table of published curves: a verdict on each against its panel's baseline, and on each claim.

    figure,panel,role,dataset,metric,method,bpp,value
    Fig3,a,detection (base task),COCO 2017,mAP,Baseline,0.316,0.318

A column ``claim`` may give the BD-rate, in percent, that was published of a method's curve; those
of the paper that tcc was made for are known. A row without a rate holds a level: the metric without
compression.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcc.curves.bdrate import MAX_DISAGREEMENT, METHOD, verdict
from tcc.curves.files import bdrate_json, bdrate_text, direction, lower_is_better
from tcc.errors import DataError
from tcc.formats.rd import is_json, read_rows, read_text, same_metric
from tcc.records import BDRate
from tcc.registry import unknown

BASELINE = "Baseline"
STANDS, IN_SIGN, FALLS = "stands", "stands in sign, not in size", "does not stand"
# "Towards Task-Compatible Compressible Representations", figures 3 to 6, its proposed method
# against its baseline: figure, panel, role → percent, by a least-squares cubic on all points
PAPER = {
    ("Fig3", "a", "detection (base task)"): -1.295,
    ("Fig3", "b", "depth (base task)"): -74.79,
    ("Fig4", "b", "direct reconstruction from depth base"): -85.19,
    ("Fig5", "a", "scalable reconstruction, detection side-information"): -10.32,
    ("Fig5", "b", "scalable reconstruction, depth side-information"): -22.17,
    ("Fig6", "", "depth -> semantic segmentation (scalable)"): -26.15,
}
_PROPOSED = "Proposed"
_PANEL = ("figure", "panel", "role", "dataset", "metric")
_NEEDED = ("metric", "method", "bpp", "value")

Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One curve of a table against its baseline. ``percent``: what was published of it, None where
    nothing was."""

    panel: Mapping[str, str]  # figure, panel, role, dataset, metric: as far as the table has them
    percent: float | None
    result: BDRate

    @property
    def title(self) -> str:
        """``Fig3 a, detection (base task), COCO 2017``."""
        figure = " ".join(filter(None, (self.panel.get(name) for name in ("figure", "panel"))))
        return ", ".join(filter(None, (figure, self.panel.get("role"), self.panel.get("dataset"))))

    @property
    def under(self) -> tuple[str, ...]:
        """The interpolations whose BD-rate is within 2 points of the claim."""
        values = {METHOD: self.result.percent, **self.result.cross_checks}
        return tuple(
            name
            for name, value in values.items()
            if None not in (value, self.percent) and abs(value - self.percent) <= MAX_DISAGREEMENT  # type: ignore[operator]
        )

    @property
    def finding(self) -> str | None:
        """Whether the claim stands by the headline interpolation; None where nothing is claimed."""
        if self.percent is None:
            return None
        if METHOD in self.under:
            return STANDS
        found = self.result.percent
        return IN_SIGN if found is not None and found * self.percent > 0 else FALLS

    @property
    def text(self) -> str:
        """The finding in a sentence, with what speaks against it."""
        if self.percent is None:
            return "nothing is claimed"
        values = {METHOD: self.result.percent, **self.result.cross_checks}
        said = ", ".join(
            f"{name} none" if value is None else f"{name} {value:+.2f} %"
            for name, value in values.items()
        )
        within = f"within {MAX_DISAGREEMENT:g} points under {', '.join(self.under)}"
        if not self.under:
            within = f"under no interpolation within {MAX_DISAGREEMENT:g} points"
        why = [reason for reason in self.result.reasons if not reason.startswith("instead")]
        head = f"claimed {self.percent:+.4g} %: {self.finding} ({self.result.verdict}; {said})"
        return "; ".join([f"{head}; {within}", *why])


def claims(
    path: str | os.PathLike[str],
    *,
    baseline: str | None = None,
    metric: str | None = None,
    lower: bool = False,
) -> tuple[Claim, ...]:
    """Every curve of a table but the baselines, in the order of the table.

    Args:
        baseline: the method that the others of its panel are compared with.
        metric: leave out the panels of others.
        lower: the metric falls as quality rises, whatever its name says.

    Raises:
        DataError: the file is no such table, a panel lacks its baseline, or ``lower`` is said of
            several metrics.
    """
    path = Path(path)
    text = read_text(path)
    header, cells = ([], []) if is_json(text) else read_rows(path, text)
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise DataError(
            f"{path}: is no table of curves: it has no column {', '.join(missing)}; give a second "
            f"file to compare with, or a table with the columns {', '.join(_NEEDED)}"
        )
    panels: dict[tuple[str, ...], list[Row]] = {}
    for row in (dict(zip(header, row, strict=True)) for row in cells):
        panels.setdefault(tuple(row.get(name, "") for name in _PANEL), []).append(row)
    metrics = list(dict.fromkeys(rows[0]["metric"] for rows in panels.values()))
    asked = [it for it in metrics if metric is None or same_metric(it, metric)]
    if metric is not None and metrics and not asked:
        raise DataError(f"{path}: {unknown('metric', metric, tuple(metrics))}")
    if lower and len(asked) > 1:
        raise DataError(f"{path}: has several metrics ({', '.join(asked)}); give --metric")
    found = tuple(
        claim
        for rows in panels.values()
        if rows[0]["metric"] in asked
        for claim in _panel(path, rows, baseline, lower=lower)
    )
    if not found:
        raise DataError(f"{path}: holds no curve to compare with {baseline or BASELINE!r}")
    return found


def claims_json(found: Sequence[Claim]) -> dict[str, Any]:
    """What `tcc bdrate TABLE --json` prints."""
    return {
        "claims": [
            {
                **claim.panel,
                "anchor": claim.result.anchor,
                "test": claim.result.test,
                "claimed_percent": claim.percent,
                "finding": claim.finding,
                "under": list(claim.under),
                **bdrate_json(claim.result),
            }
            for claim in found
        ]
    }


def claims_text(found: Sequence[Claim]) -> str:
    """The claims first, each in a line; then every verdict."""
    lines = [
        f"{claim.title or claim.result.metric}: {claim.result.test} against "
        f"{claim.result.anchor}, {claim.text}"
        for claim in found
        if claim.percent is not None
    ]
    return "\n\n".join(
        [*lines, *(f"{it.title}\n{bdrate_text(it.result)}".lstrip() for it in found)]
    )


def _panel(
    path: Path, rows: Sequence[Row], baseline: str | None, *, lower: bool
) -> Iterator[Claim]:
    panel = {name: rows[0][name] for name in _PANEL if name in rows[0]}
    curves: dict[str, list[Row]] = {}
    levels = [_finite(path, row, "value") for row in rows if not row["bpp"]]
    for row in rows:
        if row["bpp"]:
            curves.setdefault(row["method"], []).append(row)
    anchor = baseline or BASELINE
    if anchor not in curves:
        where = " ".join(filter(None, panel.values()))
        raise DataError(f"{path}: {where}: {unknown('baseline', anchor, tuple(curves))}")
    falls = lower or lower_is_better(panel["metric"])
    for method, points in curves.items():
        if method == anchor:
            continue
        columns = [
            [_number(path, row, name) for row in side]
            for side in (curves[anchor], points)
            for name in ("bpp", "value")
        ]
        yield Claim(
            panel=panel,
            percent=_claimed(path, anchor, method, points, panel),
            result=verdict(
                *columns,
                metric=panel["metric"],
                higher_is_better=not falls,
                anchor=anchor,
                test=method,
                ceiling=(min if falls else max)(levels, default=None),
                cautions=direction(panel["metric"], falls),
            ),
        )


def _claimed(path: Path, anchor: str, method: str, rows: Sequence[Row], panel: Row) -> float | None:
    said = next((row for row in rows if row.get("claim")), None)
    if said is not None:
        return _finite(path, said, "claim")
    known = PAPER.get(tuple(panel.get(name, "") for name in _PANEL[:3]))  # type: ignore[arg-type]
    return known if (anchor, method) == (BASELINE, _PROPOSED) else None


def _finite(path: Path, row: Row, column: str) -> float:
    number = _number(path, row, column)
    if not math.isfinite(number):
        raise DataError(f"{path}: {column}: {row[column]!r} is not finite; write it such as 0.1")
    return number


def _number(path: Path, row: Row, column: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise DataError(
            f"{path}: {column}: {row[column]!r:.60} is not a number; write it such as 0.1"
        ) from None
