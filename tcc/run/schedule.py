"""Which trial may run next, and what became of each: a study's ledger while it runs. No Ray."""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping

from tcc.errors import ClusterError
from tcc.plan import TrialState, children, standing
from tcc.records import SCHEMA, FailureRecord, Plan, Resources, TrialSpec
from tcc.run.events import Event, Outcome
from tcc.stores import Store

OVER = ("failed", "skipped")
VISIBLE_WITHIN_S = 90.0  # how long a network file system may hide what another node wrote


class Schedule:
    """Hands out the trials that are to be run once their parents are usable, most urgent first.

    A trial is usable when its checkpoint will not change any more in this run. So a cached trial
    below one that is trained anew waits too: it is run again if the new checkpoint differs.

    ``to_run``: ids. ``priority``: id → urgency, such as the seconds of work that hang on a trial.
    ``room``: how many trials of one shape may be handed out at once.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        states: Mapping[str, TrialState],
        to_run: Collection[str],
        *,
        priority: Mapping[str, float],
        room: Callable[[Resources], int],
        tell: Callable[[Event], None],
    ):
        self.states = dict(states)
        self._trials = {trial.id: trial for trial in plan}
        self._children = children(plan)
        self._store, self._room, self._tell = store, room, tell
        self._rank = {t.id: (-priority[t.id], index) for index, t in enumerate(plan)}
        self._waiting = set(to_run)
        self._usable: set[str] = set()
        self._ready: dict[Resources, list[tuple[tuple[float, int], str]]] = defaultdict(list)
        self._given: dict[str, float] = {}  # handed out → when it started
        self._given_by_shape: Counter[Resources] = Counter()
        self._ended: dict[str, tuple[Outcome, float]] = {}  # … until the store has been read
        for trial in plan:
            if not self._parents(trial, self._usable.__contains__):
                continue
            state = states[trial.id]
            if state.record is not None:
                self._usable.add(trial.id)
            if trial.id in self._waiting:
                self._make_ready(trial)

    @property
    def exhausted(self) -> bool:
        """Nothing is left to hand out, now or later."""
        return not self._waiting and not any(
            self.states[child].state == "cached" and child not in self._usable
            for id in self._given
            for child in self._children[id]
        )

    @property
    def running(self) -> bool:
        """Something was handed out that has not been settled."""
        return bool(self._given)

    def next(self) -> TrialSpec | None:
        """The most urgent trial that may run and has room; it counts as handed out from now on.
        None: nothing, until one that was handed out ends.

        Raises:
            ClusterError: trials are left, none can start and none is handed out.
        """
        self.settle()
        while trial := self._most_urgent():
            found = standing(trial, self._store)
            if found.state != "cached":
                self._waiting.discard(trial.id)
                self._given[trial.id] = time.monotonic()
                self._given_by_shape[trial.resources] += 1
                return trial
            self._become(trial.id, found)  # another run on this store was quicker
            self._make_usable(trial.id)
        if self._waiting and not self._given:
            first = min(self._waiting, key=self._rank.__getitem__)
            raise ClusterError(
                f"{len(self._waiting)} trials are left, none can start and none is running; "
                f"the first is {first} ({self._trials[first].label})"
            )
        return None

    def _most_urgent(self) -> TrialSpec | None:
        """Takes the first ready trial for whose shape there is room."""
        for ready in self._ready.values():
            while ready and ready[0][1] not in self._waiting:
                heapq.heappop(ready)  # skipped since
        heads = [
            (ready[0], shape)
            for shape, ready in self._ready.items()
            if ready and self._given_by_shape[shape] < self._room(shape)
        ]
        if not heads:
            return None
        (_, id), shape = min(heads)
        heapq.heappop(self._ready[shape])
        return self._trials[id]

    def started(self, id: str) -> None:
        """A trial that was handed out runs: for the first time, or again after its process died."""
        self._given[id] = time.monotonic()
        if self.states[id].state == "running":
            self._tell(Event(trial=self._trials[id], state="retried"))
        else:
            self._become(id, TrialState(id=id, state="running"))

    def ended(self, id: str, outcome: Outcome) -> None:
        """A trial that was handed out ended, as its worker says. Reads and writes nothing."""
        self._ended[id] = (outcome, time.monotonic())

    def settle(self) -> None:
        """Reads from the store how trials ended since, and draws the consequences."""
        for id, (outcome, at) in list(self._ended.items()):
            found = standing(self._trials[id], self._store)
            if found.state == "cached":
                seconds = at - self._given[id]
                self._take_back(id)
                self._become(id, TrialState(id=id, state="done"), seconds)
                self._make_usable(id)
            elif found.state == "failed":
                self._take_back(id)
                self._give_up(id, found)
            elif outcome.failed:
                self._fail(id, outcome.reason)
            elif time.monotonic() - at > VISIBLE_WITHIN_S:
                unseen = (
                    f"its worker finished, but its result is not in {self._store.uri} as this "
                    "machine sees it: a store must lie where every node reaches it"
                )
                self._fail(id, found.because or unseen)

    def _fail(self, id: str, reason: str) -> None:
        """Records a failure that no worker could record."""
        log = str(self._store.log_path(id))
        self._store.fail(
            FailureRecord(
                schema=SCHEMA, trial=self._trials[id], reason=reason, step=None, term=None, log=log
            )
        )
        self._take_back(id)
        self._give_up(id, TrialState(id=id, state="failed", because=reason))

    def _take_back(self, id: str) -> None:
        del self._ended[id], self._given[id]
        self._given_by_shape[self._trials[id].resources] -= 1

    def _become(self, id: str, state: TrialState, seconds: float | None = None) -> None:
        self._waiting.discard(id)
        self.states[id] = state
        trial = self._trials[id]
        self._tell(Event(trial=trial, state=state.state, because=state.because, seconds=seconds))

    def _make_ready(self, trial: TrialSpec) -> None:
        if self.states[trial.id].state == "blocked":
            self.states[trial.id] = TrialState(id=trial.id, state="new")
            self._tell(Event(trial=trial, state="new"))
        heapq.heappush(self._ready[trial.resources], (self._rank[trial.id], trial.id))

    def _make_usable(self, id: str) -> None:
        """A trial's checkpoint is final: looks at those that stand on it."""
        if id in self._usable:
            return
        self._usable.add(id)
        for child in self._children[id]:
            self._look_at(self._trials[child])

    def _give_up(self, id: str, state: TrialState) -> None:
        """A trial failed or is skipped, and all that wait for it are skipped; where only one of
        its evaluations failed, what stands on its weights goes on."""
        self._become(id, state)
        if state.record is not None:
            self._make_usable(id)
            return
        root = id if state.state == "failed" else state.because
        for child in self._children[id]:
            if child in self._waiting:
                self._give_up(child, TrialState(id=child, state="skipped", because=root))
            else:
                self._look_at(self._trials[child])

    def _look_at(self, trial: TrialSpec) -> None:
        """Decides about a trial one of whose parents is settled now."""
        id = trial.id
        if id in self._waiting and self._parents(trial, self._usable.__contains__):
            found = standing(trial, self._store)
            if found.state == "cached":
                self._become(id, found)
                self._make_usable(id)
            elif found.state == "failed":
                self._give_up(id, found)
            else:
                self._make_ready(trial)
        elif self.states[id].state == "cached" and self._parents(trial, self._settled):
            found = standing(trial, self._store)
            if found.state == "cached":
                self._make_usable(id)
            elif found.state == "failed":
                self._give_up(id, found)
            else:
                self._become(id, found)
                self._waiting.add(id)
                self._make_ready(trial)

    def _settled(self, id: str) -> bool:
        return id in self._usable or self.states[id].state in OVER

    @staticmethod
    def _parents(trial: TrialSpec, are: Callable[[str], bool]) -> bool:
        return all(are(need) for need in trial.needs)
