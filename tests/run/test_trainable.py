"""What a worker does with one trial, without Ray around it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fake_trials import ATTEMPT, make_trial

from tcc import registry
from tcc.records import Progress, TrialSpec
from tcc.run import observer as observer_module
from tcc.run.observer import WorkerObserver
from tcc.run.trainable import train
from tcc.stores import open_store, to_json


class Tracker:
    """Notes what it is told."""

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
    assert train(config(trial, tmp_path)) == {"failed": False, "reason": ""}
    assert open_store(tmp_path).record("a") is not None
    assert tracker.told[0] == ("start", {"project": "p"}, "test", "a")
    assert [told[1] for told in tracker.told if told[0] == "log"] == [1, 2, 3]
    assert tracker.told[-1] == ("finish", "TrialRecord")
    assert [report["step"] for report in reports] == [1], "reports are two seconds apart"


def test_a_failure_is_returned_and_tracked(tmp_path: Path, tracker: Tracker) -> None:
    told = train(config(make_trial("a", label="fail"), tmp_path))
    assert told == {"failed": True, "reason": "loss is nan"}
    assert tracker.told[-1] == ("finish", "FailureRecord")


def test_what_nothing_caught_is_returned_tracked_and_logged(
    tmp_path: Path, tracker: Tracker
) -> None:
    told = train(config(make_trial("a", label="raise"), tmp_path))
    assert told == {"failed": True, "reason": "RuntimeError: nothing caught this"}
    assert tracker.told[-1] == ("finish", "FailureRecord")
    assert "Traceback" in open_store(tmp_path).log_path("a").read_text()


def test_a_worker_that_cannot_do_its_work_says_why(tmp_path: Path) -> None:
    told = train(config(make_trial("a"), tmp_path, execute="no_such_module:attempt"))
    assert told["failed"]
    assert "no_such_module" in told["reason"]
    blocked = tmp_path / "file"
    blocked.touch()
    told = train(config(make_trial("a"), blocked))
    assert told["failed"]
    assert "is a file" in told["reason"]


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
    observer = WorkerObserver(make_trial("a"), open_store(tmp_path), "test", {})
    observer.progress(progress)
    assert Progress(**reports[0]) == progress
