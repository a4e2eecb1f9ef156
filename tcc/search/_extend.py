"""`tcc extend`: pairs to add to a spec, each with the grid that a verdict lacks, and their cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from tcc.curves.comparisons import BASELINE, compare
from tcc.curves.gaps import REACH, Gap, Proposal, gaps
from tcc.curves.pairs import describe
from tcc.curves.points import curves_of
from tcc.plan import TrialState, estimate, expand, ledger
from tcc.plan.ledger import as_planned
from tcc.plan.past import TO_DO
from tcc.records import CurveKey, TrialRecord, TrialSpec
from tcc.spec import SweepSpec
from tcc.spec.grids import close, enhanced, merged, of_task, snapped
from tcc.spec.schema import ALL, EnhanceAt, Grid, Pair
from tcc.stores import Store

NEAR = 1.3  # λ that differ by a smaller factor are one


@dataclass(frozen=True, kw_only=True)
class Extension:
    """``spec``: the study with ``pairs`` added. The hours are of those ``added`` trials that are to
    be done and like which others were measured; ``unknown`` counts the rest of these."""

    spec: SweepSpec
    compared: int  # comparisons with the baseline
    gaps: tuple[Gap, ...]
    pairs: tuple[Pair, ...]
    added: tuple[TrialSpec, ...]
    to_do: int
    cpu_hours: float
    gpu_hours: float
    unknown: int


def extend(spec: SweepSpec, store: Store) -> Extension:
    """What the verdicts of a study lack, as the store's results stand."""
    plan = expand(spec)
    states = ledger(plan, store)
    specs = {trial.id: trial for trial in plan}
    records = [*_records(specs, states)]
    curves = curves_of(records, specs, improving_share=spec.report.improving_share)
    anchor: dict[str, float] = dict(spec.report.anchor.items())
    rows = compare(curves, anchor=anchor)
    # what the study itself refuses, no λ mends
    found = () if spec.report.refuse else gaps(rows, curves, plan)
    found = tuple(_within(spec, gap) for gap in found)
    pairs = tuple(_pairs(spec, [it for gap in found for it in gap.proposals]))
    longer = spec.model_copy(update={"pairs": (*spec.pairs, *pairs)})
    whole = expand(longer)
    after = ledger(whole, store)
    added = tuple(trial for trial in whole if trial.id not in specs)
    left = [trial for trial in added if after[trial.id].state in TO_DO]
    seconds = estimate(whole, after, store).seconds if left else {}
    priced = [trial for trial in left if trial.id in seconds]
    return Extension(
        spec=longer,
        compared=sum(row.reference == BASELINE for row in rows),
        gaps=found,
        pairs=pairs,
        added=added,
        to_do=len(left),
        cpu_hours=sum(seconds[it.id] * it.resources.cpu for it in priced) / 3600,
        gpu_hours=sum(seconds[it.id] * it.resources.gpu for it in priced) / 3600,
        unknown=len(left) - len(priced),
    )


def extension_json(found: Extension) -> dict[str, Any]:
    """What `tcc extend --json` prints."""
    return {
        "study": found.spec.study,
        "compared": found.compared,
        "refused": found.spec.report.refuse,
        "gaps": [
            {
                "test": describe(gap.comparison.test),
                "anchor": describe(gap.comparison.anchor),
                "metric": gap.comparison.metric.name,
                "verdict": gap.comparison.summary.verdict,
                "reasons": list(gap.comparison.summary.reasons),
                "proposals": [
                    {"curve": describe(it.key), "axes": list(map(dict, it.axes)), "why": it.why}
                    for it in gap.proposals
                ],
                "advice": list(gap.advice),
            }
            for gap in found.gaps
        ],
        "pairs": [_plain(pair) for pair in found.pairs],
        "trials": dict(Counter(trial.kind for trial in found.added)),
        "to_do": found.to_do,
        "cost": {
            "cpu_hours": found.cpu_hours,
            "gpu_hours": found.gpu_hours,
            "unknown": found.unknown,
        },
    }


def extension_text(found: Extension) -> str:
    """What each verdict lacks, then what to add to the spec, and what it costs."""
    if not found.gaps:
        return f"study {found.spec.study!r}: {_nothing(found)}"
    lines: list[str] = []
    notes = {text: f"({at})" for at, text in enumerate(_notes(found), 1)}
    for gap in found.gaps:
        row = gap.comparison
        lines.append(f"{describe(row.test)} against {describe(row.anchor)}: {row.summary.verdict}")
        lines += [
            f"  propose  {describe(it.key)}: {_lambdas(it)} ({it.why})" for it in gap.proposals
        ]
        if gap.advice:
            lines.append(f"  notes    {' '.join(notes[text] for text in gap.advice)}")
    lines += [f"{number} {text}" for text, number in notes.items()]
    if not found.pairs:
        return "\n".join([*lines, "no λ to propose"])
    lines += [
        f"no λ is more than {REACH:g} times beyond its grid; `--run` runs them; to keep them, add",
        "pairs:",
        yaml.safe_dump(
            [_plain(pair) for pair in found.pairs],
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=None,
        ).rstrip(),
    ]
    kinds = Counter(trial.kind for trial in found.added)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    lines.append(f"{len(found.added)} more trials ({listed}), {found.to_do} of them to be done")
    cost = f"cost: {found.cpu_hours:.2f} CPU-hours, {found.gpu_hours:.2f} GPU-hours"
    missing = f"; {found.unknown} not counted: no like trial was measured yet"
    lines.append(cost + (missing if found.unknown else ""))
    return "\n".join(lines)


