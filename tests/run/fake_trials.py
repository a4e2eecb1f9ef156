"""Trials that train nothing, for the tests of `run`: they commit real records to a real store.

A trial's label says what it does: ``sleep 0.5``, ``fail``, ``raise``, ``die`` (each time) or
``die once``, ``full`` (the store), ``report``, ``train 20`` (steps of 0.1 s, which can be stopped;
none begins while there is a file ``hold`` in the store), ``eat 2`` (gigabytes of memory),
``meet a,b`` (waits until those trials have begun, and fails if they do not). Every attempt adds a
line to ``attempts.jsonl`` in the store.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tcc.errors import StoreError
from tcc.plan import standing
from tcc.records import (
    LOOP_VERSION,
    SCHEMA,
    DatasetUse,
    EvaluationRecord,
    EvaluationSpec,
    FailureRecord,
    Plan,
    PluginUse,
    Progress,
    Provenance,
    Recipe,
    Resources,
    Training,
    TrainRecipe,
    TrialRecord,
    TrialSpec,
)
from tcc.stores import Store

ATTEMPT = "fake_trials:attempt"
NO_OP = "fake_trials:no_op"
WEIGHTS: dict[str, str] = {}  # trial → what its weights begin with, where a test changes them


def make_trial(
    id: str,
    needs: tuple[str, ...] = (),
    *,
    label: str = "",
    kind: str = "base",
    cpu: float = 1.0,
    gpu: float = 0.0,
    evaluations: tuple[str, ...] = (),
) -> TrialSpec:
    """A trial whose ``label`` says what `attempts.attempt` does with it."""
    train = TrainRecipe(
        steps=1,
        batch=1,
        accumulate=1,
        devices=1,
        lr=1e-3,
        warmup=0.0,
        decay=0.0,
        clip=1.0,
        precision="fp32",
        deterministic=False,
        threads=1,
        rate_ramp=0.0,
        rate_start=1.0,
        select_every=1,
        patience=0,
        crop=0,
        flip=False,
        scale=1.0,
    )
    data = DatasetUse(name="none", plugin="none", version=1, params={}, fingerprint="0")
    method = PluginUse(name="ttcc", plugin="ttcc", version=1, params={})
    return TrialSpec(
        id=id,
        kind=kind,
        method="ttcc",
        tasks=("depth",),
        datasets=("none",),
        axes={},
        seed=0,
        variant="",
        recipe=Recipe(
            method=method, tasks=(), datasets=(data,), train=train, loop_version=LOOP_VERSION
        ),
        needs=needs,
        evaluations=tuple(
            EvaluationSpec(id=id, dataset=data, split="val", rate="estimated", metrics=())
            for id in evaluations
        ),
        resources=Resources(cpu=cpu, gpu=gpu),
        label=label or id,
    )


def make_plan(*trials: TrialSpec) -> Plan:
    return Plan(study="test", trials=trials)


def attempts(store: Path) -> list[dict[str, Any]]:
    """What `attempts.attempt` noted, in the order of beginning."""
    path = store / "attempts.jsonl"
    notes = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return sorted(notes, key=lambda note: note["began"])


def order(store: Path) -> list[str]:
    return [note["id"] for note in attempts(store)]


def attempt(
    trial: TrialSpec,
    store: Store,
    observer: Any,
    *,
    study: str,
    run: str = "",
    stop: Callable[[], bool] = lambda: False,
) -> TrialRecord | FailureRecord:
    """What `tcc.trial.attempt` promises, without torch."""
    with store.working_on(trial.id, run):
        found = standing(trial, store)
        if found.state == "cached" and found.record is not None:
            return found.record
        return _attempt(trial, store, observer, study, stop)


def _attempt(
    trial: TrialSpec, store: Store, observer: Any, study: str, stop: Callable[[], bool]
) -> TrialRecord | FailureRecord:
    store.begin(trial)
    began = time.time()
    what, _, detail = trial.label.partition(" ")
    (store.directory / f"begun-{trial.id}").touch()
    if what == "meet" and not all_begun(store, detail.split(",")):
        what = "fail"
    if what == "die" and (detail != "once" or not _seen(store, trial)):
        _note(store, trial, began)
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "sleep":
        time.sleep(float(detail))
    if what == "train":
        _train(trial, store, observer, int(detail), stop)
    if what == "eat":
        _eat(float(detail))
    if what == "full":
        raise StoreError("the store is full")
    if what == "report":
        for step in range(1, 4):
            observer.log(step, {"train/total": 1.0 / step})
            observer.progress(_progress(trial, step))
            time.sleep(0.05)
    if what == "raise":
        _note(store, trial, began)
        raise RuntimeError("nothing caught this")
    outcome: TrialRecord | FailureRecord
    if what == "fail":
        outcome = FailureRecord(
            schema=SCHEMA, trial=trial, reason="loss is nan", step=7, term="rate", log=""
        )
        store.fail(outcome)
    else:
        outcome = commit(trial, store, study, time.time() - began)
    _note(store, trial, began)  # now that it is in the store: a kill may take the note, no more
    observer.finished(outcome)
    return outcome


def no_op(
    trial: TrialSpec,
    store: Store,
    observer: Any,
    *,
    study: str,
    run: str = "",
    stop: Callable[[], bool] = lambda: False,
) -> TrialRecord | FailureRecord:
    """Commits a record and nothing else."""
    with store.working_on(trial.id, run):
        store.begin(trial)
        record = commit(trial, store, study, 0.0)
    observer.finished(record)
    return record


def _train(
    trial: TrialSpec, store: Store, observer: Any, steps: int, stop: Callable[[], bool]
) -> None:
    """Steps of 0.1 s; goes on from the saved one. Each is noted in ``steps.jsonl``."""
    state = store.state(trial.id)
    begin = int(state.read_text()) if state else 0
    for step in range(begin + 1, steps + 1):
        time.sleep(0.1)
        while (store.directory / "hold").exists():
            time.sleep(0.1)
        with (store.directory / "steps.jsonl").open("a") as file:
            file.write(json.dumps([trial.id, step, os.getpid()]) + "\n")
        progress = _progress(trial, step, steps)
        store.write_progress(progress)
        observer.progress(progress)
        if stop():
            store.save_state(trial.id, partial(_write, text=str(step)))
            raise KeyboardInterrupt


def commit(trial: TrialSpec, store: Store, study: str, seconds: float) -> TrialRecord:
    """Trains unless the record stands, then makes the evaluations that are missing."""
    parents = {need: store.checkpoint_sha256(need) for need in trial.needs}
    provenance = Provenance(
        tcc_version="0",
        git_revision="",
        packages={},
        machine="",
        device="cpu",
        started_at=datetime.now(UTC).isoformat(),
        study=study,
    )
    record = store.record(trial.id)
    if record is None or record.training.parents_sha256 != parents:
        weights = WEIGHTS.get(trial.id, "") + trial.id + "".join(map(str, parents.values()))
        training = Training(
            steps=1,
            best_step=1,
            best_rd_cost=1.0,
            rd_cost=((1, 1.0),),
            last_terms={},
            num_parameters={},
            kmac_per_pixel={},
            kmac_size=(64, 64),
            initial_weights={},
            checkpoint_sha256=store.save_checkpoint(
                trial.id, lambda path: _safetensors(path, weights)
            ),
            last_sha256="",
            parents_sha256=parents,
        )
        record = TrialRecord(
            schema=SCHEMA,
            trial=trial,
            training=training,
            evaluations=(),
            timings={"total": seconds},
            provenance=provenance,
        )
        store.commit(record)
    for item in trial.evaluations:
        store.commit_evaluation(
            EvaluationRecord(
                schema=SCHEMA,
                trial=trial.id,
                evaluation=item,
                checkpoint_sha256=record.training.checkpoint_sha256,
                rates=(),
                metrics=(),
                per_image=(),
                timings={},
                provenance=provenance,
            )
        )
    return record


def _eat(gigabytes: float) -> None:
    """Takes memory, and holds it until somebody ends this process."""
    eaten = [bytearray(os.urandom(1 << 20) * 64) for _ in range(int(gigabytes * 16))]
    time.sleep(60)
    assert eaten


def steps(store: Path) -> list[tuple[str, int, int]]:
    """Trial, step and process of each step that `_train` took, in their order."""
    path = store / "steps.jsonl"
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()]


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _safetensors(path: Path, text: str) -> None:
    """A file of no tensors, with a text."""
    header = json.dumps({"__metadata__": {"weights": text}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def _progress(trial: TrialSpec, step: int, steps: int = 3) -> Progress:
    return Progress(
        trial=trial.id,
        phase="train",
        step=step,
        steps=steps,
        loss=1.0 / step,
        bpp=0.25,
        elapsed_s=0.1 * step,
        eta_s=None,
    )


def _note(store: Store, trial: TrialSpec, began: float) -> None:
    note = {
        "id": trial.id,
        "pid": os.getpid(),
        "began": began,
        "ended": time.time(),
        "cuda": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "cwd": str(Path.cwd()),
        "bytecode": os.environ.get("PYTHONDONTWRITEBYTECODE"),
    }
    with (store.directory / "attempts.jsonl").open("a") as file:
        file.write(json.dumps(note) + "\n")


def all_begun(store: Store, ids: list[str]) -> bool:
    """Waits until trials have begun; False: one of them never did."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if all((store.directory / f"begun-{id}").exists() for id in ids):
            return True
        time.sleep(0.05)
    return False


def _seen(store: Store, trial: TrialSpec) -> bool:
    path = store.directory / "attempts.jsonl"
    return path.exists() and f'"id": "{trial.id}"' in path.read_text()
