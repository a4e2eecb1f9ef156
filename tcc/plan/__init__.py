"""From a spec to trials: identity by content, the graph, and what a store holds of it.

    SweepSpec ── expand ── Plan ── ledger ── what is new, cached, blocked, and why
                 identity          distrust: which of its files cannot be trusted, in words
                                   past: what results there are of older recipes
                                   estimate, makespan: what it will take, on which nodes

Nothing here runs anything, and nothing imports torch or Ray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tcc.plan.estimate import Estimate, estimate
from tcc.plan.expand import expand
from tcc.plan.graph import children, critical_path, descendants
from tcc.plan.identity import evaluation_id, trial_id
from tcc.plan.ledger import TrialState, ledger, standing
from tcc.plan.outlook import Outlook, outlook, outlook_json
from tcc.plan.summary import find_trial, plan_from_json, plan_json, plan_to_json
from tcc.records import Plan

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Estimate",
    "Outlook",
    "TrialState",
    "children",
    "critical_path",
    "descendants",
    "estimate",
    "evaluation_id",
    "expand",
    "find_trial",
    "ledger",
    "outlook",
    "outlook_json",
    "plan_from_json",
    "plan_json",
    "plan_to_json",
    "print_plan",
    "standing",
    "trial_id",
]


def print_plan(
    plan: Plan,
    states: Mapping[str, TrialState],
    ahead: Outlook,
    *,
    left_out: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Prints the tree, what was left out, the counts and the outlook of a plan; without a
    ``console``, on the terminal."""
    from tcc.plan import tree  # rich is needed here alone

    tree.print_plan(plan, states, ahead, left_out=left_out, console=console)
