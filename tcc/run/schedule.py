"""Which trial may run next, and what became of each: a study's ledger while it runs. No Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from tcc.errors import ClusterError, StoreError
from tcc.plan import TrialState, standing
from tcc.records import SCHEMA, FailureRecord, Plan, Resources, TrialSpec
from tcc.run.events import Event, Outcome
from tcc.run.frontier import Frontier
from tcc.run.given import Given
from tcc.run.losses import Loss, Losses
from tcc.run.ready import Ready
from tcc.stores import Store

VISIBLE_WITHIN_S = 90.0  # how long a network file system may hide what another node wrote
LOOK_EVERY_S = 2.0  # at trials that another run works on
HEARS_WITHIN_S = 5.0  # this process, too, that the run is to stop, once a worker did


class Schedule:
    """Hands out the trials that are to be run once their parents are usable, most urgent first.

    What follows from how trials end is the `Frontier`'s to say. A trial that another run on the
    store works on is left to that one, and looked at again.

    ``to_run``: ids. ``run``: this run's name in the store. ``priority``: id → urgency, such as the
    seconds of work that hang on a trial. ``room``: how many of one shape may be handed out at once.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        states: Mapping[str, TrialState],
        to_run: Collection[str],
        *,
        run: str,
        priority: Mapping[str, float],
        room: Callable[[Resources], int],
        tell: Callable[[Event], None],
    ):
        self.losses = Losses(store.progress, lambda id: len(store.evaluations(id)))
        self.given = Given()
        self._trials = {trial.id: trial for trial in plan}
        self._store, self._run, self._tell = store, run, tell
        ready = Ready(plan, priority, lambda shape: room(shape) - self.given.of(shape))
        self._frontier = Frontier(plan, store, states, to_run, ready, tell)
        self._ended: dict[str, tuple[Outcome, float]] = {}  # … until the store has been read
        self._lost: list[tuple[str, Loss]] = []  # … until the store has been read
        self._aside: dict[str, float] = {}  # another run works on it → when to look again
        self._given_up: set[str] = set()
        self._stopping = False
        self._one_shape = len({trial.resources for trial in plan}) == 1

    # --- handing out -------------------------------------------------------------------------

    @property
    def states(self) -> Mapping[str, TrialState]:
        """Trial → its state by now."""
        return self._frontier.states

    @property
    def exhausted(self) -> bool:
        """Nothing is left to hand out, now or later: what was handed out may come back."""
        return self._stopping or not (self._frontier.waiting or self._aside or self.given)

    @property
    def worth_idling(self) -> int:
        """How many processes without a trial may find one later. None where trials are of several
        shapes: an idle process would hold what another shape waits for."""
        return len(self._frontier.waiting) if self._one_shape and not self._stopping else 0

    def next(self) -> TrialSpec | None:
        """The most urgent trial that may run and has room; it counts as handed out from now on.
        None: nothing, until one that was handed out ends.

        Raises:
            ClusterError: trials are left, none can start and none is handed out.
        """
        self.settle()
        while not self._stopping and (trial := self._frontier.take()):
            if not self._frontier.concluded(trial) and not self._leave(trial.id):
                self.given.add(trial)
                return trial
        left = len(self._frontier.waiting)
        if left and not (self.given or self._aside or self._stopping):
            first = self._frontier.first()
            raise ClusterError(
                f"{left} trials are left, none can start and none is running; "
                f"the first is {first.id} ({first.label})"
            )
        return None

    def wants(self, id: str) -> bool:
        """Whether a trial that was handed out and has not started, or was lost, may still start."""
        return not self._stopping and id not in self._given_up

    def stop(self) -> None:
        """From now on nothing is handed out."""
        self._stopping = True

    # --- what Tune says ----------------------------------------------------------------------

    def started(self, id: str) -> None:
        """A trial that was handed out runs: for the first time, or again after it was lost."""
        self.given.start(id)
        if self.states[id].state != "running":
            self._frontier.become(id, TrialState(id=id, state="running"))

    def lost(self, id: str, loss: Loss) -> None:
        """The process of a trial that runs is gone. Reads and writes nothing."""
        self.given.pause(id)
        self._lost.append((id, loss))

    def ended(self, id: str, outcome: Outcome) -> None:
        """A trial that was handed out ended, as its worker says. Reads and writes nothing."""
        self.given.pause(id)
        self._ended[id] = (outcome, time.monotonic())

    def dropped(self, id: str) -> None:
        """A trial that was handed out will not start: it is not wanted any more."""
        if id in self.given and id not in self._ended:
            self.given.remove(id)
            self._frontier.become(id, TrialState(id=id, state="new"))

    # --- and what the store says -------------------------------------------------------------

    def settle(self) -> None:
        """Reads from the store how trials ended since, and draws the consequences.

        Raises:
            StoreError: it cannot be read or written, by this process or by a worker.
        """
        while self._lost:
            self._settle_lost(*self._lost.pop(0))
        for id, (outcome, at) in list(self._ended.items()):
            if outcome.how == "busy":
                self._take_back(id)
                if not self._leave(id, to_own=True):
                    self._frontier.again(id)
            elif outcome.how == "lost":
                self._settle_lost(id, Loss.told(outcome.reason))
                self._hand_out_again(id, outcome)
            elif outcome.how in ("interrupted", "store"):
                self._settle_interrupted(id, outcome, at)
            else:
                self._settle_ended(id, outcome, at)
        now = time.monotonic()
        for id in [id for id, look_at in self._aside.items() if now >= look_at]:
            self._look_aside(id)

    def _settle_ended(self, id: str, outcome: Outcome, at: float) -> None:
        found = standing(self._trials[id], self._store)
        if found.state == "cached":
            seconds = self.given.seconds[id]
            self._take_back(id)
            self._frontier.become(id, TrialState(id=id, state="done"), seconds)
            self._frontier.make_usable(id)
        elif found.state == "failed":
            self._take_back(id)
            self._frontier.give_up(id, found)
        elif outcome.how == "failed":
            self._fail(id, outcome.reason)
        elif time.monotonic() - at > VISIBLE_WITHIN_S:
            unseen = (
                f"its worker finished, but its result is not in {self._store.uri} as this "
                "machine sees it: a store must lie where every node reaches it"
            )
            self._fail(id, found.because or unseen)

    def _settle_lost(self, id: str, loss: Loss) -> None:
        if id not in self.given:
            return
        given_up, said = self.losses.add(self._trials[id], loss)
        if given_up:
            self._given_up.add(id)
            self._fail(id, said)
        else:
            self._tell(Event(trial=self._trials[id], state="retried", because=said))

    def _settle_interrupted(self, id: str, outcome: Outcome, at: float) -> None:
        """A trial was told to end while it ran, or its store failed: it is to be run again."""
        if outcome.how == "interrupted" and not self._stopping:
            if time.monotonic() - at < HEARS_WITHIN_S:
                return
            self._settle_lost(id, Loss(what="process", how=f"ended ({outcome.reason})"))
        self._hand_out_again(id, outcome)
        if outcome.how == "store" and not self._stopping:
            raise StoreError(outcome.reason)

    def _hand_out_again(self, id: str, outcome: Outcome) -> None:
        """Puts a trial back, unless it was given up."""
        if id in self.given:
            self._take_back(id)
            self._frontier.become(id, TrialState(id=id, state="new", because=outcome.reason))
            self._frontier.again(id)

    def _look_aside(self, id: str) -> None:
        """Looks again at a trial that another run works on."""
        if self._frontier.concluded(self._trials[id]):
            del self._aside[id]
        elif not self._leave(id):
            del self._aside[id]
            self._frontier.become(id, TrialState(id=id, state="new"))
            self._frontier.again(id)

    def _leave(self, id: str, *, to_own: bool = False) -> bool:
        """Leaves a trial to who works on it in another run, if anybody does. ``to_own``: or in this
        one, whose workers take a trial over only from processes that are gone."""
        holder = self._store.holder(id)
        if holder is None or (holder.run == self._run and not to_own):
            return False
        self._aside[id] = time.monotonic() + LOOK_EVERY_S
        by = "another run" if holder.run != self._run else "this run, which is still ending"
        state = TrialState(id=id, state="running", because=f"{holder.host}:{holder.pid} of {by}")
        if self.states[id] != state:
            self._frontier.become(id, state)
        return True

    def _fail(self, id: str, reason: str) -> None:
        """Records a failure that no worker could record."""
        log = self._store.log_place(id)
        self._store.fail(
            FailureRecord(
                schema=SCHEMA, trial=self._trials[id], reason=reason, step=None, term=None, log=log
            )
        )
        self._take_back(id)
        found = standing(self._trials[id], self._store)  # with its record, where it was trained
        failed = TrialState(id=id, state="failed", because=reason)
        self._frontier.give_up(id, found if found.state == "failed" else failed)

    def _take_back(self, id: str) -> None:
        self._ended.pop(id, None)
        self.given.remove(id)
