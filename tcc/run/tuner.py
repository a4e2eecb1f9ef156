"""The one Tuner of a study: Tune places, starts again and accounts; the schedule decides."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.error import TuneError
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial

from tcc.errors import ClusterError
from tcc.run.events import Watcher
from tcc.run.pulse import Pulse
from tcc.run.schedule import Schedule
from tcc.run.searcher import DependencySearcher, Placing, ScheduleCallback
from tcc.run.worker import Worker


def fit(
    schedule: Schedule,
    pulse: Pulse,
    watcher: Watcher,
    common: Mapping[str, str],
    *,
    max_concurrent: int,
    folder: str,
) -> None:
    """Runs a schedule to its end on the Ray that this process is connected to.

    ``pulse``: beats several times a second; what it raises ends the run. ``common``: what every
    worker is told beside its trial. ``folder``: where Tune may keep what nobody needs afterwards.

    Raises:
        ClusterError: the cluster is lost.
    """
    with tempfile.TemporaryDirectory(prefix="tcc-tune-", dir=folder) as scratch:
        tuner = tune.Tuner(
            tune.with_resources(Worker, _bundle),
            tune_config=tune.TuneConfig(
                search_alg=DependencySearcher(schedule, pulse, dict(common)),
                scheduler=Placing(schedule),
                num_samples=-1,
                max_concurrent_trials=max_concurrent,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=scratch,
                callbacks=[ScheduleCallback(schedule, pulse, watcher)],
                failure_config=tune.FailureConfig(max_failures=-1),  # the schedule counts
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except (TuneError, RayError, ConnectionError) as error:
            raise ClusterError(
                f"Ray gave the run up: {textwrap.shorten(str(error), 300)}"
            ) from error


# A process that Ray's memory monitor killed is a lost process as any other. Tune of Ray 2.60 takes
# that error for a fault of its own and ends the whole run, in the two places that follow.


class _Actors(RayActorManager):
    """Tune's actors."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(
            exception, RayActorError | RayTaskError
        ):
            exception = RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


def _first_result(trial: Trial) -> dict[str, Any] | None:
    """What a trial's process tells of itself before it has reported; None: it is lost."""
    try:
        return _asked(trial)
    except RayError:
        trial._default_result_or_future = None
        return None


_asked = Trial._get_default_result_or_future
tune_controller.RayActorManager = _Actors  # pyright: ignore[reportPrivateImportUsage]
Trial._get_default_result_or_future = _first_result  # pyright: ignore[reportAttributeAccessIssue]


def _bundle(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    wanted = {"CPU": config["cpu"], "GPU": config["gpu"]}
    return tune.PlacementGroupFactory([{name: some for name, some in wanted.items() if some}])


def _name(trial: Any) -> str:
    return trial.config["id"]
