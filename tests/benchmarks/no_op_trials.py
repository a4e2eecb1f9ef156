"""Times trials that do nothing, against bare Ray Tune in the same run: uv run python FILE [COUNT].

Prints milliseconds a trial, once the workers are up: bare Tune with reused actors; tcc's searcher,
store, leases and records with W&B off (the goal is at most 1.5 times bare); the same with W&B
offline. Beside them, what memory the driver and the workers gained over the last two thirds.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import psutil

FAKE_TRIALS = str(Path(__file__).parents[1] / "run")
SLOTS = 2
STARTED = 0.1  # share of the trials until the workers are up
MIB = 1 << 20


def main() -> None:
    """Runs each variant once, on one Ray."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    os.environ["PYTHONPATH"] = FAKE_TRIALS
    sys.path.insert(0, FAKE_TRIALS)
    with one_ray(), tempfile.TemporaryDirectory() as folder:
        bare = bare_tune(count)
        print(f"bare Tune, actors reused: {bare:.1f} ms a trial")
        for name, trackers in (
            ("W&B off", {"wandb": {"mode": "disabled"}}),
            ("W&B offline", {"wandb": {"mode": "offline"}}),
        ):
            with Memory() as memory:
                took = tcc_run(count, Path(folder) / name, trackers)
            print(f"tcc, {name}: {took:.1f} ms a trial, {took / bare:.2f} times bare; {memory}")


@contextmanager
def one_ray() -> Iterator[None]:
    """A Ray of this process that every variant uses."""
    from tcc.run.cluster import DRIVER, LOCAL, WORKER

    os.environ.update(DRIVER | WORKER | LOCAL)
    import ray

    ray.init(
        "local",
        num_cpus=SLOTS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
    )
    yield
    ray.shutdown()


def bare_tune(count: int) -> float:
    """Milliseconds a trial of Tune alone."""
    from ray import tune

    ended: list[float] = []

    class Ends(tune.Callback):
        def on_trial_complete(self, *_: object, **__: object) -> None:
            ended.append(time.monotonic())

        def __getstate__(self) -> dict[str, object]:
            return {}

    def nothing(config: dict[str, int]) -> dict[str, int]:
        return {"value": config["value"]}

    with tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_resources(nothing, {"cpu": 1}),
            param_space={"value": tune.grid_search(list(range(count)))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=scratch, callbacks=[Ends()], verbose=0),
        ).fit()
    return pace(ended)


def tcc_run(count: int, store: Path, trackers: dict[str, dict[str, str]]) -> float:
    """Milliseconds a trial of `run_plan`."""
    from fake_trials import NO_OP, make_plan, make_trial

    from tcc.run import RunSettings, run_plan

    plan = make_plan(*(make_trial(f"t{number:05d}") for number in range(count)))
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        outcome = run_plan(plan, str(store), execute=NO_OP, settings=RunSettings(trackers=trackers))
    assert outcome.counts == {"done": count}, outcome.summary()
    results = (store / "trials").glob("*/result.json")
    return pace(sorted(path.stat().st_mtime for path in results))


def pace(ended: list[float]) -> float:
    """Milliseconds between ends, once the workers are up."""
    first = int(len(ended) * STARTED)
    return 1000 * (ended[-1] - ended[first]) / (len(ended) - 1 - first)


class Memory:
    """Watches what this process and its workers hold."""

    def __init__(self, every_s: float = 0.5):
        self._every_s, self._over = every_s, threading.Event()
        self._seen: list[tuple[int, int]] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def __str__(self) -> str:
        driver, workers = (self._gained(lambda seen, i=i: seen[i]) for i in range(2))
        return f"driver {driver:+.0f} MiB, largest worker {workers:+.0f} MiB"

    def _gained(self, of: Callable[[tuple[int, int]], int]) -> float:
        third = len(self._seen) // 3
        values = [of(seen) / MIB for seen in self._seen]
        return values[-1] - values[third] if values else 0.0

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(self._every_s):
            workers = [0]
            for child in me.children(recursive=True):
                try:
                    if child.cmdline()[:1] and child.cmdline()[0].startswith("ray::"):
                        workers.append(child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            self._seen.append((me.memory_info().rss, max(workers)))


if __name__ == "__main__":
    main()
