"""`tcc sync`: whatever happened before, the server holds each row once, and all of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace

import mirrored_child as child
import pytest
import torch
import yaml
from mirrored_child import EXPECTED, assert_whole, hurried, run_trial
from safetensors.torch import save_file

from tcc.errors import TrackingError
from tcc.plan import plan_to_json
from tcc.records import SCHEMA, FailureRecord, Plan
from tcc.report.sync import sync_study

pytestmark = pytest.mark.usefixtures("mirroring")


def test_what_was_never_online_is_pushed_once(server, study):
    store, records = study("online")
    server.stop()
    with hurried():
        assert "cannot be reached" in run_trial(store, records[0], "online")
    for record in records[1:]:
        run_trial(store, record, "offline")
    server.start()
    result = sync_study("few", store)
    assert result.to_json() == {
        "study": "few",
        "pushed": [*(it.trial.id for it in records), "study-few"],
        "already": [],
        "failed": {},
        "skipped": {},
        "lost": "",
        "page": f"{server.url}/someone/tcc/reports/tcc-study-few--{next(iter(server.reports))}",
        "trouble": "",
    }
    assert_whole(server, records)
    assert len(server.runs["study-few"].rows) == 1
    assert not list((store.directory / "wandb").glob("run-*"))
    chunks, opened = list(server.chunks), server.opened()
    again = sync_study("few", store)
    assert (again.pushed, len(again.already)) == ([], 4)
    (store.study_dir("few") / "synced.json").write_text("torn")
    again = sync_study("few", store)  # nothing is remembered: the server is asked, and has it all
    assert (again.pushed, len(again.already)) == ([], 4)
    assert (server.chunks, server.opened()) == (chunks, opened)


def test_checkpoints_that_are_asked_for_later_are_sent(server, study):
    store, records = study()
    _run_with_weights(store, records[0])
    sync_study("few", store)
    name = f"checkpoint-{records[0].trial.id}"
    assert ("model", name) not in server.artifacts
    text = store.read_study("few", "spec.yaml")
    asked = yaml.safe_load(text)
    asked["wandb"]["artifacts"] = ["report", "checkpoints"]
    store.write_study("few", "spec.yaml", yaml.safe_dump(asked))
    result = sync_study("few", store)
    assert not result.failed
    assert records[0].trial.id in result.pushed
    assert ("model", name) in server.artifacts
    assert records[0].trial.id in sync_study("few", store).already


def test_a_trial_that_was_online_throughout_is_not_opened_again(server, study):
    store, records = study("online")
    assert run_trial(store, records[0], "online") == ""
    opened = server.opened()
    result = sync_study("few", store)
    assert result.already == [records[0].trial.id]
    assert result.pushed == ["study-few"]
    assert server.opened() == opened + 1
    assert server.runs[records[0].trial.id].rows == EXPECTED


def test_a_server_lost_in_a_trial_gets_the_rest(server, study):
    store, records = study("online")
    with hurried():
        trouble = run_trial(store, records[0], "online", midway=server.stop)
    assert "did not take run" in trouble
    server.start()
    assert sync_study("few", store).failed == {}
    assert_whole(server, records[:1])


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_trial_that_was_killed_and_resumed_gets_what_was_lost(server, study, mode):
    store, records = study("online")
    id = records[0].trial.id
    store.begin(records[0].trial)
    command = [sys.executable, child.__file__, store.uri, id, "online", "30"]
    assert subprocess.run(command, timeout=50).returncode == -signal.SIGKILL
    assert len(server.runs[id].rows) < 30  # W&B sends every 15 s
    run_trial(store, records[0], mode, first=21)
    if mode == "online":
        assert server.runs[id].rows == EXPECTED
    assert sync_study("few", store).failed == {}
    assert_whole(server, records[:1])


def test_a_server_lost_in_a_sync_gets_the_rest_the_next_time(server, study):
    store, records = study()
    for record in records:
        run_trial(store, record)
    server.dies_after = 1  # a chunk of history
    with hurried():
        first = sync_study("few", store)
    assert "was lost" in first.lost
    assert (first.pushed, len(first.failed)) == ([], 4)  # what went through was not confirmed
    (line,) = first.lines()
    assert "4 runs are left" in line
    server.start()
    second = sync_study("few", store)
    assert (second.failed, second.already) == ({}, [records[0].trial.id])
    assert_whole(server, records)


def test_a_trial_that_failed_and_then_succeeded_loses_its_failure(server, study):
    store, records = study()
    record = records[0]
    store.begin(record.trial)
    child.say(store, record.trial.id, last=10)
    failure = FailureRecord(
        schema=SCHEMA, trial=record.trial, reason="nan", step=10, term="rate", log="log.txt"
    )
    store.fail(failure)
    assert sync_study("few", store).failed == {}
    assert server.runs[record.trial.id].state == "failed"
    assert server.runs[record.trial.id].summary["failure"] == "nan"
    server.runs[record.trial.id].tags.append("another study")
    run_trial(store, record)
    result = sync_study("few", store)
    assert (result.failed, record.trial.id in result.pushed) == ({}, True)
    assert_whole(server, [record])
    assert "failure" not in server.runs[record.trial.id].summary
    assert {"few", "another study"} < set(server.runs[record.trial.id].tags)


def test_a_trial_of_two_studies_has_the_tags_of_both(server, study):
    store, records = study()
    id = records[0].trial.id
    run_trial(store, records[0], "offline")
    sync_study("few", store)
    plan = Plan(study="more", trials=tuple(it.trial for it in records))
    store.write_study("more", "plan.json", plan_to_json(plan))
    store.write_study("more", "spec.yaml", store.read_study("few", "spec.yaml"))
    chunks = list(server.chunks)
    result = sync_study("more", store)
    assert (result.pushed, result.failed) == ([id, "study-more"], {})
    assert {"few", "more"} < set(server.runs[id].tags)
    assert server.runs[id].group == "few"
    assert [chunk for chunk in server.chunks if chunk[0] == id] == [
        chunk for chunk in chunks if chunk[0] == id
    ]
    assert sync_study("few", store).pushed == []


def test_a_run_with_a_gap_is_named_and_left_alone(server, study):
    store, records = study()
    run_trial(store, records[0])
    assert sync_study("few", store).failed == {}
    lines = server.runs[records[0].trial.id].lines
    del lines[5]
    (store.study_dir("few") / "synced.json").unlink()
    result = sync_study("few", store)
    assert list(result.failed) == [records[0].trial.id]
    assert "39 rows where the store has 40" in result.failed[records[0].trial.id]
    assert len(lines) == 39


def test_what_was_interrupted_is_pushed_as_far_as_it_came(server, study):
    store, records = study()
    id = records[0].trial.id
    child.say(store, id, last=15)
    assert id in sync_study("few", store).pushed
    assert server.runs[id].rows == EXPECTED[:15]
    assert server.runs[id].state == "failed"
    run_trial(store, records[0], first=11)  # it went on from its last save
    assert sync_study("few", store).failed == {}
    assert_whole(server, records[:1])


def test_a_trial_that_someone_works_on_is_left_alone(server, study):
    store, records = study()
    with store.working_on(records[0].trial.id, "another run"):
        child.say(store, records[0].trial.id, last=5)
        result = sync_study("few", store)
    assert list(result.skipped) == [records[0].trial.id]
    assert records[0].trial.id not in server.runs


def test_offline_files_of_what_was_pushed_are_marked_as_wandb_sync_marks_them(server, study):
    store, records = study()
    for record in records[:2]:
        run_trial(store, record, "offline")
    files = sorted((store.directory / "wandb").glob("offline-run-*/*.wandb"))
    subprocess.run(["wandb", "sync", files[1].parent], check=True, timeout=50, capture_output=True)
    mark = files[1].with_suffix(".wandb.synced")
    left_by_wandb = mark.read_bytes()
    mark.unlink()
    sync_study("few", store)
    for file in files:
        assert file.with_suffix(".wandb.synced").read_bytes() == left_by_wandb
    said = subprocess.run(
        ["wandb", "sync", "--yes", "--dry-run", store.directory / "wandb"],
        check=True,
        timeout=50,
        capture_output=True,
        text=True,
    )
    assert "No runs to sync" in said.stdout + said.stderr
    assert_whole(server, records[:2])


def test_a_server_that_does_not_answer_is_named(server, study):
    store, _ = study()
    server.stop()
    match = f"{server.url}.* WANDB_BASE_URL the server"
    with hurried(), pytest.raises(TrackingError, match=match):
        sync_study("few", store)


@pytest.mark.parametrize(
    "mode, key, said",
    [
        ("offline", "", "no key; run `wandb login` or set WANDB_API_KEY"),
        ("offline", "short", "wandb login"),
        ("disabled", "a" * 40, "mode: disabled"),
    ],
)
def test_what_cannot_begin_is_one_message(study, monkeypatch, mode, key, said):
    store, _ = study(mode)
    monkeypatch.setenv("WANDB_API_KEY", key) if key else monkeypatch.delenv("WANDB_API_KEY")
    code, out, err = _command(store)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("tcc: ")
    assert said in err


@pytest.mark.slow
def test_the_command_prints_what_it_did(server, study):
    store, records = study()
    run_trial(store, records[0], "offline")
    code, out, err = _command(store, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["pushed"] == [records[0].trial.id, "study-few"]
    code, out, err = _command(store)
    assert (code, err) == (0, "")
    (id,) = server.reports
    page = f"{server.url}/someone/tcc/reports/tcc-study-few--{id}"
    assert out == f"{server.url} someone/tcc: 0 pushed, 2 already there\n{page}\n"


def _run_with_weights(store, record) -> None:
    """A trial that is trusted: its record is of the checkpoint that is there."""
    store.begin(record.trial)
    child.say(store, record.trial.id)
    weights = {"weight": torch.zeros(2)}
    sha256 = store.save_checkpoint(record.trial.id, lambda path: save_file(weights, path))
    training = replace(record.training, checkpoint_sha256=sha256)
    evaluations = tuple(replace(it, checkpoint_sha256=sha256) for it in record.evaluations)
    store.commit(replace(record, training=training, evaluations=evaluations))


def _command(store, *options: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "tcc", "sync", "few", "--store", store.uri, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout, done.stderr
