"""What a verdict lacks, and the λ that would give it: for `tcc extend`.

A new λ inside a curve is found by monotone interpolation (PCHIP) of log-λ over log-rate, in the
middle of the widest gap of the rates. Beyond an end both log-λ over log-rate and log-rate over the
metric go on as between the last two points, up to a factor of `REACH`. What no λ can mend is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import fmean

from tcc.curves.bdrate import MIN_OVERLAP, MIN_POINTS
from tcc.curves.comparisons import BASELINE, Comparison
from tcc.curves.seeds import MIN_SEEDS
from tcc.records import CurveKey, RDCurve, TrialSpec

REACH = 10.0  # λ are proposed up to this factor beyond the ends of a curve
MAX_BEYOND = 3  # new λ beyond one end
_SLACK = 0.1  # of both ranges together: what an end may lack
_SAME = 0.05  # λ that differ by less are one
_KINDS = {"base": "base", "direct": "direct", "scalable": "enhancement"}  # family → trial kind
_KINDS |= {"enhancement_only": "enhancement"}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """New λ for one curve, of every seed. ``axes``: those that move along it, an entry a point."""

    key: CurveKey
    axes: tuple[Mapping[str, float], ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A comparison that is refused or cautious. ``advice``: what λ cannot mend."""

    comparison: Comparison
    proposals: tuple[Proposal, ...]
    advice: tuple[str, ...]


@dataclass(kw_only=True)
class _Track:
    """A curve, the mean over its seeds, by rising λ; ``axes`` of each point. What follows are its
    points on which rate and score rise: natural logarithms of λ and of rate, and scores."""

    role: str
    key: CurveKey
    axes: list[Mapping[str, float]]
    monotone: bool
    x: list[float]
    r: list[float]
    s: list[float]
    undone: list[float]  # planned λ without a result of some seed
    new: dict[float, str] = field(default_factory=dict)  # λ → why

    @property
    def axis(self) -> str:
        return "lambda_e" if any("lambda_e" in axes for axes in self.axes) else "lambda_b"

    @property
    def lambdas(self) -> list[float]:
        return [axes[self.axis] for axes in self.axes]

    def add(self, log_lambda: float, why: str) -> None:
        """Takes a λ, to two digits, unless there is one like it."""
        value = float(f"{math.exp(log_lambda):.2g}")
        known = (*self.lambdas, *self.new)
        if all(abs(math.log(value / other)) > _SAME for other in known):
            self.new[value] = why


def gaps(
    comparisons: Iterable[Comparison], curves: Iterable[RDCurve], planned: Iterable[TrialSpec]
) -> tuple[Gap, ...]:
    """One for each comparison with the baseline whose verdict is not ``ok``, on the first metric of
    a task and the first rate source; the means over bases follow from their parts.

    ``planned``: the trials of the study; λ of these without a result are waited for.
    """
    groups: dict[CurveKey, list[RDCurve]] = {}
    for curve in curves:
        groups.setdefault(replace(curve.key, seed=0), []).append(curve)
    planned, found = tuple(planned), []
    seen: set[CurveKey] = set()
    for row in comparisons:
        place = replace(row.test, seed=0, source="", metric=row.test.metric.partition("/")[0])
        if row.reference != BASELINE or row.over or row.test.family not in _KINDS:
            continue
        if place not in seen and row.summary.verdict != "ok":
            tracks = [
                _track(role, groups[replace(key, seed=0)], planned)
                for role, key in (("anchor", row.anchor), ("test", row.test))
            ]
            found.append(_gap(row, tracks))
        seen.add(place)
    return tuple(found)


