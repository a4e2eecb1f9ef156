"""What an attempt is to others: it holds the trial's lease, can be stopped, and blames rightly."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path

import pytest

from tcc.errors import BusyError
from tcc.records import TrialRecord
from tcc.stores import Lease, open_store
from tcc.trial import attempt, loop, state, training


def files(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file() and "leases" not in path.parts
    }


class Ends:
    """What an observer hears last."""

    heard = None

    def progress(self, progress): ...

    def log(self, step, values): ...

    def finished(self, outcome):
        self.heard = outcome


def test_a_finished_trial_is_its_record_and_nothing_is_begun(pretrain, tmp_path):
    trial, store, ends = pretrain(), open_store(tmp_path), Ends()
    record = attempt(trial, store)
    before = files(tmp_path)
    assert attempt(trial, open_store(tmp_path), ends) == record
    assert ends.heard == record
    assert files(tmp_path) == before
    store.checkpoint(trial.id).write_bytes(b"torn")
    again = attempt(trial, open_store(tmp_path))
    assert isinstance(again, TrialRecord)
    assert again.training == record.training


def test_a_trial_that_another_process_works_on_is_left_alone(pretrain, tmp_path):
    trial, store = pretrain(), open_store(tmp_path)
    with store.working_on(trial.id, "another run"):
        before = files(tmp_path)
        with pytest.raises(BusyError, match=f"{trial.id}.*process {os.getpid()} on "):
            attempt(trial, open_store(tmp_path), run="mine")
        assert files(tmp_path) == before
    assert isinstance(attempt(trial, open_store(tmp_path), run="mine"), TrialRecord)
    assert store.holder(trial.id) is None


def test_the_command_tells_of_a_busy_trial_in_one_message(
    pretrain, tiny_text, tmp_path, monkeypatch, capsys
):
    from tcc import cli

    trial, store, spec = pretrain(), open_store(tmp_path / "runs"), tmp_path / "tiny.yaml"
    spec.write_text(tiny_text)
    monkeypatch.setattr(sys, "argv", ["tcc", "trial", str(spec), trial.id, "--store", store.uri])
    with store.working_on(trial.id, ""), pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"tcc: trial {trial.id} is worked on by process {os.getpid()} on ")
    assert len(said.err.splitlines()) == 1


class Meddling:
    """Does something at a step's loss terms."""

    def __init__(self, at: int, act):
        self.at, self.act = at, act

    def progress(self, progress): ...

    def log(self, step, values):
        if step == self.at and "val/rd_cost" not in values:
            self.act()

    def finished(self, outcome): ...


@pytest.fixture
def leases(monkeypatch):
    """The leases that are taken."""
    found = []
    make = Lease.__init__
    monkeypatch.setattr(
        Lease, "__init__", lambda self, *args: (found.append(self), make(self, *args))[1]
    )
    return found


@pytest.mark.parametrize("at", [20, 40])
def test_a_trial_that_is_taken_over_is_left_to_the_other(
    pretrain, tmp_path, leases, monkeypatch, at
):
    monkeypatch.setattr(state, "AT_SELECTION_S", math.inf)
    trial, store = pretrain("train.steps=40", "train.select_every=10"), open_store(tmp_path)
    with ExitStack() as others:

        def lose():
            for path in tmp_path.glob("trials/*/leases/*"):
                os.utime(path, (0, 0))
            others.enter_context(open_store(tmp_path).working_on(trial.id, "other"))
            with suppress(BusyError):  # as the thread that renews it finds out
                leases[0].check()

        with pytest.raises(BusyError, match="was taken over by"):
            attempt(trial, store, Meddling(at, lose))
        assert leases[0].lost
        assert store.state(trial.id) is None
        assert store.failure(trial.id) is None
        assert store.record(trial.id) is None
        assert store.progress(trial.id).phase == "train"  # another's to tell
        assert store.holder(trial.id).run == "other"
    assert isinstance(attempt(trial, store), TrialRecord)


def test_where_a_stop_is_given_no_signal_is_touched(pretrain, tmp_path):
    trial, store, seen = pretrain(), open_store(tmp_path), []
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def stop() -> bool:
        seen.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)])
        return False

    assert isinstance(attempt(trial, store, stop=stop), TrialRecord)
    assert len(seen) > 6
    assert all(handlers == before for handlers in seen)


def counted(at: int):
    """A stop that says so from the n-th time on that it is asked."""
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) >= at

    return stop, asked


