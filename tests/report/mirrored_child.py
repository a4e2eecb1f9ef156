"""A trial that says its rows to its store and to W&B, as a worker does; by itself, one that is
killed on the way: ``mirrored_child.py STORE TRIAL MODE LAST``."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcc.plan import plan_to_json
from tcc.records import Plan, TrialRecord
from tcc.spec import parse_spec, resolved_yaml
from tcc.stores import Store, open_store
from tcc.tracking import TrackedRun
from tcc.tracking.wandb import WandbTracker

SPEC = """
study: few
data: {scenes: {train: 64, val: 4}}
pairs: [{base: depth, enhancement: reconstruction}]
grid: {lambda_b: [0.3], lambda_e: [0.1], beta: [0]}
train: {steps: 400}
wandb: {mode: MODE}
"""
STEPS = 40
PATIENT = {"init_timeout_s": 20.0, "finish_timeout_s": 20.0}  # a busy machine is no lost server
HURRIED = {"init_timeout_s": 3.0, "finish_timeout_s": 1.5}
waits = PATIENT


@contextmanager
def hurried() -> Iterator[None]:
    """Waits for a server that is lost, or will be, no longer than needed."""
    global waits
    waits = HURRIED
    try:
        yield
    finally:
        waits = PATIENT


def plan_few(
    root: Path, records: Sequence[TrialRecord], mode: str
) -> tuple[Store, list[TrialRecord]]:
    """A store with a planned study of three trials, none begun; and what they will come to."""
    by_kind = {it.trial.kind: it for it in reversed(records)}
    chosen = [
        replace(it, provenance=replace(it.provenance, study="few"))
        for it in (by_kind[kind] for kind in ("base", "single_layer", "pixels"))
    ]
    store = open_store(root)
    plan = Plan(study="few", trials=tuple(it.trial for it in chosen))
    store.write_study("few", "spec.yaml", resolved_yaml(parse_spec(SPEC.replace("MODE", mode))))
    store.write_study("few", "plan.json", plan_to_json(plan))
    return store, chosen


def parts(step: int) -> list[dict[str, float]]:
    """The values of one step, which come in up to two calls."""
    parts = [{"train/total": 2 + math.sin(step)}]
    return parts if step % 10 else [*parts, {"val/rd_cost": 1 / step}]


EXPECTED = [
    {"_step": step} | {name: value for part in parts(step) for name, value in part.items()}
    for step in range(1, STEPS + 1)
]


def begin(store: Store, id: str, mode: str) -> TrackedRun:
    trial = store.trial(id)
    assert trial is not None
    return WandbTracker().start(
        {"mode": mode, **waits},
        trial=trial,
        study="few",
        directory=store.directory,
        past=lambda: store.metrics(id),
    )


def say(
    store: Store,
    id: str,
    run: TrackedRun | None = None,
    *,
    first: int = 1,
    last: int = STEPS,
    midway: Callable[[], None] = lambda: None,
) -> None:
    """Rows from one step to another; ``midway`` is called half way."""
    for step in range(first, last + 1):
        if step == (first + last) // 2:
            midway()
        for values in parts(step):
            store.append_metrics(id, step, values)
            if run is not None:
                run.log(step, values)


def run_trial(store: Store, record: TrialRecord, mode: str = "", **how: Any) -> str:
    """A trial from its begin to its end, mirrored if a mode is given; gives the trouble of that."""
    store.begin(record.trial)
    run = begin(store, record.trial.id, mode) if mode else None
    say(store, record.trial.id, run, **how)
    store.commit(record)
    if run is None:
        return ""
    run.finish(record)
    return run.trouble


def assert_whole(server: Any, records: Sequence[TrialRecord]) -> None:
    """The server holds these trials and their study as they were told."""
    for record in records:
        run = server.runs[record.trial.id]
        assert run.rows == EXPECTED
        assert run.state == "finished"
        assert run.summary["best_rd_cost"] == record.training.best_rd_cost
        assert (run.job_type, run.group) == (record.trial.kind, "few")
    assert "rd_points" in server.runs["study-few"].rows[-1]


def main() -> None:
    uri, id, mode, last = sys.argv[1:]
    store = open_store(uri)
    say(store, id, begin(store, id, mode), last=int(last))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
