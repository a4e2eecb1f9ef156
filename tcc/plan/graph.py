"""The graph of a plan: who needs whom, and how much work hangs on each trial. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tcc.records import Plan, TrialSpec


def children(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Trial → the trials that need it, in the plan's order."""
    found: dict[str, tuple[str, ...]] = {trial.id: () for trial in plan}
    for trial in plan:
        for need in trial.needs:
            found[need] += (trial.id,)
    return found


def descendants(plan: Plan, trial: str) -> frozenset[str]:
    """All trials that stand on one, near and far."""
    found: set[str] = set()
    for other in plan:  # topological order: its needs have been seen
        if trial in other.needs or not found.isdisjoint(other.needs):
            found.add(other.id)
    return frozenset(found)


def critical_path(plan: Plan, seconds: Mapping[str, float]) -> dict[str, float]:
    """Trial → seconds from its start to the end of the longest chain that it begins. ``seconds``:
    what each trial takes; one that is not in it takes none."""
    longest: dict[str, float] = {}
    after: dict[str, float] = {}
    for trial in reversed(plan.trials):
        longest[trial.id] = seconds.get(trial.id, 0.0) + after.get(trial.id, 0.0)
        for need in trial.needs:
            after[need] = max(after.get(need, 0.0), longest[trial.id])
    return {trial.id: longest[trial.id] for trial in plan}


def topological_order(trials: Iterable[TrialSpec]) -> tuple[TrialSpec, ...]:
    """The same trials, each after all that it needs, otherwise in the order given.

    Raises:
        ValueError: trials need each other in a circle, or one that is not there.
    """
    by_id = {trial.id: trial for trial in trials}
    placed: dict[str, TrialSpec] = {}
    open_needs: list[str] = []

    def place(id: str) -> None:
        if id in placed:
            return
        if id in open_needs:
            raise ValueError(f"trials need each other in a circle: {', '.join(open_needs)}")
        if id not in by_id:
            raise ValueError(f"trial {id} is needed and not there")
        open_needs.append(id)
        for need in by_id[id].needs:
            place(need)
        open_needs.pop()
        placed[id] = by_id[id]

    for id in by_id:
        place(id)
    return tuple(placed.values())
