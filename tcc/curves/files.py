"""The verdict on two RD files, and verdicts and curves as JSON and text."""

from __future__ import annotations

import math
import os
import re
from typing import Any

from tcc.curves.bdrate import share_text, verdict
from tcc.errors import DataError
from tcc.formats.rd import FileCurve, read_file, same_metric
from tcc.records import BDRate, RDCurve

_OF_COLOURS = ("psnr", "ms-ssim")
_LOWER = {"rmse", "mse", "mae", "loss", "error", "lpips", "dists", "fid", "nll", "perplexity"}
_LOWER |= {"rel"}  # abs_rel, sq_rel
_HIGHER = {"psnr", "ssim", "map", "miou", "iou", "accuracy", "top1", "top5", "vmaf", "f1"}


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
    files = read_file(anchor), read_file(test)
    if metric is None:
        one, other = (file.metrics for file in files)
        shared = [name for name in one if any(same_metric(name, it) for it in other)]
        if not shared:
            for file in files:  # what is no curve at all is told first
                file.curve(next(iter(file.metrics), None))
            held = " and ".join(f"{it.path} holds {', '.join(it.metrics)}" for it in files)
            raise DataError(f"{held}: a BD-rate compares one metric; name it alike in both")
        metric = shared[0] if len(shared) == 1 else None
    curves = [file.curve(metric) for file in files]
    return verdict(
        curves[0].bpp,
        curves[0].values,
        curves[1].bpp,
        curves[1].values,
        metric=curves[0].metric,
        higher_is_better=not lower_is_better,
        anchor=curves[0].name,
        test=curves[1].name,
        cautions=[*direction(curves[0].metric, lower_is_better), *renamed(*curves)],
    )


def renamed(anchor: FileCurve, test: FileCurve) -> list[str]:
    """A caution where one metric has two names."""
    if anchor.metric.lower() == test.metric.lower():
        return []
    return [f"the anchor's {anchor.metric} and the test's {test.metric} were taken for one metric"]


def curve_json(curve: RDCurve, name: str) -> dict[str, Any]:
    """A curve in CompressAI's JSON format; the metric under its name without the task, as
    ``python -m compressai.utils.plot`` looks for it."""
    metric = curve.key.metric.rpartition("/")[2]
    return {
        "name": name,
        "description": f"{curve.key.metric} on {curve.key.dataset}, {curve.key.split} split",
        "results": {
            "bpp": [_number(point.rate_bpp) for point in curve.points],
            f"{metric}-rgb" if metric in _OF_COLOURS else metric: [
                _number(point.value) for point in curve.points
            ],
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
        "interval": _ends(result.interval),
        "verdict": result.verdict,
        "reasons": list(result.reasons),
        "bd_metric": result.metric_change,
        "bd_metric_interval": _ends(result.metric_interval),
        "rate_overlap": result.rate_overlap,
    }


def bdrate_text(result: BDRate) -> str:
    """A verdict in plain lines."""
    checks = ", ".join(f"{name} {_percent(value)}" for name, value in result.cross_checks.items())
    lines = [
        f"BD-rate ({result.metric}): {_percent(result.percent)} by PCHIP, {result.verdict}",
        f"  anchor        {result.anchor}",
        f"  test          {result.test}",
        f"  cross-checks  {checks}",
        f"  BD-metric     {_change(result)}",
        f"  overlap       {share_text(result.overlap)}",
        f"  points        anchor {result.num_points['anchor']}, test {result.num_points['test']}",
    ]
    if result.interval is not None:
        low, high = result.interval
        lines.append(f"  95 % interval {low:+.2f} to {high:+.2f} %")
    lines += [f"  dropped       {item}" for item in result.dropped]
    for reason in result.reasons:
        instead = reason.removeprefix("instead: ")
        lines.append(f"  {'because' if instead == reason else 'instead':12}  {instead}")
    return "\n".join(lines)


def lower_is_better(metric: str) -> bool:
    """Whether a metric's name says that it falls as quality rises."""
    return bool(_words(metric) & _LOWER)


def direction(metric: str, lower: bool) -> list[str]:
    """A caution where a metric's name speaks against the direction given."""
    if lower_is_better(metric) and not lower:
        return [f"{metric} was taken as higher is better; its name suggests --lower-is-better"]
    if _words(metric) & _HIGHER and lower:
        return [f"{metric} was taken as lower is better; its name suggests the opposite"]
    return []


def _words(metric: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", metric.lower()))


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _change(result: BDRate) -> str:
    if result.metric_change is None:
        return "none"
    where = f"over {share_text(result.rate_overlap)} of the rates"
    return f"{result.metric_change:+.4g} {result.metric} {where}"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:+.2f} %"
