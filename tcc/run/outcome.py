"""What a run is told and what it gives back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tcc.plan import TrialState
from tcc.plan.ledger import STATES
from tcc.records import FrozenMap, Plan
from tcc.run.eta import clock


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a plan is run; nothing here can change a result.

    ``max_concurrent``: trials at once, 0 for as many as the cluster holds. ``grace_s``: for trials
    to save when the run is interrupted or its store fails. ``trackers``: tracker → its settings.
    ``quiet_stdout``: stdout belongs to the verb's JSON, so progress goes to stderr.
    """

    max_concurrent: int = 0
    grace_s: float = 60.0
    trackers: Mapping[str, Mapping[str, Any]] = field(default_factory=FrozenMap)
    quiet_stdout: bool = False


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """How a run of a plan ended. ``counts``: state → trials; done now, cached before.
    ``expected_s``: how long the trials were expected to take, where that was known."""

    study: str
    counts: Mapping[str, int]
    failed: Mapping[str, str]  # trial → reason
    skipped: Mapping[str, str]  # trial → the failed one that it stands on
    seconds: float
    expected_s: float | None = None

    @property
    def cached(self) -> int:
        """Trials that were done before, by this study or another."""
        return self.counts.get("cached", 0)

    @property
    def exit_code(self) -> int:
        """1 when a trial failed or was skipped."""
        return 1 if self.failed or self.skipped else 0

    def to_json(self) -> dict[str, Any]:
        """What `tcc run --json` prints."""
        return asdict(self)

    def summary(self) -> str:
        """The outcome in words: the counts, then every failure."""
        counts = ", ".join(f"{number} {state}" for state, number in self.counts.items())
        failed = [f"failed {id}: {reason}" for id, reason in self.failed.items()]
        again = (
            [f"`tcc retry {self.study}` tries failed and skipped trials again"] if failed else []
        )
        head = f"study {self.study}: {counts or 'no trial'} in {clock(self.seconds)}"
        if self.expected_s is not None:
            head += f", expected {clock(self.expected_s)}"
        return "\n".join([head, *failed, *again])


def outcome(
    plan: Plan, states: Mapping[str, TrialState], seconds: float, expected_s: float | None
) -> RunOutcome:
    """The outcome of a run from the last state of every trial."""
    found = Counter(state.state for state in states.values())
    because = {
        state: {id: it.because for id, it in states.items() if it.state == state}
        for state in ("failed", "skipped")
    }
    return RunOutcome(
        study=plan.study,
        counts={state: found[state] for state in STATES if found[state]},
        seconds=round(seconds, 3),
        expected_s=expected_s,
        **because,
    )
