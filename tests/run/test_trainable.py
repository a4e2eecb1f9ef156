"""What a worker does with one trial, without Ray around it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_trials import ATTEMPT, make_trial, steps

from tcc import registry
from tcc.records import Progress, TrialSpec
from tcc.run import observer as observer_module
from tcc.run import trainable as trainable_module
from tcc.run.observer import WorkerObserver
from tcc.run.trainable import train
from tcc.stores import open_store, to_json


class Tracker:
    """Notes what it is told."""

    trouble = "no network"

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, settings: Any, **about: Any) -> Tracker:
        self.told.append(("start", dict(settings), about["study"], about["trial"].id))
        return self

    def log(self, step: int, values: Any) -> None:
        self.told.append(("log", step, values))

    def finish(self, outcome: Any) -> None:
        self.told.append(("finish", type(outcome).__name__))


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Tracker:
    tracker = Tracker()
    load = registry.load
    monkeypatch.setattr(
        registry, "load", lambda room, name: tracker if room == "tracking" else load(room, name)
    )
    return tracker


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(observer_module.tune, "report", made.append)
    return made


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


def config(trial: TrialSpec, store: Path, execute: str = ATTEMPT) -> dict[str, Any]:
    return {
        "run": "a-run",
        "trial": to_json(trial),
        "store": str(store),
        "study": "test",
        "execute": execute,
        "trackers": json.dumps({"any": {"project": "p"}}),
    }


def test_a_trial_is_done_tracked_and_reported(
    tmp_path: Path, tracker: Tracker, reports: list[dict[str, Any]]
) -> None:
    trial = make_trial("a", label="report")
    assert train(config(trial, tmp_path)) == {
        "how": "done",
        "reason": "",
        "untracked": "no network",
    }
    assert open_store(tmp_path).record("a") is not None
    assert tracker.told[0] == ("start", {"project": "p"}, "test", "a")
    assert [told[1] for told in tracker.told if told[0] == "log"] == [1, 2, 3]
    assert tracker.told[-1] == ("finish", "TrialRecord")
    assert [report["step"] for report in reports] == [1], "reports are two seconds apart"


def test_a_failure_is_returned_and_tracked(tmp_path: Path, tracker: Tracker) -> None:
    told = train(config(make_trial("a", label="fail"), tmp_path))
    assert (told["how"], told["reason"]) == ("failed", "loss is nan")
    assert tracker.told[-1] == ("finish", "FailureRecord")


def test_what_nothing_caught_is_returned_tracked_and_logged(
    tmp_path: Path, tracker: Tracker
) -> None:
    told = train(config(make_trial("a", label="raise"), tmp_path))
    assert (told["how"], told["reason"]) == ("failed", "RuntimeError: nothing caught this")
    assert tracker.told[-1] == ("finish", "FailureRecord")
    assert "Traceback" in open_store(tmp_path).log_path("a").read_text()


def test_a_worker_that_cannot_do_its_work_says_why(tmp_path: Path) -> None:
    told = train(config(make_trial("a"), tmp_path, execute="no_such_module:attempt"))
    assert told["how"] == "failed"
    assert "no_such_module" in told["reason"]
    blocked = tmp_path / "file"
    blocked.touch()
    told = train(config(make_trial("a"), blocked))
    assert told["how"] == "store"
    assert "is a file" in told["reason"]


def test_a_store_that_fails_is_no_fault_of_the_trial(tmp_path: Path, tracker: Tracker) -> None:
    told = train(config(make_trial("a", label="full"), tmp_path))
    assert told == {"how": "store", "reason": "the store is full", "untracked": ""}
    assert tracker.told == [], "a mirror of a trial that said nothing was begun"
    assert open_store(tmp_path).failure("a") is None


def test_a_trial_of_another_process_is_left_alone(tmp_path: Path, tracker: Tracker) -> None:
    with open_store(tmp_path).working_on("a", "another-run"):
        told = train(config(make_trial("a"), tmp_path))
    assert told["how"] == "busy"
    assert "another-run" in told["reason"]


def test_a_trial_that_is_told_to_end_saves_and_says_so(
    tmp_path: Path,
    tracker: Tracker,
    reports: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = threading.Event()
    told.set()
    monkeypatch.setattr(trainable_module, "told", lambda run: told)
    assert train(config(make_trial("a", label="train 9"), tmp_path))["how"] == "interrupted"
    assert [step for _, step, _ in steps(tmp_path)] == [1]
    told.clear()
    assert train(config(make_trial("a", label="train 3"), tmp_path))["how"] == "done"
    assert [step for _, step, _ in steps(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("gpu,seen", [(0.0, ""), (0.5, "0,1")])
def test_gpus_are_hidden_from_who_asked_for_none(
    tmp_path: Path, tracker: Tracker, gpu: float, seen: str
) -> None:
    train(config(make_trial("a", gpu=gpu), tmp_path))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_progress_survives_its_way_through_tune(
    tmp_path: Path, reports: list[dict[str, Any]]
) -> None:
    progress = Progress(
        trial="a", phase="setup", step=0, steps=9, loss=None, bpp=None, elapsed_s=0.1, eta_s=None
    )
    observer = WorkerObserver(make_trial("a"), open_store(tmp_path), "test", {}, stop=lambda: False)
    observer.progress(progress)
    assert Progress(**reports[0]) == progress


def test_a_trial_that_is_to_end_waits_for_no_report(
    tmp_path: Path, reports: list[dict[str, Any]]
) -> None:
    progress = Progress(
        trial="a", phase="train", step=0, steps=9, loss=None, bpp=None, elapsed_s=0.1, eta_s=None
    )
    store = open_store(tmp_path)
    WorkerObserver(make_trial("a"), store, "test", {}, stop=lambda: True).progress(progress)
    assert reports == []
