"""Trial records → RD points and curves: every family of curve, keyed by what its points share.

    trial kind     curves                             what moves along them
    base           base; direct_published             λ_b
    direct         direct                             λ_b
    enhancement    scalable; enhancement_only         λ_e (λ_b and β fixed: one base)
    standalone     standalone                         λ_e (one base)
    single_layer   single_layer                       λ_e
    —              simulcast: base + single_layer     λ_e (one base)
    uncompressed   uncompressed, a level              nothing: one point a β, its best is the level
    pixels         pixels, a level                    nothing: one point, without a rate

Where every λ_b has a λ_e of its own (``pairing: zip``), both move: a curve runs over the bases.

A level is drawn as a horizontal line; its key has no rate source, so it belongs to coded and to
estimated curves alike. All other curves hold points of one rate source only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tcc.curves.layers import base_gaps, own_gap
from tcc.curves.simulcast import simulcast
from tcc.curves.zipped import arm_of, zipped_arms
from tcc.errors import RecordError
from tcc.records import (
    CurveKey,
    EvaluationRecord,
    Metric,
    MetricInfo,
    Rate,
    RDCurve,
    RDPoint,
    Training,
    TrialRecord,
    TrialSpec,
)

IMPROVING_SHARE = 0.02
FAMILIES = (
    "base",
    "direct",
    "direct_published",
    "scalable",
    "enhancement_only",
    "standalone",
    "single_layer",
    "simulcast",
    "uncompressed",
    "pixels",
)
LEVELS = ("uncompressed", "pixels")
_FAMILIES_OF_KIND = {"enhancement": ("scalable", "enhancement_only")}  # others: as the kind
_MOVING: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("base", "direct", "direct_published"), ("lambda_b",)
)

# One measured point of one curve, before points are gathered: whether its evaluation was asked for
# with that rate source, its metric's place in the evaluation, and the point itself.
_Found = tuple[CurveKey, MetricInfo, tuple[bool, int], RDPoint]


def curves_of(
    records: Iterable[TrialRecord],
    specs: Mapping[str, TrialSpec],
    *,
    improving_share: float = IMPROVING_SHARE,
) -> tuple[RDCurve, ...]:
    """Every RD curve of a study, in a fixed order whatever the order of the records.

    A task's headline metric comes before its others, the training data set before others, coded
    rates before estimated ones.

    Args:
        records: finished trials with their evaluations.
        specs: id → spec of every trial that a record stands on, near or far; those of the records
            themselves need not be in it. What else is planned tells which λ belong together.
        improving_share: see `still_improving`.

    Raises:
        RecordError: a trial stands on one that is neither in ``specs`` nor in ``records``.
    """
    records = tuple(records)
    known = {**specs, **{record.trial.id: record.trial for record in records}}
    zipped = zipped_arms(known.values())
    best: dict[tuple[CurveKey, str], _Found] = {}
    improving_ids = {
        record.trial.id for record in records if still_improving(record.training, improving_share)
    }
    for record in records:
        base = _base(record.trial, known)
        # an undertrained base's rate is in the points of all that stands on it
        improving = bool(improving_ids & {record.trial.id, base.id if base else ""})
        moving = ("lambda_b", "lambda_e") if arm_of(record.trial) in zipped else ("lambda_e",)
        for evaluation in record.evaluations:
            for found in _points(record, evaluation, base, improving, moving):
                # Two evaluations of one split may both give a rate of this source: the one that
                # was asked for it counts.
                slot = (found[0], record.trial.id)
                if slot not in best or found[2][0] > best[slot][2][0]:
                    best[slot] = found
    gathered: dict[CurveKey, list[_Found]] = {}
    for found in best.values():
        gathered.setdefault(found[0], []).append(found)
    curves = [
        RDCurve(key=key, metric=items[0][1], points=by_rate(item[3] for item in items))
        for key, items in gathered.items()
    ]
    gaps = base_gaps(curves)
    curves = [
        replace(curve, points=tuple(own_gap(point, curve.key, gaps) for point in curve.points))
        if curve.key.family == "enhancement_only"
        else curve
        for curve in curves
    ]
    ranks = {key: min(item[2][1] for item in items) for key, items in gathered.items()}
    ranks_of_metrics: dict[str, int] = {}
    for key, rank in ranks.items():
        ranks_of_metrics[key.metric] = min(rank, ranks_of_metrics.get(key.metric, rank))
    curves += simulcast(curves)
    return tuple(sorted(curves, key=lambda curve: _order(curve.key, ranks_of_metrics)))


def still_improving(training: Training, share: float = IMPROVING_SHARE) -> bool:
    """Whether rd_cost fell by more than ``share`` over the last tenth of the training.

    Compared are the best value until nine tenths and the best value of all, so that one lucky or
    unlucky evaluation does not decide. With none until nine tenths nothing can be said: False.
    """
    if not training.rd_cost:
        return False
    last = max(step for step, _ in training.rd_cost)
    early = [value for step, value in training.rd_cost if step <= 0.9 * last]
    if not early:
        return False
    before, after = min(early), min(value for _, value in training.rd_cost)
    return before - after > share * abs(before)


def by_rate(points: Iterable[RDPoint]) -> tuple[RDPoint, ...]:
    """Points by rising rate."""
    return tuple(sorted(points, key=lambda p: (p.rate_bpp, p.value, p.trial)))


def rate_of(streams: Mapping[str, float], layer: str) -> float:
    """Bits, or bits per pixel, of one layer: ``base`` or ``enhancement``."""
    return sum(bpp for stream, bpp in streams.items() if stream.partition(".")[0] == layer)


def _base(trial: TrialSpec, known: Mapping[str, TrialSpec]) -> TrialSpec | None:
    """The trial of the base layer that a trial stands on, or is."""
    if trial.kind == "base":
        return trial
    for parent in trial.needs:
        if parent not in known:
            raise RecordError(
                f"trial {trial.id} ({trial.label}) needs trial {parent}, which is not in the plan "
                "or the store; run the study's spec again to plan it"
            )
        found = _base(known[parent], known)
        if found is not None:
            return found
    return None


def _points(
    record: TrialRecord,
    evaluation: EvaluationRecord,
    base: TrialSpec | None,
    improving: bool,
    moving: tuple[str, ...],  # along the curves of enhancements
) -> Iterator[_Found]:
    trial, asked = record.trial, evaluation.evaluation
    for place, metric in enumerate(evaluation.metrics):
        for family, tasks in _families(trial, metric):
            for rate in _rates(evaluation.rates, family):
                level = family in LEVELS
                point = RDPoint(
                    trial=trial.id,
                    base="" if base is None else base.id,
                    evaluation=asked.id,
                    kind=trial.kind,
                    label=trial.label,
                    axes=trial.axes,
                    seed=trial.seed,
                    step=record.training.best_step,
                    rate_bpp=_rate_bpp(rate, family),
                    bpp_by_stream={} if rate is None else rate.bpp_by_stream,
                    source="" if rate is None else rate.source,
                    value=metric.value,
                    still_improving=improving,
                    gap=evaluation.gap,
                    bits_by_stream={} if rate is None else rate.bits_by_stream,
                    per_image=evaluation.per_image,
                )
                along = tuple(trial.axes) if level else _MOVING.get(family, moving)
                key = CurveKey(
                    family=family,
                    method=trial.method,
                    tasks=tasks,
                    dataset=asked.dataset.name,
                    split=asked.split,
                    source="" if level else point.source,
                    metric=metric.name,
                    fixed={name: x for name, x in trial.axes.items() if name not in along},
                    variant="" if level else trial.variant,
                    seed=trial.seed,
                    trained_on=", ".join(trial.datasets),
                )
                info = MetricInfo(
                    name=metric.name,
                    unit=metric.unit,
                    higher_is_better=metric.higher_is_better,
                )
                # a level takes any source; coded is what was decoded
                wanted = rate is None or rate.source == ("coded" if level else asked.rate)
                yield key, info, (wanted, place), point


def _families(trial: TrialSpec, metric: Metric) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The families that a trial's metric gives a point of, each with the tasks of its key."""
    task = metric.name.partition("/")[0]
    if trial.kind in ("base", *LEVELS):
        if task == trial.tasks[0]:
            yield trial.kind, trial.tasks[:1]
        elif trial.kind == "base":
            yield "direct_published", (trial.tasks[0], task)
    elif task == trial.tasks[-1]:
        for family in _FAMILIES_OF_KIND.get(trial.kind, (trial.kind,)):
            if family in FAMILIES:
                yield family, trial.tasks


def _rates(rates: Sequence[Rate], family: str) -> Sequence[Rate | None]:
    measured = [rate for rate in rates if rate.bpp_by_stream]
    if family not in LEVELS:
        return measured
    return sorted(measured, key=lambda rate: rate.source)[:1] or [None]  # coded before estimated


def _rate_bpp(rate: Rate | None, family: str) -> float:
    if rate is None:
        return math.nan
    return rate_of(rate.bpp_by_stream, "enhancement") if family == "enhancement_only" else rate.bpp


def _order(key: CurveKey, ranks_of_metrics: Mapping[str, int]) -> tuple[object, ...]:
    return (
        key.method,
        key.trained_on,
        (key.dataset != key.trained_on, key.dataset, key.split),
        FAMILIES.index(key.family),
        key.tasks,
        key.source,  # coded before estimated
        (ranks_of_metrics[key.metric], key.metric),
        tuple(key.fixed.items()),
        key.variant,
        key.seed,
    )