def test_wherever_it_is_stopped_it_goes_on_with_the_same_bits(pretrain, tmp_path):
    """Each attempt is stopped one question later, until it is not asked so often."""
    changes = ("evaluate=[{}, {split: train}]", "data.scenes.size=[37,50]", "data.scenes.val=2")
    trial = pretrain(*changes)
    expected = attempt(trial, open_store(tmp_path / "whole"))
    store, outcome, ends = open_store(tmp_path / "cut"), None, 0
    while outcome is None:
        stop, _ = counted(ends + 1)
        try:
            outcome = attempt(trial, store, stop=stop)
        except KeyboardInterrupt:
            ends += 1
            assert store.failure(trial.id) is None
            assert store.holder(trial.id) is None
            progress = store.progress(trial.id)
            assert progress is None or progress.phase == "ended"
    assert ends > 3
    assert outcome.training == expected.training
    assert [(it.rates, it.metrics, it.per_image) for it in outcome.evaluations] == [
        (it.rates, it.metrics, it.per_image) for it in expected.evaluations
    ]


def test_a_stop_between_images_keeps_the_evaluations_that_are_made(pretrain, tmp_path, monkeypatch):
    monkeypatch.setattr("tcc.trial.order.EVALUATION_BATCH", 1)
    trial = pretrain("evaluate=[{}, {split: train}]")
    store, seen = open_store(tmp_path), []
    evaluation = import_module("tcc.trial.evaluate")
    real = evaluation.predicted

    def predicted(task, model, decoded, keys):
        seen.append(keys)
        return real(task, model, decoded, keys)

    monkeypatch.setattr(evaluation, "predicted", predicted)
    with pytest.raises(KeyboardInterrupt):
        attempt(trial, store, stop=lambda: len(seen) == 18)
    assert len(seen) == 18
    (first,) = store.record(trial.id).evaluations
    assert store.progress(trial.id).phase == "ended"
    again = attempt(trial, store)
    made = {item.evaluation.split: len(item.per_image) for item in again.evaluations}
    assert made == {"val": 6, "train": 16}
    assert len(seen) == 18 + made[({*made} - {first.evaluation.split}).pop()]


def test_a_stop_among_what_frozen_parts_give_comes_before_any_step(tiny_plan, tmp_path):
    plan, store = tiny_plan(), open_store(tmp_path)
    base, direct = (next(t for t in plan if t.kind == kind) for kind in ("base", "direct"))
    attempt(base, store)
    asked = []
    with pytest.raises(KeyboardInterrupt):
        attempt(direct, store, stop=lambda: asked.append(1) or len(asked) == 2)
    assert store.state(direct.id) is None
    assert isinstance(attempt(direct, store), TrialRecord)


def test_what_goes_wrong_after_a_stop_is_no_failure(pretrain, tmp_path, monkeypatch):
    trial, store, asked = pretrain(), open_store(tmp_path), []

    def breaks(*_):
        asked.append(1)
        raise RuntimeError("a process that it needs was ended too")

    monkeypatch.setattr(loop, "rd_cost", breaks)
    with pytest.raises(KeyboardInterrupt):
        attempt(trial, store, stop=lambda: bool(asked))
    assert store.failure(trial.id) is None


def test_after_a_failure_it_is_tried_again_only_under_the_lease(pretrain, tmp_path, monkeypatch):
    trial, store = pretrain(), open_store(tmp_path)
    monkeypatch.setattr(training, "train", lambda *_: 1 / 0)
    failure = attempt(trial, store)
    with store.working_on(trial.id, ""), pytest.raises(BusyError):
        attempt(trial, open_store(tmp_path))
    assert store.failure(trial.id) == failure


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_sigterm_to_all_of_its_processes_saves_and_ends(
    tiny_text, tiny_plan, tmp_path, data_cache, workers
):
    spec, root = tmp_path / "tiny.yaml", tmp_path / "runs"
    changes = ("train.steps=300", "train.crop=32", f"resources.pretrain.cpu={1 + workers}")
    trial = next(t for t in tiny_plan(*changes) if t.kind == "pretrain")
    spec.write_text(tiny_text)
    expected = attempt(trial, open_store(tmp_path / "whole"))
    command = [sys.executable, "-m", "tcc", "trial", str(spec), trial.id, *changes]
    store = open_store(root)

    def begin() -> subprocess.Popen:
        return subprocess.Popen(
            [*command, "--store", str(root)],
            start_new_session=True, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    running = begin()
    rows = root / "trials" / trial.id / "metrics.jsonl"
    while not rows.exists():
        assert running.poll() is None
        time.sleep(0.02)
    with pytest.raises(BusyError, match=f"process {running.pid} on "):
        attempt(trial, store)
    os.killpg(running.pid, signal.SIGTERM)
    assert running.wait() == 130
    assert "the same command goes on from here" in running.stderr.read()
    assert store.state(trial.id) is not None
    assert store.failure(trial.id) is None
    assert store.progress(trial.id).phase == "ended"
    last = begin()
    assert last.wait() == 0
    assert store.record(trial.id).training == expected.training
    assert "going on after step" in store.log_path(trial.id).read_text()
