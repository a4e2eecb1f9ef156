"""A plan in numbers, as JSON and as a file, and a trial of it by its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tcc.errors import RecordError, UnknownNameError
from tcc.plan.graph import topological_order
from tcc.plan.ledger import STATES, TrialState
from tcc.records import Plan, TrialSpec
from tcc.stores import from_json, to_json


def plan_json(
    plan: Plan, states: Mapping[str, TrialState], left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """What `tcc plan --json` prints, but for the outlook. ``left_out``: what the spec says of
    ``pairs: all``."""
    kinds = Counter(trial.kind for trial in plan)
    found = Counter(states[trial.id].state for trial in plan)
    return {
        "study": plan.study,
        "counts": {
            "total": len(plan),
            "by_kind": dict(kinds),
            "by_state": {state: found[state] for state in STATES if found[state]},
        },
        "trials": [
            {
                "id": trial.id,
                "kind": trial.kind,
                "tasks": list(trial.tasks),
                "datasets": list(trial.datasets),
                "axes": dict(trial.axes),
                "seed": trial.seed,
                "needs": list(trial.needs),
                "state": states[trial.id].state,
                "label": trial.label,
            }
            for trial in plan
        ],
        "left_out": list(left_out),
    }


def find_trial(plan: Plan, start: str) -> TrialSpec:
    """The one trial whose id begins so.

    Raises:
        UnknownNameError: none does, or several do.
    """
    found = [trial for trial in plan if start and trial.id.startswith(start)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownNameError(
            f"no trial of study {plan.study!r} has an id that begins with {start!r}: "
            "`tcc plan SPEC --json` lists them"
        )
    listed = ", ".join(f"{trial.id} ({trial.label})" for trial in found[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    raise UnknownNameError(f"{len(found)} trials begin with {start!r}: {listed}{more}")


def plan_to_json(plan: Plan) -> str:
    """The plan as sealed text, for a study's folder."""
    return to_json(plan)


def plan_from_json(text: str | bytes) -> Plan:
    """The plan of `plan_to_json`.

    Raises:
        RecordError: the text is torn, edited or no plan, or its trials do not stand on each other.
    """
    plan = from_json(Plan, text)
    try:
        return Plan(study=plan.study, trials=topological_order(plan.trials))
    except ValueError as error:
        raise RecordError(f"is no plan: {error}") from None
