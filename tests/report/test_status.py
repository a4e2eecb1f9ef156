"""Where a study stands, from its files alone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from rich.console import Console

from tcc.records import Progress
from tcc.report import status, studies
from tcc.report.terminal import print_status
from tcc.stores import Store, open_store
from tcc.stores.folder import FolderBackend

HOLD = """
import sys
from tcc.stores import Store, open_store
from tcc.stores.folder import FolderBackend

with open_store(sys.argv[1]).working_on(sys.argv[2], "host-1234"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(make_store):
    return make_store(failing=True)


@pytest.fixture
def hold(store):
    """``hold(id)``: a process of its own that works on a trial, as a worker does."""
    processes = []

    def start(id):
        command = [sys.executable, "-c", HOLD, store.uri, id]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def take_back(store):
    """A finished trial without children that is at work again, at step 120."""
    id = next(
        id for id in sorted(store.result_ids()) if store.record(id).trial.kind == "single_layer"
    )
    trial = store.record(id).trial
    store.withdraw(id)
    store.begin(trial)
    return trial


def say(store, id, **changes):
    told = {
        "trial": id,
        "phase": "train",
        "step": 120,
        "steps": 400,
        "loss": 3.25,
        "bpp": 0.4,
        "elapsed_s": 12.0,
        "eta_s": 28.0,
    }
    store.write_progress(Progress(**told | changes))


def printed(found):
    out = io.StringIO()
    print_status(found, Console(file=out, width=140, color_system=None))
    return out.getvalue()


def test_counts_are_by_kind_and_state(store):
    found = status("made_up", store)
    assert found.total == sum(found.totals.values()) == 94
    assert found.totals == {"done": 83, "failed": 1, "skipped": 10}
    assert found.counts["base"] == {"done": 5, "failed": 1}
    assert found.counts["enhancement"] == {"done": 40, "skipped": 8}


def test_a_failure_has_its_reason_its_log_and_those_skipped_for_it(store):
    found = status("made_up", store)
    (failure,) = found.failures
    assert failure.reason == "loss term <rate> is NaN & the trial ended"
    assert (failure.step, failure.term) == (17, "rate")
    assert failure.log.endswith("log.txt")
    assert failure.trial in failure.log
    (skipped,) = found.skipped
    assert (skipped.because, skipped.label, skipped.count) == (failure.trial, failure.label, 10)
    assert f"skipped 10 trials because of {failure.label}" in printed(found)


def test_a_held_trial_is_running_with_holder_step_rate_and_eta(store, hold):
    trial = take_back(store)
    process = hold(trial.id)
    say(store, trial.id)
    found = status("made_up", open_store(store.uri, write=False))
    (running,) = found.running
    assert (running.trial, running.pid) == (trial.id, process.pid)
    assert (running.step, running.steps, running.rate_bpp, running.eta_s) == (120, 400, 0.4, 28.0)
    assert found.interrupted == ()
    assert found.counts["single_layer"] == {"running": 1, "done": 7}
    text = printed(found)
    assert all(part in text for part in ("120/400", "28 s", running.host, str(process.pid)))


def test_a_held_trial_that_said_nothing_yet_has_begun(store, hold):
    trial = take_back(store)
    hold(trial.id)
    (running,) = status("made_up", store).running
    assert (running.phase, running.step, running.steps) == ("begun", 0, 400)


def test_a_trial_whose_holder_died_is_interrupted(store, hold):
    trial = take_back(store)
    process = hold(trial.id)
    say(store, trial.id)
    process.kill()
    process.wait()
    found = status("made_up", store)
    assert found.running == ()
    assert found.counts["single_layer"] == {"new": 1, "done": 7}
    (cut,) = found.interrupted
    assert cut.trial == trial.id
    assert cut.because == "interrupted at step 120 of 400, goes on from its last save"
    assert f"interrupted {trial.id}" in printed(found)


@pytest.mark.parametrize(("step", "cut"), [(120, 1), (400, 0)])
def test_a_trial_that_ended_midway_was_interrupted(store, step, cut):
    trial = take_back(store)
    say(store, trial.id, phase="ended", step=step)
    assert len(status("made_up", store).interrupted) == cut


def test_how_an_earlier_attempt_ended_is_not_told_of_a_running_one(store, hold):
    trial = take_back(store)
    say(store, trial.id, phase="ended")
    hold(trial.id)
    (running,) = status("made_up", store).running
    assert (running.phase, running.step) == ("begun", 0)


def test_a_torn_result_is_named_with_what_will_be_done(store):
    id = next(id for id in store.result_ids() if store.record(id).trial.kind == "pixels")
    path = store.directory / "trials" / id / "result.json"
    path.write_text(path.read_text()[:-20])
    found = status("made_up", store)
    (problem,) = found.problems
    assert str(path) in problem
    assert "torn" in problem
    assert found.counts["pixels"] == {"new": 1, "done": 1}
    assert f"not trusted {problem}; the trial will be redone" in printed(found)


def test_a_changed_checkpoint_is_found_out_and_what_stands_on_it_waits(store):
    id = next(
        id
        for id in sorted(store.result_ids())
        if store.record(id).trial.kind == "base" and store.record(id).trial.axes["beta"] == 0
    )
    path = store.directory / "trials" / id / "checkpoint.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    later = path.stat().st_mtime_ns + 10**9
    path.write_bytes(data)
    os.utime(path, ns=(later, later))
    found = status("made_up", open_store(store.uri, write=False))
    assert found.counts["base"] == {"new": 1, "done": 4, "failed": 1}
    (problem,) = found.problems
    assert problem.startswith(str(path))
    assert f"{problem}; will be redone: the trial is trained again" in printed(found)


def test_disk_is_counted_and_shared_trials_are_said(store):
    alone = status("made_up", store).disk
    assert alone.total > 94 * 1000
    assert (alone.shared, alone.shared_trials) == (0, 0)
    plan = store.read_study("made_up", "plan.json")
    store.write_study("other", "plan.json", plan)
    store.write_study("torn", "plan.json", plan[:100])
    found = status("made_up", store)
    assert found.disk.total == found.disk.shared == alone.total
    assert "other studies share" in printed(found)


def test_the_last_run_is_told(store, made_up_run):
    store.write_run(made_up_run("2026-11-21T09:30:00+00:00", interrupted=True, seconds=95.0))
    found = status("made_up", store)
    assert [run.seconds for run in found.runs] == [7500.0, 95.0]
    text = printed(found)
    assert "2 runs so far; the last began 2026-11-21 09:30 UTC" in text
    assert "was interrupted after 1 min 35 s (2 h were expected)" in text
    assert "on 2 × big (8 CPU, 1 GPU), small (2 CPU, 0 GPU)" in text


def test_the_json_is_plain(store, hold):
    trial = take_back(store)
    hold(trial.id)
    found = status("made_up", store).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["by_state"] == {"running": 1, "done": 82, "failed": 1, "skipped": 10}
    assert found["failures"][0]["label"].startswith("base depth")
    assert found["disk_bytes"] > found["disk_bytes_shared"] == 0
    assert found["runs"][0]["ratio_to_bound"] == 1.25


def test_the_terminal_shows_names_as_they_are(store):
    text = printed(status("made_up", store))
    assert "94 trials, 83 done, 1 failed, 10 skipped" in text
    assert "loss term <rate> is NaN & the trial ended at step 17, term rate" in text


def test_a_store_lists_its_studies_and_counts_shared_trials_once(store, made_up_run):
    store.write_study("other", "plan.json", store.read_study("made_up", "plan.json"))
    store.write_study("torn", "plan.json", "{}")
    found = studies(open_store(store.uri, write=False))
    lines = {line.study: line for line in found.studies}
    assert list(lines) == ["made_up", "other", "torn"]
    assert (lines["made_up"].trials, lines["made_up"].done) == (94, 83)
    assert lines["made_up"].last_run == made_up_run()
    assert lines["made_up"].shared_bytes == lines["other"].disk_bytes == found.disk_bytes > 94_000
    assert (lines["torn"].trials, lines["torn"].disk_bytes) == (None, 0)
    assert json.loads(json.dumps(found.to_json())) == found.to_json()
    assert "no plan" in printed(found)


def test_an_absent_store_lists_nothing_and_stays_absent(tmp_path):
    found = studies(open_store(tmp_path / "runs", write=False))
    assert "holds no study" in printed(found)
    assert list(tmp_path.iterdir()) == []


class FarBackend(FolderBackend):
    """A folder that counts its listings of trials."""

    answers_late = True
    listed = 0

    def stamps(self, pattern):
        self.listed += pattern.startswith("trials/")
        return super().stamps(pattern)


def test_a_far_store_lists_its_trials_once(make_store):
    near = make_store(failing=True)
    far = FarBackend(near.uri)
    assert status("made_up", Store(far, write=False)) == status("made_up", near)
    assert far.listed == 1
