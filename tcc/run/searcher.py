"""The ends that Tune talks to: a searcher that hands out ready trials, a scheduler that says which
starts next, a callback that hears what became of them. All only translate; the `Schedule` decides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from tcc.records import Progress
from tcc.run.events import Outcome, Watcher
from tcc.run.losses import Loss
from tcc.run.pulse import Pulse
from tcc.run.schedule import Schedule
from tcc.stores import to_json

PROGRESS = tuple(Progress.__dataclass_fields__)
OUTCOME = tuple(Outcome.__dataclass_fields__)


class DependencySearcher(Searcher):
    """Suggests the next trial of a schedule as the config of a Tune trial. While nothing runs, Tune
    asks for it and does nothing else, so the pulse beats here too."""

    def __init__(self, schedule: Schedule, pulse: Pulse, common: dict[str, Any]):
        super().__init__()
        self._schedule, self._pulse, self._common = schedule, pulse, common

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self._pulse.next()
        if trial is not None:
            need = trial.resources
            own = {"id": trial.id, "trial": to_json(trial), "cpu": need.cpu, "gpu": need.gpu}
            return self._common | own
        return Searcher.FINISHED if self._schedule.exhausted else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the callback hears the same, with the trial's id."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the store is what a restart reads."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it is given; open stores and terminals do not


class Placing(FIFOScheduler):
    """First in, first out, but for trials that are not wanted any more before they start, and those
    whose own process is starting: Tune would give them another one, and end that."""

    def __init__(self, schedule: Schedule):
        super().__init__()
        self._schedule = schedule
        self._idling = 0

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        self._keep_idle(tune_controller._tune_controller)
        pending: dict[str, Trial] = {}
        for trial in list(tune_controller.get_live_trials()):
            if trial.status != Trial.PENDING:
                continue
            if self._schedule.wants(trial.config["id"]):
                pending[trial.config["id"]] = trial
            else:
                tune_controller.stop_trial(trial)
        in_order = (pending[id] for id in self._schedule.given if id in pending)
        return next((trial for trial in in_order if not _starts(tune_controller, trial)), None)

    def _keep_idle(self, controller: Any) -> None:
        """Keeps processes for trials that wait for their parents: Tune ends all idle ones but one
        as soon as none can start, and a new one takes seconds."""
        for shape in {trial.placement_group_factory for trial in controller.get_live_trials()}:
            worth = self._schedule.worth_idling
            controller._actor_cache.increase_max(shape, worth - self._idling)
            self._idling = worth

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _starts(wrapped: Any, trial: Trial) -> bool:
    """Whether a trial's own process has its place on a node and is starting."""
    controller = wrapped._tune_controller
    actor = controller._trial_to_actor.get(trial)
    return actor is not None and controller._actor_manager.is_actor_started(actor)


class ScheduleCallback(tune.Callback):
    """Tells the schedule and the display what Tune sees of the trials."""

    def __init__(self, schedule: Schedule, pulse: Pulse, watcher: Watcher):
        self._schedule, self._pulse, self._watcher = schedule, pulse, watcher
        self._untracked: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._schedule.started(trial.config["id"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "phase" in result:
            self._watcher.progress(Progress(**{name: result[name] for name in PROGRESS}))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._schedule.lost(trial.config["id"], Loss.told(_last_error(trial)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        id, last = trial.config["id"], trial.last_result or {}
        if "how" not in last:
            self._schedule.dropped(id)
            return
        outcome = Outcome(**{name: last[name] for name in OUTCOME})
        self._schedule.ended(id, outcome)
        kind = outcome.untracked.replace(id, "")
        if kind and kind not in self._untracked:
            self._untracked.add(kind)
            study = trial.config["study"]
            self._watcher.note(f"{outcome.untracked}; `tcc sync {study}` catches up")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        # Tune gives up what it had not started yet, such as when an idle process turns out dead.
        self._schedule.ended(trial.config["id"], Outcome(how="lost", reason=_last_error(trial)))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._pulse.beat()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # a terminal cannot be pickled


def _last_error(trial: Any) -> str:
    """What Ray said when a trial's process was lost the last time."""
    said = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
    return said.rpartition("Failure #")[2].partition(")\n")[2]
