"""Which curves are compared with which, and what comes of it: one `Comparison` a row of the report.

Against the baseline (the spec's ``report.anchor``, β = 0): base, direct and scalable curves, these
on the total rate and on the enhancement's own, one a base, then their mean over λ_b. Against
references at the same β and λ_b: scalable against standalone and simulcast, on the total rate and
on that of the second layer, and against a single layer, which has no base, on the total. Against
codecs from outside: all that has a total rate and a metric of theirs. Seeds are paired: each seed's
test curve meets that seed's anchor curve.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tcc.curves.deltas import Delta, deltas
from tcc.curves.imported import FAMILY as IMPORTED
from tcc.curves.pairs import PER_BASE, Asked, Judged, describe, judged, question
from tcc.curves.points import LEVELS, by_rate, rate_of
from tcc.curves.seeds import Interval, average, summarise
from tcc.records import BDRate, CurveKey, MetricInfo, RDCurve

BASELINE = "baseline"
REFERENCES = ("standalone", "single_layer", "simulcast")  # of scalable curves
_AGAINST_IMPORTED = ("base", "direct", "scalable", "single_layer")
OWN_STANDALONE = "standalone_own"  # a standalone curve over the rate of its second layer alone
_AGAINST_BASELINE = ("base", "direct", "direct_published", "scalable", "enhancement_only")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row: a test curve against its anchor over all seeds.

    ``test`` and ``anchor`` are keys of the lowest seed, whose `seed` is no part of the row. In a
    mean over bases both lack ``lambda_b``, there are no deltas, and ``over`` holds the λ_b.
    """

    reference: str  # what the anchor is: baseline, standalone, single_layer, simulcast, imported
    test: CurveKey
    anchor: CurveKey
    metric: MetricInfo
    over: tuple[float, ...]
    per_seed: tuple[tuple[int, BDRate], ...]
    summary: BDRate
    bootstrap: Interval | None  # of the summary's mean; None below five seeds
    deltas: tuple[Delta, ...]  # test minus anchor at equal λ, one an RD point
    pairs: Mapping[int, tuple[RDCurve, RDCurve]] = field(default_factory=dict, repr=False)
    # seed → anchor curve, test curve; none of a mean over bases

    @property
    def rate(self) -> str:
        """Which rate is compared: ``enhancement`` or ``total``."""
        return "enhancement" if self.test.family == "enhancement_only" else "total"


def compare(
    curves: Iterable[RDCurve],
    *,
    anchor: Mapping[str, float],
    refusals: Sequence[str] = (),
    imported: Sequence[RDCurve] = (),
    pool: Executor | None = None,
) -> tuple[Comparison, ...]:
    """Every comparison that the curves allow, in the order of the test curves.

    Coded curves meet coded ones, estimated ones estimated; a reader that wants one row filters on
    ``test.source``.

    Args:
        curves: of `points.curves_of`.
        anchor: the axes of the baseline, such as ``{"beta": 0.0}``.
        refusals: reasons why no BD-rate of this study may be given, if any.
        imported: of `imported.imported_curves`; every seed meets the same one.
        pool: of `bulk.workers`.
    """
    curves = tuple(curves)
    groups = _by_group((*curves, *_own_rates(curves)))
    ceilings = _ceilings(curves)
    met: list[_Met] = []
    for tests in groups.values():
        key = next(iter(tests.values())).key
        outside = [(IMPORTED, dict.fromkeys(tests, it)) for it in imported if _fits(key, it.key)]
        for reference, anchors in (*_anchors(key, anchor, groups), *outside):
            shared = sorted(tests.keys() & anchors.keys())
            if pairs := {seed: (anchors[seed], tests[seed]) for seed in shared}:
                met.append(_Met(reference, pairs, _missing(tests, anchors)))
    answers = judged([_asked(each, ceilings, refusals) for each in met], pool)
    changes = [deltas(each.pairs) for each in met]  # while others judge
    return tuple(_with_means(list(map(_comparison, met, changes, answers))))


_Group = Mapping[int, RDCurve]  # seed → curve of one key
_Groups = Mapping[CurveKey, _Group]  # by the key with seed 0


class _Met(NamedTuple):
    """Two groups of curves that are compared."""

    reference: str
    pairs: Mapping[int, tuple[RDCurve, RDCurve]]  # seed → anchor curve, test curve
    missing: Sequence[str]  # why a seed has no pair


def _by_group(curves: Sequence[RDCurve]) -> dict[CurveKey, dict[int, RDCurve]]:
    groups: dict[CurveKey, dict[int, RDCurve]] = {}
    for curve in curves:
        if curve.key.family not in LEVELS:
            groups.setdefault(replace(curve.key, seed=0), {})[curve.key.seed] = curve
    return groups


