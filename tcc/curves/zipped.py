"""Studies whose λ_e belong to the λ_b one to one (``pairing: zip``): a curve runs over the bases.

Held to one base, each of its points would be a curve of its own and nothing could be compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tcc.records import TrialSpec

Arm = tuple[object, ...]


def zipped_arms(trials: Iterable[TrialSpec]) -> Collection[Arm]:
    """The arms of a plan each of whose λ_b has its own λ_e, and no other's."""
    pairs: dict[Arm, set[tuple[float, float]]] = {}
    for trial in trials:
        if trial.kind == "enhancement":
            found = pairs.setdefault(arm_of(trial), set())
            found.add((trial.axes["lambda_b"], trial.axes["lambda_e"]))
    return {
        arm
        for arm, found in pairs.items()
        if len(found) == len({b for b, _ in found}) == len({e for _, e in found}) > 1
    }


def arm_of(trial: TrialSpec) -> Arm:
    """What the trials of a scalable curve share, but for their λ and their seed."""
    rest = tuple(item for item in trial.axes.items() if item[0] not in ("lambda_b", "lambda_e"))
    return trial.method, trial.tasks, trial.datasets, trial.variant, rest
