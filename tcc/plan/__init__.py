"""From a spec to trials: identity by content, the graph, and what a store holds of it.

    SweepSpec ── expand ── Plan ── ledger ── what is new, cached, blocked, and why
                 identity          estimate: what it will take

Nothing here runs anything, and nothing imports torch or Ray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tcc.plan.estimate import Estimate, History, estimate
from tcc.plan.expand import expand
from tcc.plan.graph import children, critical_path, descendants
from tcc.plan.identity import evaluation_id, trial_id
from tcc.plan.ledger import TrialState, ledger, standing
from tcc.plan.summary import find_trial, plan_from_json, plan_json, plan_to_json
from tcc.records import Plan

__all__ = [
    "Estimate",
    "TrialState",
    "children",
    "critical_path",
    "descendants",
    "estimate",
    "evaluation_id",
    "expand",
    "find_trial",
    "ledger",
    "plan_from_json",
    "plan_json",
    "plan_to_json",
    "print_plan",
    "standing",
    "trial_id",
]


def print_plan(
    plan: Plan, states: Mapping[str, TrialState], store: History, *, left_out: Sequence[str] = ()
) -> None:
    """Prints the tree, what was left out, the counts and the cost of a plan on the terminal."""
    from tcc.plan import tree  # rich is needed here alone

    tree.print_plan(plan, states, store, left_out=left_out)
