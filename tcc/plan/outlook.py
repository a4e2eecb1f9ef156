"""What a plan has ahead of it: its cost, its makespan on some nodes, and what was raised."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tcc.plan.capacity import Node, oversize
from tcc.plan.estimate import Estimate, History, estimate
from tcc.plan.ledger import TrialState
from tcc.plan.makespan import makespan
from tcc.plan.past import TO_DO, Older, older_results
from tcc.records import Plan


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """``left``: trials that are to be done. ``makespan_s``: None where no duration is known or no
    node holds some trial, which ``too_large`` then says of each kind."""

    left: int
    cost: Estimate
    nodes: tuple[Node, ...]
    makespan_s: float | None
    too_large: tuple[str, ...]
    older: tuple[Older, ...]


def outlook(
    plan: Plan, states: Mapping[str, TrialState], store: History, nodes: Sequence[Node]
) -> Outlook:
    """The outlook of what is left of a plan."""
    left = [trial for trial in plan if states[trial.id].state in TO_DO]
    cost = estimate(plan, states, store)
    expected_s = makespan(left, cost.seconds, nodes) if cost.seconds or not left else math.inf
    return Outlook(
        left=len(left),
        cost=cost,
        nodes=tuple(nodes),
        makespan_s=expected_s if math.isfinite(expected_s) else None,
        too_large=tuple(oversize(left, nodes)),
        older=older_results(plan, states, store),
    )


def outlook_json(ahead: Outlook) -> dict[str, Any]:
    """Its part of `tcc plan --json`."""
    return {
        "cost": {
            "cpu_hours": ahead.cost.cpu_hours,
            "gpu_hours": ahead.cost.gpu_hours,
            "unknown": ahead.cost.unknown,
            "measured": ahead.cost.measured,
            "makespan_s": ahead.makespan_s,
            "nodes": [vars(node) for node in ahead.nodes],
            "too_large": list(ahead.too_large),
        },
        "older": [
            {
                "past": older.past,
                "present": older.present,
                "changes": [
                    {"what": change.what, "before": change.before, "now": change.now}
                    for change in older.changes
                ],
                "trials": dict(older.trials),
            }
            for older in ahead.older
        ],
    }


def cost_lines(ahead: Outlook) -> Iterator[str]:
    """What is left to do, in hours of CPU and GPU and on the clock."""
    cost = ahead.cost
    if not ahead.left:
        yield "nothing is left to do"
        return
    there = ", ".join(
        f"{node.count} × {node}" if node.count > 1 else str(node) for node in ahead.nodes
    )
    if not cost.seconds:
        yield "cost: unknown, no like trial was measured yet"
    else:
        trials = _count(len(cost.seconds), "trial")
        yield (
            f"cost: {cost.cpu_hours:.2f} CPU-hours, {cost.gpu_hours:.2f} GPU-hours for {trials}, "
            f"as {_count(cost.measured, 'like one')} took"
        )
        if cost.unknown:
            yield (
                f"      {_count(cost.unknown, 'trial')} not counted: no like one was measured yet"
            )
    if ahead.makespan_s is not None:
        guessed = ", those not counted taken as the mean of the others" if cost.unknown else ""
        yield f"makespan: {duration_text(ahead.makespan_s)} on {there}{guessed}"
    for line in ahead.too_large:
        yield f"`tcc run` would refuse: {line}"


def older_lines(study: str, ahead: Outlook) -> Iterator[str]:
    """Which results are of an older recipe, and where they are reported still."""
    for older in ahead.older:
        changed = ", ".join(str(change) for change in older.changes)
        later = f"`tcc report {study} --past {older.past}`"
        until = f"`tcc report {study}` until then and {later}" if older.present else later
        trials = _count(len(older.trials), "trial")
        have = "has a result" if len(older.trials) == 1 else "have results"
        yield (
            f"{trials} {have} of {changed}: to be trained again; {until} "
            f"{'report' if older.present else 'reports'} on the old ones"
        )


def duration_text(seconds: float) -> str:
    """``41 s``, ``12 min``, ``3.1 h``, ``4.2 days``."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
