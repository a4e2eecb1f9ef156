"""A trial's process, for the tests that need a server address of their own.

Reads one JSON object: settings, directory, and sealed trials and record; runs each trial, and
before the second log of each waits for a line when ``pause`` is set. Prints seconds by phase and
the run's trouble. With ``past``, rows that an earlier process left in the store; with ``dies_at``,
the step at which this one kills itself.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from tcc.records import TrialRecord, TrialSpec
from tcc.stores import from_json
from tcc.tracking.wandb import PLUGIN


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    task = json.loads(sys.stdin.readline())
    record = from_json(TrialRecord, task["record"])
    for text in task["trials"]:
        trial = from_json(TrialSpec, text)
        clock = [time.monotonic()]
        run = PLUGIN.start(
            task["settings"],
            trial=trial,
            study="tiny",
            directory=Path(task["directory"]),
            past=lambda: task["past"],
        )
        clock.append(time.monotonic())
        first = task["first"]
        run.log(first, {"train/total": 1.0})
        if task["pause"]:
            print("paused", flush=True)
            sys.stdin.readline()
        clock.append(time.monotonic())
        for step in range(first + 1, 100):
            run.log(step, {"train/total": 1.0})
            if step % 10 == 0:
                run.log(step, {"val/rd_cost": 0.5})
            if step == task["dies_at"]:
                os.kill(os.getpid(), signal.SIGKILL)
        clock.append(time.monotonic())
        run.finish(record)
        clock.append(time.monotonic())
        times = {"start": clock[1] - clock[0], "log": clock[3] - clock[2]}
        said = {**times, "finish": clock[4] - clock[3], "trouble": run.trouble}
        print(json.dumps(said), flush=True)


main()