def _anchors(
    test: CurveKey, axes: Mapping[str, float], groups: _Groups
) -> Iterator[tuple[str, _Group]]:
    """The curves that a test curve is compared with, and what they are to it."""
    key = replace(test, seed=0)
    moved = {**key.fixed, **axes}
    if key.family in _AGAINST_BASELINE and moved.keys() == key.fixed.keys() and moved != key.fixed:
        # at β = 0 every β mode is one and the same trial, planned without a variant
        found = groups.get(replace(key, fixed=moved)) or groups.get(
            replace(key, fixed=moved, variant="")
        )
        if found:
            yield BASELINE, found
    for reference, family in _references(key.family):
        wanted = replace(key, family=family)
        if family == "single_layer":
            wanted = replace(wanted, tasks=key.tasks[-1:], fixed={}, variant="")
        if wanted in groups:
            yield reference, groups[wanted]


def _fits(test: CurveKey, outside: CurveKey) -> bool:
    """Whether a curve may be compared with a codec from outside."""
    same = (test.metric, test.dataset) == (outside.metric, outside.dataset)
    return same and test.family in _AGAINST_IMPORTED


def _references(family: str) -> Iterator[tuple[str, str]]:
    """What curves of a family are compared with beside the baseline, and which curves that is."""
    if family == "scalable":
        yield from zip(REFERENCES, REFERENCES, strict=True)
    elif family == "enhancement_only":  # what stands beside the same base
        yield from (("standalone", OWN_STANDALONE), ("simulcast", "single_layer"))


def _own_rates(curves: Iterable[RDCurve]) -> Iterator[RDCurve]:
    for curve in curves:
        if curve.key.family == "standalone":
            points = (
                replace(point, rate_bpp=rate_of(point.bpp_by_stream, "enhancement"))
                for point in curve.points
            )
            key = replace(curve.key, family=OWN_STANDALONE)
            yield replace(curve, key=key, points=by_rate(points))


def _missing(tests: _Group, anchors: _Group) -> list[str]:
    return [
        f"seed {seed} is left out: it has no {side} curve"
        for seed in sorted(tests.keys() ^ anchors.keys())
        for side in (["anchor"] if seed in tests else ["test"])
    ]


def _asked(
    met: _Met, ceilings: Mapping[tuple[object, ...], float], refusals: Sequence[str]
) -> Asked:
    questions = {
        seed: question(anchor, test, ceilings.get(_ceiling_key(test.key)), refusals)
        for seed, (anchor, test) in met.pairs.items()
    }
    return questions, met.missing


def _comparison(met: _Met, changes: tuple[Delta, ...], answer: Judged) -> Comparison:
    anchor, test = next(iter(met.pairs.values()))
    return Comparison(
        reference=met.reference,
        test=test.key,
        anchor=anchor.key,
        metric=test.metric,
        over=(),
        per_seed=tuple(answer.per_seed.items()),
        summary=answer.summary,
        bootstrap=answer.bootstrap,
        deltas=changes,
        pairs=met.pairs,
    )


def _ceiling_key(key: CurveKey) -> tuple[object, ...]:
    return key.trained_on, key.dataset, key.split, key.metric


def _ceilings(curves: Sequence[RDCurve]) -> dict[tuple[object, ...], float]:
    """The best that each metric reaches without compression, by either kind of level."""
    found: dict[tuple[object, ...], float] = {}
    for curve in curves:
        if curve.key.family in LEVELS:
            pick = max if curve.metric.higher_is_better else min
            key = _ceiling_key(curve.key)
            values = [point.value for point in curve.points]
            found[key] = pick([*values, found.get(key, values[0])])
    return found


def _with_means(rows: Sequence[Comparison]) -> Iterator[Comparison]:
    """The rows, each family's rows of several λ_b followed by their mean."""
    groups: dict[tuple[str, str, CurveKey], list[Comparison]] = {}
    for row in rows:
        codec = row.anchor.variant if row.reference == IMPORTED else ""
        groups.setdefault((row.reference, codec, without_base(row.test)), []).append(row)
    for (*_, key), members in groups.items():
        yield from members
        if key.family in PER_BASE and len(members) > 1:
            yield _mean(members)


def without_base(key: CurveKey) -> CurveKey:
    """What the rows of several λ_b share, of any seed."""
    fixed = {name: value for name, value in key.fixed.items() if name != "lambda_b"}
    return replace(key, fixed=fixed, seed=0)


def _mean(rows: Sequence[Comparison]) -> Comparison:
    """The mean over bases: each seed's over its λ_b first, then over the seeds."""
    seeds = sorted({seed for row in rows for seed, _ in row.per_seed})
    per_seed = {}
    test, anchor = (without_base(key) for key in (rows[0].test, rows[0].anchor))
    for seed in seeds:
        parts, absent = {}, []
        for row in rows:
            name = f"λ_b {row.test.fixed['lambda_b']:g}"
            found = dict(row.per_seed).get(seed)
            if found is None:
                absent.append(f"{name} has no pair of curves")
            else:
                parts[name] = found
        mean = average(parts, missing=absent)
        per_seed[seed] = replace(mean, anchor=describe(anchor), test=describe(test))
    summary, bootstrap = summarise(per_seed)
    return Comparison(
        reference=rows[0].reference,
        test=test,
        anchor=anchor,
        metric=rows[0].metric,
        over=tuple(row.test.fixed["lambda_b"] for row in rows),
        per_seed=tuple(per_seed.items()),
        summary=summary,
        bootstrap=bootstrap,
        deltas=(),
    )
