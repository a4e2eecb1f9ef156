"""The verdicts of several seeds, or of several bases, as one: mean, interval, every reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from tcc.curves.bdrate import METHOD
from tcc.records import BDRate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_SEEDS = 3  # for a t-interval
MIN_SEEDS_BOOTSTRAP = 5
CONFIDENCE = 0.95
RESAMPLES = 10_000

Interval = tuple[float, float]


def average(parts: Mapping[str, BDRate], *, missing: Sequence[str] = ()) -> BDRate:
    """The plain mean of verdicts on one metric. A refused part is left out of it, and said so.

    Args:
        parts: what to call each part (``seed 0``) → its verdict; at least one.
        missing: why parts that ought to be there are not.
    """
    used = [part for part in parts.values() if part.percent is not None]
    first = next(iter(parts.values()))
    refused = sum(part.percent is None for part in parts.values())
    reasons = [*missing]
    if refused and used:
        reasons.append(f"{refused} of {len(parts)} refused and left out of the mean")
    reasons += _grouped({name: part.reasons for name, part in parts.items()})
    return BDRate(
        anchor=first.anchor,
        test=first.test,
        metric=first.metric,
        percent=_mean([part.percent for part in used]),
        method=METHOD,
        cross_checks={
            name: _mean([part.cross_checks.get(name) for part in used or parts.values()])
            for name in first.cross_checks
        },
        overlap=min(part.overlap for part in parts.values()),
        num_points={
            side: min(part.num_points[side] for part in parts.values()) for side in first.num_points
        },
        dropped=tuple(f"{name}: {item}" for name, part in parts.items() for item in part.dropped),
        interval=None,
        verdict="refused" if not used else "caution" if reasons else "ok",
        reasons=tuple(reasons),
        metric_change=_mean([part.metric_change for part in parts.values()]),
        rate_overlap=min(part.rate_overlap for part in parts.values()),
    )


def summarise(
    per_seed: Mapping[int, BDRate], *, missing: Sequence[str] = ()
) -> tuple[BDRate, Interval | None]:
    """The paired verdicts of all seeds as one, and the bootstrap interval of its mean.

    The t-interval is in the verdict, from three seeds with a value on; with fewer there is none
    and the verdict says so. The bootstrap interval is there from five seeds.
    """
    parts = {f"seed {seed}": part for seed, part in sorted(per_seed.items())}
    values = [part.percent for part in parts.values() if part.percent is not None]
    if len(values) < MIN_SEEDS:
        kind = "seeds" if len(values) == len(parts) else "seeds with a BD-rate"
        missing = [*missing, f"fewer than {MIN_SEEDS} {kind}: {len(values)}, so no interval"]
    mean = average(parts, missing=missing)
    changes = [part.metric_change for part in parts.values() if part.metric_change is not None]
    metric_interval = t_interval(changes) if mean.metric_change is not None else None
    interval = t_interval(values, least=-100.0)
    mean = replace(mean, interval=interval, metric_interval=metric_interval)
    return mean, bootstrap_interval(values)


def t_interval(values: Sequence[float], *, least: float = -math.inf) -> Interval | None:
    """Student's two-sided 95 % interval of the mean; no end is below ``least``. None below three
    values."""
    if len(values) < MIN_SEEDS:
        return None
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    half = quantile * stdev(values) / math.sqrt(len(values))
    return max(fmean(values) - half, least), fmean(values) + half


def bootstrap_interval(values: Sequence[float]) -> Interval | None:
    """Percentile bootstrap 95 % interval of the mean, the same on every call; None below five."""
    if len(values) < MIN_SEEDS_BOOTSTRAP:
        return None
    import numpy as np

    draws = np.random.default_rng(0).choice(sorted(values), (RESAMPLES, len(values)))
    return percentile_interval(draws.mean(axis=1))


def percentile_interval(draws: NDArray[np.float64]) -> Interval:
    """The middle 95 % of a bootstrap's draws."""
    import numpy as np

    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _mean(values: Sequence[float | None]) -> float | None:
    """None if any value is: a mean over other parts than the headline's would mislead."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _grouped(reasons: Mapping[str, Sequence[str]]) -> list[str]:
    """Each reason once, after the names of the parts that it applies to."""
    names: dict[str, list[str]] = {}
    for name, items in reasons.items():
        for item in items:
            names.setdefault(item, []).append(name)
    return [f"{', '.join(parts)}: {item}" for item, parts in names.items()]
