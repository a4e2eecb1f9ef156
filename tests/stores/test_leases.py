"""One process at a time works on a trial, and what it was taken from stores nothing more."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import time

import pytest

from tcc.errors import BusyError, StoreError
from tcc.stores import _holders, _lease, open_store
from tcc.stores.folder import FolderBackend


@pytest.fixture
def short_leases(monkeypatch):
    monkeypatch.setattr(_holders, "EXPIRES_S", 0.5)
    monkeypatch.setattr(_lease, "RENEW_S", 0.1)


def test_a_holder_is_told_and_forgotten(store):
    assert store.holder("aa11") is None
    with store.working_on("aa11", "run1") as lease:
        holder = store.holder("aa11")
        assert holder == lease.holder
        assert (holder.trial, holder.run, holder.pid) == ("aa11", "run1", os.getpid())
        assert open_store(store.uri, write=False).holder("aa11") == holder
        assert not lease.lost
        lease.check()
    assert store.holder("aa11") is None
    assert files(store) == []


def test_a_living_holder_keeps_others_out_whatever_their_run(store, other):
    with store.working_on("aa11", "run1"):
        for run in ("run1", "run2", ""):
            refused = other().ask("work", "aa11", run)
            assert isinstance(refused, BusyError)
            assert f"process {os.getpid()} on " in str(refused)
            assert "run run1" in str(refused)
        with pytest.raises(BusyError), store.working_on("aa11", "run1"):
            pass
        with store.working_on("bb22", "run1"):
            pass
    assert other().ask("work", "aa11", "run2") == "works"


def test_of_eight_at_once_one_works(store, other):
    others = [other() for _ in range(8)]
    for _ in range(12):
        for process in others:
            process.tell("work", "aa11", "")
        answers = [process.answer() for process in others]
        (winner,) = (p for p, answer in zip(others, answers) if answer == "works")
        assert sum(isinstance(answer, BusyError) for answer in answers) == 7
        assert store.holder("aa11").pid == winner.pid
        assert len(files(store)) == 1
        winner.ask("release")


def test_a_killed_holder_keeps_nobody_out(store, other):
    killed = other()
    killed.ask("work", "aa11", "run1")
    assert store.holder("aa11").pid == killed.pid
    killed.kill()
    begun = time.monotonic()
    while store.holder("aa11"):
        assert time.monotonic() - begun < 5
    with store.working_on("aa11", "run2"):
        assert files(store) == ["000002.json"]
        assert store.holder("aa11").pid == os.getpid()


def test_of_two_that_take_over_one_works(store, other):
    takers = [other(), other()]
    for _ in range(8):
        killed = other()
        killed.ask("work", "aa11", "run1")
        killed.gone()
        for taker in takers:
            taker.tell("work", "aa11", "run2")
        answers = [taker.answer() for taker in takers]
        assert sorted(isinstance(answer, BusyError) for answer in answers) == [False, True]
        for taker in takers:
            taker.ask("release")
        assert files(store) == []


def test_a_holder_that_lives_on_is_not_taken_over(store, other):
    holder = other(expires_s=0.5, renew_s=0.1)
    holder.ask("work", "aa11", "run1")
    time.sleep(1.2)
    assert isinstance(other(expires_s=0.5).ask("work", "aa11", "run2"), BusyError)


def test_a_run_takes_over_from_its_own_lost_machine_only(store, other):
    there = other("another machine", renew_s=0.1)
    there.ask("work", "aa11", "run1")
    assert isinstance(other().ask("work", "aa11", "run2"), BusyError)
    here = other()
    assert here.ask("work", "aa11", "run1") == "works"
    assert isinstance(there.ask("save_checkpoint", b"too late"), BusyError)
    there.ask("release")
    assert store.holder("aa11").pid == here.pid


def test_no_run_is_nobodys(store, other):
    other("another machine").ask("work", "aa11", "")
    with pytest.raises(BusyError), store.working_on("aa11", ""):
        pass


def test_the_age_of_a_lease_counts_on_other_machines(store, other):
    other("another machine").ask("work", "aa11", "run1")
    (path,) = folder(store).iterdir()
    _age(path, 50)
    with pytest.raises(BusyError), store.working_on("aa11", "run2"):
        pass
    _age(path, 70)
    assert store.holder("aa11") is None
    with store.working_on("aa11", "run2"):
        assert files(store) == ["000002.json"]


def test_a_torn_lease_holds_until_it_is_old(store):
    with store.working_on("aa11", "run1"):
        (path,) = folder(store).iterdir()
        torn = path.read_bytes()[:-20]
    path.write_bytes(torn)
    holder = store.holder("aa11")
    assert (holder.host, holder.pid) == ("unknown", 0)
    (problem,) = store.problems()
    assert problem == f"{path} is torn or was edited: its content does not match its sha256"
    with pytest.raises(BusyError, match=r"000001\.json is torn"), store.working_on("aa11", "run1"):
        pass
    _age(path, 70)
    assert store.holder("aa11") is None
    with store.working_on("aa11", "run1"):
        pass
    assert files(store) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_however_work_ends_the_trial_is_free(store, error):
    with pytest.raises(error), store.working_on("aa11", ""):
        raise error
    assert files(store) == []


def test_a_fork_of_the_holder_gives_nothing_free(store):
    with store.working_on("aa11", "") as lease:
        process = multiprocessing.get_context("fork").Process(target=lease.release)
        process.start()
        process.join()
        assert process.exitcode == 0
        assert files(store) == ["000001.json"]
        lease.check()


def test_a_store_that_goes_to_another_process_takes_no_lease_along(store, make_record):
    with store.working_on("aa11", ""):
        copy = pickle.loads(pickle.dumps(store))
        with pytest.raises(BusyError), copy.working_on("aa11", ""):
            pass
        copy.commit(make_record())  # as a process of several does that share a training
    assert store.record("aa11") == make_record()


def test_a_storage_that_fails_for_a_while_loses_no_lease(store, short_leases, monkeypatch, caplog):
    backend = store._backend
    find = type(backend).find

    def fails(self, pattern):
        raise StoreError("the server does not answer")

    # the thread of an earlier test sleeps for as long as it was told then
    monkeypatch.setattr(_lease, "_renewals", _lease._Renewals())
    with caplog.at_level(logging.WARNING, "tcc.stores"), store.working_on("aa11", "") as lease:
        monkeypatch.setattr(type(backend), "find", fails)
        time.sleep(0.7)
        assert not lease.lost
        with pytest.raises(StoreError, match="does not answer"):
            store.withdraw("aa11")
        monkeypatch.setattr(type(backend), "find", find)
        time.sleep(0.3)
        assert store.holder("aa11") is not None
        store.withdraw("aa11")
        assert not lease.lost
    assert "could not be renewed, it is tried again: the server does not answer" in caplog.text
    assert files(store) == []


def test_a_lease_that_cannot_be_renewed_keeps_no_other_from_it(
    store, short_leases, monkeypatch, caplog
):
    monkeypatch.setattr(_lease, "_renewals", _lease._Renewals())
    renew = _lease.Lease.renew

    def breaks(self):
        if self.holder.trial == "aa11":
            raise RuntimeError("a driver's own error")
        renew(self)

    monkeypatch.setattr(_lease.Lease, "renew", breaks)
    with store.working_on("aa11", ""), store.working_on("bb22", ""):
        (path,) = (store.directory / "trials" / "bb22" / "leases").iterdir()
        for _ in range(2):
            _age(path, 50)
            time.sleep(0.4)
            assert path.stat().st_mtime > time.time() - 40
    assert "the lease of trial aa11 could not be renewed" in caplog.text
    assert "a driver's own error" in caplog.text


def test_who_finds_a_higher_number_stands_aside(store):
    with store.working_on("aa11", "") as lease:
        low = folder(store) / "000001.json"
        (folder(store) / "000003.json").write_bytes(low.read_bytes())
        with pytest.raises(BusyError):
            lease.check()
        assert lease.lost


def test_who_took_a_number_below_one_that_came_meanwhile_gives_way(store, other, monkeypatch):
    """Between its looking and its creating, others gave the trial free and took it."""
    process = other()
    process.ask("work", "aa11", "")
    first = folder(store) / "000001.json"
    living = first.read_bytes()
    first.unlink()
    create = FolderBackend.create

    def late(self, key, data, **how):
        created = create(self, key, data, **how)
        first.with_name("000007.json").write_bytes(living)
        return created

    monkeypatch.setattr(FolderBackend, "create", late)
    with pytest.raises(BusyError, match=f"process {process.pid}"), store.working_on("aa11", ""):
        pass
    assert files(store) == ["000007.json"]


def test_a_reader_holds_nothing(store):
    reader = open_store(store.uri, write=False)
    with pytest.raises(StoreError, match="reading only"), reader.working_on("aa11", ""):
        pass
    assert reader.holder("aa11") is None
    assert list(store.directory.iterdir()) == []


def test_leases_are_cheap(store):
    begun = time.perf_counter()
    for index in range(300):
        with store.working_on(f"t{index}", "run"):
            pass
    assert (time.perf_counter() - begun) / 300 < 0.02  # about 0.6 ms on an idle machine


def folder(store):
    return store.directory / "trials" / "aa11" / "leases"


def files(store):
    """The leases of the trial that are there."""
    return sorted(path.name for path in folder(store).iterdir()) if folder(store).exists() else []


def _age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))