def _track(role: str, curves: Sequence[RDCurve], planned: Iterable[TrialSpec]) -> _Track:
    sign = 1.0 if curves[0].metric.higher_is_better else -1.0
    key = replace(curves[0].key, seed=0)
    points: dict[tuple[tuple[str, float], ...], list[tuple[float, float]]] = {}
    for curve in curves:
        for point in curve.points:
            moving = tuple((name, x) for name, x in point.axes.items() if name not in key.fixed)
            if point.rate_bpp > 0 and math.isfinite(point.rate_bpp) and math.isfinite(point.value):
                place = math.log(point.rate_bpp), sign * point.value
                points.setdefault(tuple(sorted(moving)), []).append(place)
    axes = sorted((dict(moving) for moving in points), key=lambda it: tuple(it.values()))
    track = _Track(role=role, key=key, axes=[*axes], monotone=True, x=[], r=[], s=[], undone=[])
    for moving in axes:
        rates, scores = zip(*points[tuple(moving.items())], strict=True)
        rate, score = fmean(rates), fmean(scores)
        if track.r and not (rate > track.r[-1] and score > track.s[-1]):
            track.monotone = False
            continue
        track.x.append(math.log(moving[track.axis]))
        track.r.append(rate)
        track.s.append(score)
    wanted = {
        (trial.seed, trial.axes[track.axis])
        for trial in planned
        if trial.kind == _KINDS[key.family]
        and trial.variant == key.variant
        and trial.method == key.method
        and ", ".join(trial.datasets) == key.trained_on
        and trial.tasks == key.tasks
        and all(trial.axes.get(name) == value for name, value in key.fixed.items())
    }
    done = {(c.key.seed, point.axes[track.axis]) for c in curves for point in c.points}
    track.undone = sorted({lmbda for _, lmbda in wanted - done})
    return track


def _gap(row: Comparison, tracks: Sequence[_Track]) -> Gap:
    results = [result for _, result in row.per_seed]
    advice = [*_advice(row, tracks)]
    if not any(track.undone for track in tracks):
        short = [track for track in tracks if len(track.axes) < MIN_POINTS]
        for track in short:
            _between(track, MIN_POINTS - len(track.axes), f"fewer than {MIN_POINTS} points")
        stuck = [
            track
            for track in tracks
            if track not in short
            and min(result.num_points[track.role] for result in results) < MIN_POINTS
        ]
        advice += [
            f"{track.role}: {len(track.axes)} λ, and of some seed fewer than {MIN_POINTS} points "
            "survive the reduction: more λ do not help, longer training (train.steps) may"
            for track in stuck
        ]
        if not stuck:
            if min(result.overlap for result in results) < MIN_OVERLAP:
                advice += _ends(row, tracks)
            if any("PCHIP and Akima" in reason for reason in row.summary.reasons):
                for track in tracks:
                    _between(track, 1, "the interpolations differ")
    proposals = [
        Proposal(
            key=track.key,
            axes=tuple(_axes(track)),
            why=", ".join(sorted(set(track.new.values()))),
        )
        for track in tracks
        if track.new
    ]
    return Gap(comparison=row, proposals=tuple(proposals), advice=tuple(advice))


def _advice(row: Comparison, tracks: Sequence[_Track]) -> Iterator[str]:
    for track in tracks:
        if track.undone:
            values = ", ".join(f"{value:g}" for value in track.undone)
            first = "`tcc run` first, or `tcc retry` where it failed"
            yield f"{track.role}: {track.axis} {values} planned and not done: {first}"
        elif not track.monotone:
            yield (
                f"{track.role}: not monotone: more seeds or longer training (train.steps) mend "
                "that, λ do not"
            )
    if len(row.per_seed) < MIN_SEEDS:
        count = f"{len(row.per_seed)} seed" + ("s" if len(row.per_seed) > 1 else "")
        yield f"{count}: {MIN_SEEDS} or more (grid.seed) give an interval"
    if any("undertrained" in reason for reason in row.summary.reasons):
        yield "undertrained points: longer training (train.steps) mends that, λ do not"