def _notes(found: Extension) -> list[str]:
    """What is said of any comparison, each note once."""
    return list(dict.fromkeys(text for gap in found.gaps for text in gap.advice))


def _nothing(found: Extension) -> str:
    """Why there is nothing to propose."""
    if found.spec.report.refuse:
        return f"report.refuse holds for all its BD-rates, whatever λ: {found.spec.report.refuse}"
    if found.compared:
        return "every comparison with the baseline is ok"
    anchor = ", ".join(f"{axis} {value:g}" for axis, value in found.spec.report.anchor.items())
    return (
        f"nothing to compare with the baseline ({anchor}) yet: `tcc run` first, with values in the "
        "grid beside the baseline's"
    )


def _records(
    specs: Mapping[str, TrialSpec], states: Mapping[str, TrialState]
) -> Iterator[TrialRecord]:
    for id, state in states.items():
        if state.record is not None:
            yield as_planned(state.record, specs[id])


def _pairs(spec: SweepSpec, proposals: Sequence[Proposal]) -> Iterator[Pair]:
    """A pair for each curve that lacks λ. What a base lacks, those of its arm that stand on it get
    too: their decoders are not trained otherwise."""
    wanted: dict[tuple[object, ...], list[Mapping[str, float]]] = {}
    keys: dict[tuple[object, ...], CurveKey] = {}
    for proposal in sorted(proposals, key=lambda it: -len(it.key.tasks)):  # of pairs first
        key = proposal.key
        base = "lambda_e" not in proposal.axes[0]
        arm = (key.method, key.trained_on, key.tasks[0], key.fixed.get("beta"), key.variant)
        at = (*arm, "its bases" if base else key.fixed.get("lambda_b"), key.tasks)
        places = [it for it in keys if it[:-1] == at[:-1]] if len(key.tasks) == 1 else []
        for place in places or [at]:
            keys.setdefault(place, key)
            there = wanted.setdefault(place, [])
            there += [axes for axes in proposal.axes if not any(_near(axes, it) for it in there)]
    for at, key in keys.items():
        pair = _pair_of(spec, key)
        if pair is not None:
            new = sorted(wanted[at], key=lambda axes: tuple(axes.values()))
            values = {name: tuple(axes[name] for axes in new) for name in new[0]}
            yield pair.model_copy(update={"grid": _grid(spec, pair, key, values)})


def _within(spec: SweepSpec, gap: Gap) -> Gap:
    """A gap without those proposals that the spec's ``also`` would leave out."""
    only = next((it.only for it in spec.also if it.kind == gap.comparison.test.family), {})
    if not (gap.proposals and "lambda_b" in only):
        return gap
    values = ", ".join(f"{value:g}" for value in only["lambda_b"])
    told = f"`also` asks for direct trials at lambda_b {values} alone: add to these first"
    return replace(gap, proposals=(), advice=(*gap.advice, told))


def _near(point: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether one λ serves for both: what two comparisons lack of a curve is seldom quite equal."""
    return all(abs(math.log(x / other[name])) < math.log(NEAR) for name, x in point.items())


def _pair_of(spec: SweepSpec, key: CurveKey) -> Pair | None:
    """A pair of the spec that a curve is of, with the same mode of β."""
    mode = "relative" if key.variant else "absolute"
    fitting = [
        pair
        for pair in spec.pairs
        if (pair.base, pair.enhancement)[: len(key.tasks)] == key.tasks
        and pair.dataset == key.trained_on
        and key.fixed.get("beta", 0.0) in merged(spec, pair).beta
    ]
    same = [pair for pair in fitting if merged(spec, pair).beta_mode == mode]
    return next(iter([*same, *fitting]), None)


def _grid(
    spec: SweepSpec, pair: Pair, key: CurveKey, values: Mapping[str, tuple[float, ...]]
) -> Grid:
    """The grid of a pair that adds ``values`` to one curve: of its arm alone, on its base alone."""
    whole = merged(spec, pair)
    own = {name: getattr(pair.grid, name) for name in pair.grid.model_fields_set}
    own["beta"] = (key.fixed.get("beta", 0.0),)
    there, there_e = of_task(whole.lambda_b, pair.base), of_task(whole.lambda_e, pair.enhancement)
    if "lambda_e" in values:
        own |= {"lambda_b": values.get("lambda_b") or (key.fixed["lambda_b"],)}
        own |= {"lambda_e": values["lambda_e"]}
        own |= {} if whole.enhance_at is None else {"enhance_at": None}
        if whole.pairing == "zip" and "lambda_b" not in values:  # all on the one base
            own["pairing"] = "product"
        return Grid(**own)
    # the grid needs an enhancement: one that is
    first = (*snapped(enhanced(whole, pair.base), there), *there)[0]
    new = [value for value in values["lambda_b"] if not close(value, first)]
    own |= {"lambda_b": (first, *new), "enhance_at": EnhanceAt(lambda_b=(first,))}
    if whole.pairing == "zip":
        own |= {"lambda_e": (there_e[there.index(first)],), "pairing": "product"}
    return Grid(**own)


def _lambdas(proposal: Proposal) -> str:
    names = {"lambda_b": "λ_b", "lambda_e": "λ_e"}
    return "; ".join(
        " ".join(f"{names[name]} {value:g}" for name, value in axes.items())
        for axes in proposal.axes
    )


def _plain(pair: Pair) -> dict[str, Any]:
    """A pair as one would write it."""
    plain = pair.model_dump(mode="json", exclude_none=True)
    if plain["grid"].get("enhance_at", ALL) is None:
        plain["grid"]["enhance_at"] = ALL
    return plain
