"""Which trials of a plan wait, which may run, and what follows when one ends. No Ray."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from tcc.plan import TrialState, children, standing
from tcc.records import Plan, TrialSpec
from tcc.run.events import Event
from tcc.run.ready import Ready
from tcc.stores import Store


class Frontier:
    """The states of a plan's trials, moved along its graph.

    A trial is usable when its checkpoint will not change any more in this run; those that wait
    may run once all that they need is usable. So a cached trial below one that is trained anew
    waits too: it is run again if the new checkpoint differs.

    ``to_run``: ids. ``ready``: the line they stand in once they may run, empty as yet.
    ``waiting``: ids of those that are still to be run and were not taken.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        states: Mapping[str, TrialState],
        to_run: Collection[str],
        ready: Ready,
        tell: Callable[[Event], None],
    ):
        self.states = dict(states)
        self.waiting = set(to_run)
        self._trials = {trial.id: trial for trial in plan}
        self._children = children(plan)
        self._store, self._ready, self._tell = store, ready, tell
        self._usable: set[str] = set()
        for trial in plan:
            if not self._usable.issuperset(trial.needs):
                continue
            if states[trial.id].record is not None:
                self._usable.add(trial.id)
            if trial.id in self.waiting:
                self._make_ready(trial)

    def take(self) -> TrialSpec | None:
        """The most urgent trial that may run and has room; it waits no more."""
        trial = self._ready.take(self.waiting)
        if trial is not None:
            self.waiting.discard(trial.id)
        return trial

    def first(self) -> TrialSpec:
        """The most urgent trial of those that wait."""
        return self._ready.first(self.waiting)

    def become(self, id: str, state: TrialState, seconds: float | None = None) -> None:
        """A trial is in another state: it waits no more, and that is told."""
        self.waiting.discard(id)
        self.states[id] = state
        trial = self._trials[id]
        self._tell(Event(trial=trial, state=state.state, because=state.because, seconds=seconds))

    def again(self, id: str) -> None:
        """A trial whose parents are usable is still to be run."""
        self.waiting.add(id)
        self._make_ready(self._trials[id])

    def _make_ready(self, trial: TrialSpec) -> None:
        if self.states[trial.id].state == "blocked":
            self.states[trial.id] = TrialState(id=trial.id, state="new")
            self._tell(Event(trial=trial, state="new"))
        self._ready.add(trial)

    def make_usable(self, id: str) -> None:
        """A trial's checkpoint is final: looks at those that stand on it."""
        if id in self._usable:
            return
        self._usable.add(id)
        for child in self._children[id]:
            self._look_at(self._trials[child])

    def give_up(self, id: str, state: TrialState) -> None:
        """A trial failed or is skipped, and all that wait for it are skipped; where only one of
        its evaluations failed, what stands on its weights goes on."""
        self.become(id, state)
        if state.record is not None:
            self.make_usable(id)
            return
        root = id if state.state == "failed" else state.because
        for child in self._children[id]:
            self._skip(child, root)

    def _skip(self, id: str, root: str) -> None:
        """Skips a trial; below one that is done, those that wait: they build on all their
        ancestors' weights."""
        if id in self.waiting:
            self.give_up(id, TrialState(id=id, state="skipped", because=root))
            return
        for child in self._children[id]:
            self._skip(child, root)

    def _look_at(self, trial: TrialSpec) -> None:
        """Decides about a trial one of whose parents is settled now."""
        id = trial.id
        if not self._usable.issuperset(trial.needs):
            return
        if id in self.waiting:
            if not self.concluded(trial):
                self._make_ready(trial)
        elif self.states[id].state == "cached" and not self.concluded(trial):
            self.become(id, TrialState(id=id, state="new"))
            self.again(id)

    def concluded(self, trial: TrialSpec) -> bool:
        """Whether the store says by now that nothing is left to do for a trial."""
        found = standing(trial, self._store)
        if found.state == "cached":
            if self.states[trial.id].state != "cached":
                self.become(trial.id, found)
            self.make_usable(trial.id)
        elif found.state == "failed":
            self.give_up(trial.id, found)
        return found.state in ("cached", "failed")
