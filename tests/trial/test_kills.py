"""A trial killed with -9 at any write of its store, or at any moment, ends as if it never was."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tcc.records import TrialRecord, TrialSpec
from tcc.stores import Store, open_store
from tcc.trial import attempt, state

CHANGES = ("train.steps=8", "train.select_every=3", "evaluate=[{}, {split: select}]")
HARDER = (
    *("train.precision=bf16", "train.accumulate=2", "train.warmup=0.3", "model.hyperprior=true"),
    *("train.crop=32", "train.flip=true", "train.patience=2", "train.lr=0.05"),
)
WRITES = ("replace", "rename", "link", "unlink")  # what changes a folder's files for good


@pytest.fixture(autouse=True)
def saved_after_every_step(monkeypatch):
    monkeypatch.setattr(state, "AT_SELECTION_S", 0.0)
    monkeypatch.setattr(state, "BETWEEN_S", 0.0)
    monkeypatch.setattr(state, "WORK_PER_SAVE", 0)


def outcome(trial: TrialSpec, store: Store) -> tuple:
    """All that must not differ: record, weights, rows, and that nothing is left to go on from."""
    record = store.record(trial.id)
    assert record is not None
    assert not store.problems()
    measured = [(it.evaluation, it.rates, it.metrics, it.per_image) for it in record.evaluations]
    folder = store.checkpoint(trial.id).parent
    weights = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    previews = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}
    assert store.state(trial.id) is None
    assert store.holder(trial.id) is None
    return record.training, measured, weights, previews, list(store.metrics(trial.id))


def count_writes(root: Path, tell: Callable[[str, str], None]) -> None:
    """Tells of each change of a file below ``root`` in this process, just before it is made."""

    def telling(name: str) -> Callable:
        real = getattr(os, name)

        def change(*paths, **options):
            where = os.path.realpath(os.fspath(paths[-1]))
            if where.startswith(str(root)):
                tell(name, where)
            return real(*paths, **options)

        return change

    for name in WRITES:
        setattr(os, name, telling(name))


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(trial: TrialSpec, root: Path, killed_at: int, line=None) -> None:
    """In a process of its own: the trial, killed before its n-th write; 0: not at all."""
    seen = []

    def tell(name: str, where: str) -> None:
        seen.append(f"{name} {Path(where).name.split('.')[0]}")
        if len(seen) == killed_at:
            kill_myself()

    count_writes(root, tell)
    attempt(trial, open_store(root))
    if line is not None:
        line.send(seen)


def in_child(function: Callable, *arguments) -> multiprocessing.Process:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=function, args=arguments)
    child.start()
    return child


def prepared(plan, kind: str, tmp_path: Path) -> tuple[TrialSpec, Callable[[str], Path]]:
    """A trial, and what makes stores of some name in which its parents are done."""
    wanted = next(trial for trial in plan if trial.kind == kind)
    before = open_store(tmp_path / "before")
    for trial in plan:
        if trial.id in wanted.needs:
            assert isinstance(attempt(trial, before), TrialRecord)

    def make(name: str) -> Path:
        return Path(shutil.copytree(tmp_path / "before", tmp_path / name))

    return wanted, make


def writes_of(trial: TrialSpec, root: Path) -> list[str]:
    """What an undisturbed run of the trial writes."""
    line, end = multiprocessing.Pipe(duplex=False)
    child = in_child(run, trial, root, 0, end)
    child.join()
    assert child.exitcode == 0
    return line.recv()


def check(plan, kind: str, tmp_path: Path, every: int) -> None:
    trial, make = prepared(plan, kind, tmp_path)
    whole = make("whole")
    names = writes_of(trial, whole)
    expected = outcome(trial, open_store(whole))
    for part in ("training", "checkpoint", "result", "state"):
        assert f"replace {part}" in {name.replace(" .", " ") for name in names}, names
    for number in range(1, len(names) + 1, every):
        root = make(str(number))
        child = in_child(run, trial, root, number)
        child.join()
        assert child.exitcode == -signal.SIGKILL, f"killed at write {number}: {names[number - 1]}"
        assert isinstance(attempt(trial, open_store(root)), TrialRecord)
        found = outcome(trial, open_store(root))
        assert found == expected, f"killed at write {number}: {names[number - 1]}"


def test_killed_at_some_of_its_writes_it_ends_the_same(tiny_plan, tmp_path):
    check(tiny_plan(*CHANGES, "train.steps=4"), "pretrain", tmp_path, every=7)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["pretrain", "enhancement"])
def test_killed_at_any_of_its_writes_it_ends_the_same(tiny_plan, tmp_path, kind):
    changes = HARDER if kind == "enhancement" else ()
    check(tiny_plan(*CHANGES, *changes), kind, tmp_path, every=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_any_moment_it_ends_the_same(tiny_plan, tmp_path):
    plan = tiny_plan(*CHANGES, *HARDER, "train.patience=0", "train.steps=60")
    trial, make = prepared(plan, "base", tmp_path)
    whole = make("whole")
    begun = time.monotonic()
    writes_of(trial, whole)
    took = time.monotonic() - begun
    expected, draw = outcome(trial, open_store(whole)), random.Random(4)
    kills = 0
    for number in range(8):
        root = make(str(number))
        while open_store(root).record(trial.id) is None:
            child = in_child(run, trial, root, 0)
            child.join(draw.uniform(0.05, 0.8) * took)
            if child.exitcode is None:
                child.kill()
                child.join()
                kills += 1
        assert isinstance(attempt(trial, open_store(root)), TrialRecord)
        assert outcome(trial, open_store(root)) == expected, f"attempt {number}"
    assert kills >= 8
