"""Where a study stands, from its files alone."""

from __future__ import annotations

import io
import json
import os
import time

import pytest
from rich.console import Console

from tcc.records import Progress
from tcc.report import print_status, status, status_json
from tcc.report.status import SILENT_S


@pytest.fixture
def store(make_store):
    return make_store(failing=True)


def redo(store):
    """Takes a finished trial without children back, and says it runs."""
    id = next(
        id for id in sorted(store.result_ids()) if store.record(id).trial.kind == "single_layer"
    )
    trial = store.record(id).trial
    store.begin(trial)
    folder = store.directory / "trials" / id
    (folder / "result.json").unlink()
    store.write_progress(
        Progress(
            trial=id,
            phase="train",
            step=120,
            steps=400,
            loss=3.25,
            bpp=0.4,
            elapsed_s=12.0,
            eta_s=28.0,
        )
    )
    return trial, folder / "state.json"


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


def test_a_failure_has_its_reason_and_its_log(store):
    (failure,) = status("made_up", store).failures
    assert failure.reason == "loss term <rate> is NaN & the trial ended"
    assert (failure.step, failure.term) == (17, "rate")
    assert failure.log.endswith("log.txt")
    assert failure.trial in failure.log


def test_a_running_trial_has_step_rate_and_eta(store):
    trial, _ = redo(store)
    found = status("made_up", store)
    (running,) = found.running
    assert running.trial == trial.id
    assert (running.step, running.steps, running.rate_bpp, running.eta_s) == (120, 400, 0.4, 28.0)
    assert running.silent_s is not None
    assert running.silent_s < 30
    assert found.counts["single_layer"] == {"running": 1, "done": 7}
    assert "120/400" in printed(found)
    assert "28 s" in printed(found)


def test_a_trial_that_fell_silent_is_not_running(store):
    _, state = redo(store)
    long_ago = time.time() - SILENT_S - 60
    os.utime(state, (long_ago, long_ago))
    found = status("made_up", store)
    assert found.running == ()
    assert found.counts["single_layer"] == {"new": 1, "done": 7}


def test_a_torn_result_is_named_and_the_trial_is_to_do(store):
    id = next(id for id in store.result_ids() if store.record(id).trial.kind == "pixels")
    path = store.directory / "trials" / id / "result.json"
    path.write_text(path.read_text()[:-20])
    found = status("made_up", store)
    (problem,) = found.problems
    assert str(path) in problem
    assert "torn" in problem
    assert found.counts["pixels"] == {"new": 1, "done": 1}
    assert problem in printed(found)


def test_the_json_is_plain(store):
    redo(store)
    found = status_json(status("made_up", store))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["by_state"] == {"running": 1, "done": 82, "failed": 1, "skipped": 10}
    assert found["failures"][0]["label"].startswith("base depth")


def test_the_terminal_shows_names_as_they_are(store):
    text = printed(status("made_up", store))
    assert "94 trials, 83 done, 1 failed, 10 skipped" in text
    assert "loss term <rate> is NaN & the trial ended at step 17" in text
