"""`tcc sync` tells no success that was not confirmed, and keeps out of what others do."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from made_up import checkpoint_of
from mirrored_child import assert_whole, hurried, run_trial

from tcc.cli import cli
from tcc.records import SCHEMA, FailureRecord
from tcc.report.sync import sync_study
from tcc.stores import open_store
from tcc.tracking.wandb import PLUGIN
from tcc.tracking.wandb.remote import WandbRemote

pytestmark = pytest.mark.usefixtures("mirroring")


@pytest.fixture
def meanwhile(monkeypatch):
    """``meanwhile(act)``: something happens after the next sync asked what the server lacks."""

    def arrange(act):
        connect = PLUGIN.connect

        def connected(settings, **to):
            remote = connect(settings, **to)
            ask = remote.lacking

            def lacking(copies):
                found, remote.lacking = ask(copies), ask
                act()
                return found

            monkeypatch.setattr(PLUGIN, "connect", connect)
            remote.lacking = lacking
            return remote

        monkeypatch.setattr(PLUGIN, "connect", connected)

    return arrange


def test_a_server_lost_before_it_confirmed_is_no_success(server, study, monkeypatch, capsys):
    store, records = study()
    run_trial(store, records[0])

    def waits():
        server.stop()
        yield 0.0

    monkeypatch.setattr("tcc.report.sync.CONFIRM_AFTER_S", waits())
    with hurried():
        code = cli.main(["sync", "few", "--store", store.uri, "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert code == 1
    assert (told["pushed"], told["already"]) == ([], [])
    assert set(told["failed"]) == {records[0].trial.id, "study-few"}
    assert "was lost" in told["lost"]


def test_a_server_lost_before_it_said_what_is_there_is_no_success(server, study, monkeypatch):
    store, records = study()
    run_trial(store, records[0])
    sync_study("few", store)
    run_trial(store, records[1])
    ask = WandbRemote.absent

    def absent(self, ids):
        server.stop()
        return ask(self, ids)

    monkeypatch.setattr(WandbRemote, "absent", absent)
    with hurried():
        result = sync_study("few", store)
    assert "was lost" in result.lost
    assert (result.pushed, result.already) == ([], [records[0].trial.id])
    assert set(result.failed) == {records[1].trial.id, "study-few"}


def test_a_failure_of_what_another_study_measures_is_not_this_ones(server, study):
    store, records = study()
    id = records[0].trial.id
    run_trial(store, records[0])
    (store.directory / "trials" / id / "checkpoint.safetensors").write_bytes(checkpoint_of(id))
    store.fail(
        FailureRecord(
            schema=SCHEMA,
            trial=records[0].trial,
            reason="its other data are gone",
            step=None,
            term=None,
            log="log.txt",
        )
    )
    assert sync_study("few", store).failed == {}
    assert_whole(server, records[:1])


def test_what_was_deleted_on_the_server_is_pushed_again(server, study):
    store, records = study()
    for record in records:
        run_trial(store, record)
    assert sync_study("few", store).failed == {}
    server.reset()  # the whole project is gone: its runs may have the same ids once more
    result = sync_study("few", store)
    assert (len(result.pushed), result.failed) == (4, {})
    assert_whole(server, records)
    assert result.page.endswith(next(iter(server.reports)))


def test_a_run_that_was_deleted_and_that_the_server_takes_no_more_is_told(server, study):
    store, records = study()
    for record in records[:2]:
        run_trial(store, record)
    sync_study("few", store)
    id = records[0].trial.id
    server.delete(id)
    result = sync_study("few", store)
    assert (list(result.failed), result.pushed) == ([id], [])
    assert "previously created and deleted" in result.failed[id]
    assert id not in store.read_study("few", "synced.json")  # no link leads to it
    assert sync_study("few", store).already == [records[1].trial.id, "study-few"]


def test_two_syncs_at_once_send_nothing_twice(server, study, meanwhile):
    store, records = study()
    run_trial(store, records[0])
    meanwhile(lambda: sync_study("few", open_store(store.uri)))
    result = sync_study("few", store)
    assert (result.pushed, result.failed) == ([], {})
    assert result.already == [records[0].trial.id, "study-few"]
    assert server.opened() == 2
    assert_whole(server, records[:1])


def test_what_another_sync_pushes_just_now_is_left_to_it(server, study, meanwhile):
    store, records = study()
    id = records[0].trial.id
    run_trial(store, records[0])
    with ExitStack() as stack:
        meanwhile(lambda: stack.enter_context(open_store(store.uri).working_on(id, "")))
        result = sync_study("few", store)
    assert "is worked on by process" in result.skipped[id]
    assert result.pushed == ["study-few"]
    assert id not in server.runs
