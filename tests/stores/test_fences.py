"""A process that a trial was taken from stores nothing more of it."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

import pytest

from tcc.errors import BusyError
from tcc.records import Progress
from tcc.stores import _lease, open_store


def test_a_holder_that_was_stopped_stores_nothing_more(
    store, other, make_record, make_evaluation, failure
):
    late, taker = (other(expires_s=0.5, renew_s=0.1) for _ in range(2))
    assert late.ask("work", "aa11", "run1") == "works"
    late.ask("save_checkpoint", b"by the late one")
    late.stop()
    time.sleep(0.7)
    assert taker.ask("work", "aa11", "run2") == "works"
    taker.ask("save_checkpoint", b"by the taker")
    late.go_on()
    for name, argument in (
        ("commit", make_record(rd_cost=2.0)),
        ("commit_evaluation", make_evaluation()),
        ("fail", failure),
        ("save_checkpoint", b"too late"),
        ("clear_state", "aa11"),
        ("withdraw", "aa11"),
    ):
        refused = late.ask(name, argument)
        assert isinstance(refused, BusyError), name
        assert f"taken over by process {taker.pid}" in str(refused)
    assert store.result_ids() == set()
    assert store.failure("aa11") is None
    taker.ask("commit", make_record(rd_cost=1.0))
    late.ask("release")
    assert isinstance(late.ask("commit", make_record(rd_cost=2.0)), type(None))  # holds no lease
    assert store.checkpoint("aa11").read_bytes() == b"by the taker"
    assert store.holder("aa11").pid == taker.pid
    assert not list(store.directory.rglob("*.tmp"))


def test_a_holder_that_was_stopped_for_all_of_anothers_work_knows(store, other):
    late, taker = (other(expires_s=0.5, renew_s=0.1) for _ in range(2))
    late.ask("work", "aa11", "run1")
    late.stop()
    time.sleep(0.7)
    assert taker.ask("work", "aa11", "run2") == "works"
    taker.ask("save_checkpoint", b"by the taker")
    taker.ask("release")
    late.go_on()
    time.sleep(0.3)  # it may renew what is no more its own
    refused = late.ask("save_checkpoint", b"too late")
    assert isinstance(refused, BusyError)
    assert "another process, which has ended" in str(refused)
    assert list((store.directory / "trials/aa11/leases").iterdir()) == []


def test_what_grows_is_the_takers_alone_once_the_loss_is_known(store, other, monkeypatch):
    monkeypatch.setattr(_lease, "RENEW_S", 60.0)
    taker = other(expires_s=0.5)
    told = Progress(
        trial="aa11", phase="train", step=1, steps=40, loss=0.5, bpp=None, elapsed_s=1.5, eta_s=None
    )
    with store.working_on("aa11", "run1") as lease:
        store.append_metrics("aa11", 1, {"loss": 1.0})
        store.write_progress(told)
        time.sleep(0.7)
        assert taker.ask("work", "aa11", "run2") == "works"
        lease.renew()
        assert lease.lost
        with pytest.raises(BusyError, match=f"taken over by process {taker.pid}"):
            store.append_metrics("aa11", 2, {"loss": 2.0})
        with pytest.raises(BusyError):
            store.write_progress(replace(told, step=2))
    assert [row["step"] for row in store.metrics("aa11")] == [1]
    assert store.progress("aa11") == told


def test_a_checkpoint_is_not_shown_by_who_lost_the_trial_while_it_wrote(store, other, monkeypatch):
    monkeypatch.setattr(_lease, "RENEW_S", 60.0)  # as if this process were stopped
    taker = other(expires_s=0.5)
    store.save_checkpoint("aa11", lambda path: path.write_bytes(b"old"))

    def slow(path):
        path.write_bytes(b"new")
        time.sleep(0.7)
        assert taker.ask("work", "aa11", "run2") == "works"

    with store.working_on("aa11", "run1") as lease:
        with pytest.raises(BusyError):
            store.save_checkpoint("aa11", slow)
        assert lease.lost
    assert store.checkpoint("aa11").read_bytes() == b"old"
    assert store.holder("aa11").pid == taker.pid


def test_a_process_that_shares_in_work_writes_only_while_the_lease_is_its_parents(
    store, other, make_record, monkeypatch
):
    monkeypatch.setattr(_lease, "RENEW_S", 60.0)
    monkeypatch.setattr(_lease, "_renewals", _lease._Renewals())
    taker, mine = other(expires_s=0.5), open_store(store.uri)
    assert store.share("aa11") is None
    with mine.sharing(None):
        pass
    with store.working_on("aa11", "run1"):
        with mine.sharing(pickle.loads(pickle.dumps(store.share("aa11")))):
            mine.save_state("aa11", lambda path: path.write_bytes(b"mine"))
            leases = _lease._renewals._leases
            assert len(leases) == 1  # that of who took it
            time.sleep(0.7)
            assert taker.ask("work", "aa11", "run2") == "works"
            taker.ask("save_checkpoint", b"by the taker")
            taker.ask("commit", make_record())
            for save in (mine.save_checkpoint, mine.save_last, mine.save_state):
                with pytest.raises(BusyError, match=f"taken over by process {taker.pid}"):
                    save("aa11", lambda path: path.write_bytes(b"too late"))
        assert store.holder("aa11").pid == taker.pid  # the share gave nothing free
    assert store.checkpoint("aa11").read_bytes() == b"by the taker"
    assert store.record("aa11") == make_record()
