"""The one Tuner of a study: Tune places, starts again and accounts; the schedule decides."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.exceptions import RayError
from ray.tune.error import TuneError

from tcc.errors import ClusterError
from tcc.run.events import Watcher
from tcc.run.schedule import Schedule
from tcc.run.searcher import DependencySearcher, ScheduleCallback
from tcc.run.trainable import train


def fit(
    schedule: Schedule,
    watcher: Watcher,
    common: Mapping[str, str],
    *,
    max_concurrent: int,
    retries: int,
) -> None:
    """Runs a schedule to its end on the Ray that this process is connected to.

    ``common``: what every worker is told beside its trial. ``retries``: times that a trial whose
    process died is started again.

    Raises:
        ClusterError: the cluster is lost.
    """
    with tempfile.TemporaryDirectory(prefix="tcc-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(train, _bundle),
            tune_config=tune.TuneConfig(
                search_alg=DependencySearcher(schedule, dict(common)),
                num_samples=-1,
                max_concurrent_trials=max_concurrent,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=scratch,
                callbacks=[ScheduleCallback(schedule, watcher)],
                failure_config=tune.FailureConfig(max_failures=retries),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except (TuneError, RayError, ConnectionError) as error:
            raise ClusterError(
                f"Ray gave the run up: {textwrap.shorten(str(error), 300)}"
            ) from error


def _bundle(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    wanted = {"CPU": config["cpu"], "GPU": config["gpu"]}
    return tune.PlacementGroupFactory([{name: some for name, some in wanted.items() if some}])


def _name(trial: Any) -> str:
    return trial.config["id"]
