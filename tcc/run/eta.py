"""How long a study still takes: what like trials took, over what runs side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

from tcc.records import Plan, Progress, TrialSpec

LEFT = ("new", "blocked")


class Eta:
    """Learns from every trial that ends. ``seconds``: trial → what like ones took before."""

    def __init__(self, plan: Plan, seconds: Mapping[str, float]):
        self._plan = plan
        self._before = seconds
        self._measured: dict[tuple[str, tuple[str, ...]], list[float]] = defaultdict(list)

    def took(self, trial: TrialSpec, seconds: float) -> None:
        """A trial was done in so many seconds."""
        self._measured[trial.kind, trial.tasks].append(seconds)

    def expected_s(self, trial: TrialSpec) -> float | None:
        """Seconds that a trial takes: as like ones did now, or before, or as any did."""
        if found := self._measured.get((trial.kind, trial.tasks)):
            return fmean(found)
        if trial.id in self._before:
            return self._before[trial.id]
        known = [*self._before.values(), *map(fmean, self._measured.values())]
        return fmean(known) if known else None

    def remaining_s(
        self, states: Mapping[str, str], running: Mapping[str, Progress | None]
    ) -> float | None:
        """Seconds to the study's end if as many trials run side by side as now; None while that
        cannot be told."""
        total = 0.0
        for trial in self._plan:
            progress = running.get(trial.id)
            if progress and progress.eta_s is not None:
                left: float | None = progress.eta_s
            elif trial.id in running or states[trial.id] in LEFT:
                left = self.expected_s(trial)
            else:
                left = 0.0
            if left is None:
                return None
            total += left
        return total / max(1, len(running))


def clock(seconds: float | None) -> str:
    """A duration to read: ``41 s``, ``12:05``, ``3:07:00``; ``?`` when it is not known."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
