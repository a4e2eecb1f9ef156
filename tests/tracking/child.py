"""A trial's process, for the tests that need a server address of their own.

Reads one JSON object: settings, directory, and sealed trials and record; runs each trial, and
before the second log of each waits for a line when ``pause`` is set. Prints seconds by phase.
"""

from __future__ import annotations

import json
import logging
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
            task["settings"], trial=trial, study="tiny", directory=Path(task["directory"])
        )
        clock.append(time.monotonic())
        run.log(1, {"train/total": 1.0})
        if task["pause"]:
            print("paused", flush=True)
            sys.stdin.readline()
        clock.append(time.monotonic())
        for step in range(2, 100):
            run.log(step, {"train/total": 1.0})
        clock.append(time.monotonic())
        run.finish(record)
        clock.append(time.monotonic())
        print(json.dumps({"start": clock[1] - clock[0], "log": clock[3] - clock[2],
                          "finish": clock[4] - clock[3]}), flush=True)  # fmt: skip


main()
