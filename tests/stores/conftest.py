"""Records with awkward numbers, a store to put them in, and other processes that have it open."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from tcc.errors import TccError
from tcc.records import (
    LOOP_VERSION,
    SCHEMA,
    DatasetUse,
    EvaluationRecord,
    EvaluationSpec,
    FailureRecord,
    ImageResult,
    Metric,
    PluginUse,
    Provenance,
    Rate,
    Recipe,
    Resources,
    Training,
    TrainRecipe,
    TrialRecord,
    TrialSpec,
)
from tcc.stores import Store, _holders, _lease, _process, open_store

TRAIN = TrainRecipe(
    steps=40,
    batch=4,
    accumulate=1,
    devices=1,
    lr=1e-3,
    warmup=0.0,
    decay=0.3,
    clip=1.0,
    precision="fp32",
    deterministic=False,
    threads=1,
    rate_ramp=0.5,
    rate_start=0.05,
    select_every=10,
    patience=0,
    crop=0,
    flip=False,
    scale=1 / 3,
)
DATASET = DatasetUse(
    name="scenes", plugin="scenes", version=1, params={"root": "a b/ü"}, fingerprint="f00d"
)
METHOD = PluginUse(name="ttcc", plugin="ttcc", version=1, params={"sizes": [16, 24], "gain": 3.0})
PROVENANCE = Provenance(
    tcc_version="0.1.0",
    git_revision="",
    packages={"torch": "2.9"},
    machine="x86_64",
    device="cpu",
    started_at="2026-11-01T00:00:00Z",
    study="tiny",
)
CHECKPOINT = "c" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "runs")


@pytest.fixture(scope="session")
def make_trial() -> Callable[..., TrialSpec]:
    def make(id: str = "aa11") -> TrialSpec:
        return TrialSpec(
            id=id,
            kind="base",
            method="ttcc",
            tasks=("depth", "reconstruction"),
            datasets=("scenes",),
            axes={"lambda_b": 0.1 + 0.2, "beta": 5e-324},
            seed=0,
            variant="",
            recipe=Recipe(
                method=METHOD,
                tasks=(PluginUse(name="depth", plugin="depth", version=2, params={}),),
                datasets=(DATASET,),
                train=TRAIN,
                loop_version=LOOP_VERSION,
            ),
            needs=(),
            evaluations=(_evaluation_spec("ev1"),),
            resources=Resources(),
            label="base λ_b=0.3",
        )

    return make


@pytest.fixture(scope="session")
def make_evaluation() -> Callable[..., EvaluationRecord]:
    def make(
        trial: str = "aa11", id: str = "ev1", checkpoint: str = CHECKPOINT, images: int = 2
    ) -> EvaluationRecord:
        return EvaluationRecord(
            schema=SCHEMA,
            trial=trial,
            evaluation=_evaluation_spec(id),
            checkpoint_sha256=checkpoint,
            rates=(
                Rate(
                    bits_by_stream={"base.y": 1234.5678901234567},
                    num_pixels=4096,
                    bpp_by_stream={"base.y": 1 / 7},
                    source="estimated",
                ),
            ),
            metrics=(Metric(name="depth/rmse", value=0.1, unit="px", higher_is_better=False),),
            per_image=tuple(
                ImageResult(
                    key=f"{index:05}",
                    height=64,
                    width=63,
                    bits_by_stream={"base.y": index / 3},
                    metrics={"depth/rmse": index * 1e-17},
                )
                for index in range(images)
            ),
            timings={"evaluate": 0.25},
            provenance=PROVENANCE,
        )

    return make


@pytest.fixture(scope="session")
def make_record(
    make_trial: Callable[..., TrialSpec], make_evaluation: Callable[..., EvaluationRecord]
) -> Callable[..., TrialRecord]:
    def make(id: str = "aa11", rd_cost: float = 1 / 3, images: int = 2) -> TrialRecord:
        return TrialRecord(
            schema=SCHEMA,
            trial=make_trial(id),
            training=Training(
                steps=40,
                best_step=30,
                best_rd_cost=rd_cost,
                rd_cost=((10, 1e300), (20, -0.0), (30, rd_cost)),
                last_terms={"total": 2 / 3},
                num_parameters={"g_a": 123},
                kmac_per_pixel={"codec.analysis": 1 / 3, "total": 1 / 3},
                kmac_size=(64, 64),
                initial_weights={"depth": "random"},
                checkpoint_sha256=CHECKPOINT,
                last_sha256="d" * 64,
                parents_sha256={},
            ),
            evaluations=(make_evaluation(id, images=images),),
            timings={"train": 1e-9},
            provenance=PROVENANCE,
        )

    return make


@pytest.fixture
def finish(store: Store, make_record: Callable[..., TrialRecord]) -> Callable[..., TrialRecord]:
    """Puts a finished trial with a real checkpoint into the store; gives its record."""

    def put(id: str = "aa11", value: float = 1.0) -> TrialRecord:
        weights = {"w": numpy.full(64, value, dtype=numpy.float32)}
        digest = store.save_checkpoint(id, lambda path: save_file(weights, path))
        record = make_record(id)
        training = replace(record.training, checkpoint_sha256=digest)
        measured = tuple(replace(x, checkpoint_sha256=digest) for x in record.evaluations)
        record = replace(record, training=training, evaluations=measured)
        store.begin(record.trial)
        store.commit(record)
        return record

    return put


@pytest.fixture
def failure(make_trial: Callable[..., TrialSpec]) -> FailureRecord:
    return FailureRecord(
        schema=SCHEMA,
        trial=make_trial(),
        reason="loss is nan",
        step=3,
        term="rate",
        log="trials/aa11/log.txt",
    )


class Other:
    """Another process with the store open. It does what it is told by name, and answers: with what
    came of it, or with the `TccError` that it raised."""

    def __init__(self, uri: str, machine: str, expires_s: float, renew_s: float):
        context = multiprocessing.get_context("fork")
        self._line, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, uri, machine, expires_s, renew_s), daemon=True
        )
        self._process.start()
        theirs.close()
        self.pid = self._process.pid or 0

    def tell(self, name: str, *arguments: Any) -> None:
        self._line.send((name, arguments))

    def answer(self) -> Any:
        assert self._line.poll(30), "it does not answer"
        return self._line.recv()

    def ask(self, name: str, *arguments: Any) -> Any:
        self.tell(name, *arguments)
        return self.answer()

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:  # it is not waited for, as nobody may wait for a lost process
        os.kill(self.pid, signal.SIGKILL)

    def gone(self) -> None:
        self._process.kill()
        self._process.join(10)


@pytest.fixture
def other(store: Store) -> Iterator[Callable[..., Other]]:
    """Starts other processes: ``machine`` where they pretend to be on one, with leases that expire
    and are renewed after so many seconds."""
    started: list[Other] = []

    def start(machine: str = "", *, expires_s: float = 60.0, renew_s: float = 10.0) -> Other:
        started.append(Other(store.uri, machine, expires_s, renew_s))
        return started[-1]

    yield start
    for process in started:
        process.gone()


def _serve(line: Connection, uri: str, machine: str, expires_s: float, renew_s: float) -> None:
    _holders.EXPIRES_S, _lease.RENEW_S = expires_s, renew_s
    if machine:
        _process.machine = lambda: machine
    store, leases = open_store(uri), ExitStack()
    while True:
        name, arguments = line.recv()
        try:
            if name == "work":
                leases.enter_context(store.working_on(*arguments))
                line.send("works")
            elif name == "release":
                leases.close()
                line.send("released")
            elif name == "save_checkpoint":
                (content,) = arguments
                line.send(store.save_checkpoint("aa11", partial(_write, content)))
            elif name == "save_slowly":
                store.save_last("aa11", _write_slowly)
            else:
                line.send(getattr(store, name)(*arguments))
        except TccError as error:
            line.send(error)


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _write_slowly(path: Path) -> None:
    path.write_bytes(bytes(100))
    time.sleep(60)


def _evaluation_spec(id: str) -> EvaluationSpec:
    return EvaluationSpec(
        id=id, dataset=DATASET, split="val", rate="estimated", metrics=("depth/rmse",)
    )
