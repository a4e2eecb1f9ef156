"""Times a graph of sleeping trials on 8 logical slots: uv run python FILE [SECONDS A UNIT].

8 bases of 4 to 24 units, 40 children of 6 units, as a study of bases and enhancements has them; how
long each takes is in the store's history. Prints the makespan once all slots are warm, against an
ideal list schedule of the same graph (the goal is at most 1.03 times) and against max(critical
path, work / slots); and, in the same run, that of two stages, all bases before all children.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FAKE_TRIALS = HERE.parent / "run"
sys.path[:0] = [str(HERE), str(FAKE_TRIALS)]

import fake_trials  # noqa: E402

from tcc.plan import makespan as ideal_schedule  # noqa: E402
from tcc.plan import plan_to_json  # noqa: E402
from tcc.plan.capacity import Node  # noqa: E402
from tcc.records import FrozenMap, Plan, TrialSpec  # noqa: E402
from tcc.stores import Store, open_store  # noqa: E402

SLOTS = 8
BASES = (4, 6, 9, 12, 15, 18, 21, 24)  # units
CHILDREN, CHILD = 5, 6  # of each base; units of each


def main() -> None:
    """Runs the graph at once, then in two stages."""
    unit_s = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    from tcc.run.cluster import DRIVER, LOCAL, WORKER

    os.environ.update(DRIVER | WORKER | LOCAL)
    os.environ["PYTHONPATH"] = os.pathsep.join((str(HERE), str(FAKE_TRIALS)))
    import ray

    ray.init(
        "local",
        num_cpus=SLOTS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
    )
    bases, children = graph(unit_s)
    trials = (*bases, *children)
    seconds = {trial.id: trial.axes["seconds"] for trial in trials}
    nodes = [Node(name="here", cpu=SLOTS, gpu=0)]
    ideal = ideal_schedule.makespan(trials, seconds, nodes)
    least = ideal_schedule.bound(trials, seconds, nodes)
    print(f"ideal list schedule {ideal:.2f} s: {ideal / least:.3f} times the bound, {least:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        for name, stages in (("at once", [trials]), ("in two stages", [bases, children])):
            store = open_store(Path(folder) / name)
            took = sum(timed(stage, f"warm{n}", store) for n, stage in enumerate(stages))
            print(f"{name} {took:.2f} s: {took / ideal:.3f} times ideal, {took / least:.3f} bound")
    ray.shutdown()


def graph(unit_s: float) -> tuple[list[TrialSpec], list[TrialSpec]]:
    """The bases, and the children of each."""
    bases = [sleeper(f"b{n}", "base", units * unit_s) for n, units in enumerate(BASES)]
    children = [
        sleeper(f"c{base.id}-{n}", "enhancement", CHILD * unit_s, base.id)
        for base in bases
        for n in range(CHILDREN)
    ]
    return bases, children


def sleeper(id: str, kind: str, seconds: float, *needs: str) -> TrialSpec:
    """A trial that takes so long, and whose like ones do."""
    trial = fake_trials.make_trial(id, needs, kind=kind)
    method = replace(trial.recipe.method, params={"seconds": seconds})
    return replace(
        trial,
        axes=FrozenMap({"seconds": seconds}),
        recipe=replace(trial.recipe, method=method),
    )


def timed(trials: Iterable[TrialSpec], warm: str, store: Store) -> float:
    """Seconds from when every slot has a worker to the end of the last trial."""
    from tcc.run import run_plan

    known = {trial.id: trial for trial in trials}
    first = [fake_trials.make_trial(f"{warm}-{n}", kind="warm") for n in range(SLOTS)]
    gate = tuple(trial.id for trial in first)
    gated = [
        trial if any(need in known for need in trial.needs) else replace(trial, needs=gate)
        for trial in known.values()
    ]
    remember((*first, *gated), f"past-{warm}", store)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        plan = fake_trials.make_plan(*first, *gated)
        outcome = run_plan(plan, store.uri, execute="makespan:attempt")
    assert outcome.exit_code == 0, outcome.summary()
    ends = {id: result(store, id).stat().st_mtime for id in (*gate, *known)}
    return max(ends[id] for id in known) - max(ends[id] for id in gate)


def remember(trials: Iterable[TrialSpec], study: str, store: Store) -> None:
    """Leaves in the store what such trials took in an earlier study."""
    plan = Plan(
        study=study,
        trials=tuple(
            replace(
                trial,
                id=f"{study}-{trial.id}",
                needs=tuple(f"{study}-{need}" for need in trial.needs),
            )
            for trial in trials
        ),
    )
    for trial in plan:
        fake_trials.commit(trial, store, study, trial.axes.get("seconds", 1.0))
    store.write_study(study, "plan.json", plan_to_json(plan))


def result(store: Store, id: str) -> Path:
    """The file that is written last of a trial."""
    return store.directory / "trials" / id / "result.json"


def attempt(trial: TrialSpec, store: Store, observer: Any, *, study: str, run: str, **_: Any):
    """Sleeps as long as the trial says; a warm one waits until every slot has one."""
    with store.working_on(trial.id, run):
        store.begin(trial)
        began = time.monotonic()
        if trial.kind == "warm":
            (store.directory / f"begun-{trial.id}").touch()
            stem = trial.id.rpartition("-")[0]
            assert fake_trials.all_begun(store, [f"{stem}-{n}" for n in range(SLOTS)])
        else:
            time.sleep(trial.axes["seconds"])
        return fake_trials.commit(trial, store, study, time.monotonic() - began)


if __name__ == "__main__":
    main()