def _between(track: _Track, count: int, why: str) -> None:
    """Adds λ in the middle of the widest gaps of the log-rates."""
    if not track.axes:
        return
    if len(track.x) < 2:  # no slope: a factor of three to either side
        centre = math.log(track.lambdas[0])
        for index in range(count):
            track.add(centre + (-1) ** index * (index // 2 + 1) * math.log(3), why)
        return
    from scipy.interpolate import PchipInterpolator

    log_lambda = PchipInterpolator(track.r, track.x)
    rates = list(track.r)
    for _ in range(count):
        widest = max(range(1, len(rates)), key=lambda index: rates[index] - rates[index - 1])
        rates.insert(widest, (rates[widest - 1] + rates[widest]) / 2)
        track.add(float(log_lambda(rates[widest])), why)


def _ends(row: Comparison, tracks: Sequence[_Track]) -> Iterator[str]:
    """Adds λ beyond the ends that lack what the other curve has; says where these lie too far."""
    if any(len(track.x) < 2 for track in tracks):
        yield "a curve that is left with one point has no slope: first more λ inside the grid"
        return
    low, high = min(track.s[0] for track in tracks), max(track.s[-1] for track in tracks)
    reached, capped = [], []
    for track in tracks:
        span = [track.s[0], track.s[-1]]
        for end, target in ((0, low), (-1, high)):
            if abs(target - track.s[end]) > _SLACK * (high - low):
                span[end], log_lambda = _beyond(track, end, target)
                if not math.isclose(span[end], target, rel_tol=1e-9, abs_tol=1e-12):
                    capped.append((track, log_lambda, span[end]))
        reached.append(span)
    sign = 1.0 if row.metric.higher_is_better else -1.0
    for track, log_lambda, score in capped:
        yield (
            f"{track.role}: at {track.axis} {math.exp(log_lambda):.2g}, {REACH:g} times beyond the "
            f"grid, {row.metric.name} is expected to be {sign * score:.4g} only"
        )
    if max(span[0] for span in reached) >= min(span[1] for span in reached):
        for track in tracks:
            track.new.clear()
        yield "λ within that factor bring the curves to no common metric: compare at equal rate"
    elif row.test.family == "direct" and any(track.new for track in tracks):
        yield "new bases lengthen the bases' own curves, whose overlap may fall by it"


def _beyond(track: _Track, end: int, target: float) -> tuple[float, float]:
    """Adds λ beyond an end until its score is a target, or λ a factor of `REACH` away: what score
    is expected, at which log-λ."""
    inner = 1 if end == 0 else -2
    per_score = (track.x[end] - track.x[inner]) / (track.s[end] - track.s[inner])
    wanted = (target - track.s[end]) * per_score
    far = math.copysign(min(abs(wanted), math.log(REACH)), wanted)
    spacing = (track.x[-1] - track.x[0]) / (len(track.x) - 1)
    count = min(max(math.ceil(abs(far) / (1.5 * spacing)), 1), MAX_BEYOND)
    for index in range(1, count + 1):
        track.add(track.x[end] + far * index / count, "the metric ranges overlap too little")
    return track.s[end] + far / per_score, track.x[end] + far


def _axes(track: _Track) -> Iterator[Mapping[str, float]]:
    """The new points; where λ_b moves with λ_e, at the λ_b of a line through their logarithms."""
    for value in sorted(track.new):
        if all(axes.keys() == {track.axis} for axes in track.axes):
            yield {track.axis: value}
            continue
        known = sorted((math.log(a["lambda_e"]), math.log(a["lambda_b"])) for a in track.axes)
        x = math.log(value)
        (x0, y0), (x1, y1) = min(
            pairwise(known), key=lambda pair: abs(x - (pair[0][0] + pair[1][0]) / 2)
        )
        lambda_b = math.exp(y0 + (x - x0) * (y1 - y0) / (x1 - x0))
        yield {"lambda_b": float(f"{lambda_b:.2g}"), "lambda_e": value}
