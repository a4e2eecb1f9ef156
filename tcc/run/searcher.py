"""The two ends that Tune talks to: a searcher that hands out ready trials, a callback that hears
what became of them. Both only translate; the `Schedule` decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from tcc.records import Progress
from tcc.run.events import Outcome, Watcher
from tcc.run.schedule import Schedule
from tcc.stores import to_json

PROGRESS = tuple(Progress.__dataclass_fields__)


class DependencySearcher(Searcher):
    """Suggests the next trial of a schedule as the config of a Tune trial."""

    def __init__(self, schedule: Schedule, common: dict[str, Any]):
        super().__init__()
        self._schedule, self._common = schedule, common

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self._schedule.next()
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


class ScheduleCallback(tune.Callback):
    """Tells the schedule and the display what Tune sees of the trials."""

    def __init__(self, schedule: Schedule, watcher: Watcher):
        self._schedule, self._watcher = schedule, watcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._schedule.started(trial.config["id"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "phase" in result:
            self._watcher.progress(Progress(**{name: result[name] for name in PROGRESS}))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        last = trial.last_result
        outcome = Outcome(failed=last["failed"], reason=last["reason"])
        self._schedule.ended(trial.config["id"], outcome)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._schedule.ended(trial.config["id"], Outcome(failed=True, reason=_how_it_died(trial)))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._schedule.settle()
        self._watcher.tick()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # a terminal cannot be pickled


def _how_it_died(trial: Any) -> str:
    """Why Tune gave a trial up: its process died, each time that it was started."""
    said = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
    last = " ".join(said.rpartition("Failure #")[2].split())
    detail = last.rpartition("Worker exit detail: ")[2][:300] or "Ray gives no reason"
    return f"its worker process died, {trial.num_failures} times in all; the last time: {detail}"
