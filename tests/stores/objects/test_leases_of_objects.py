"""One process at a time works on a trial whose store is an object storage."""

from __future__ import annotations

import os
import time

import pytest

from tcc.errors import BusyError
from tcc.stores import _work, open_store


def test_of_eight_at_once_one_works(store, backend, other):
    others = [other() for _ in range(8)]
    for _ in range(3):
        for process in others:
            process.tell("work", "aa11", "")
        answers = [process.answer() for process in others]
        (winner,) = (p for p, answer in zip(others, answers) if answer == "works")
        assert sum(isinstance(answer, BusyError) for answer in answers) == 7
        assert store.holder("aa11").pid == winner.pid
        assert len(backend.find("trials/aa11/leases/*")) == 1
        winner.ask("release")
    assert backend.find("trials/aa11/leases/*") == []


def test_a_killed_holder_keeps_nobody_out(store, backend, other):
    killed = other()
    assert killed.ask("work", "aa11", "run1") == "works"
    assert store.holder("aa11").pid == killed.pid
    killed.kill()
    begun = time.monotonic()
    while store.holder("aa11"):
        assert time.monotonic() - begun < 5
    with store.working_on("aa11", "run2"):
        assert backend.find("trials/aa11/leases/*") == ["trials/aa11/leases/000002.json"]
        assert store.holder("aa11").pid == os.getpid()


def test_a_reader_goes_by_the_storage_s_clock(store, other, uri, monkeypatch):
    assert other("there").ask("work", "aa11", "run1") == "works"
    reader, real = open_store(uri, write=False), time.time
    monkeypatch.setattr(_work.time, "time", lambda: real() + 300)
    assert reader.holder("aa11") is not None


def test_a_holder_on_another_machine_is_taken_over_when_its_lease_is_over(
    store, other, make_record
):
    late = other("there", expires_s=3.0, renew_s=0.2)
    assert late.ask("work", "aa11", "run1") == "works"
    taker = other("here", expires_s=3.0, renew_s=0.2)
    time.sleep(4.0)
    assert isinstance(taker.ask("work", "aa11", "run2"), BusyError)  # it is still renewed
    late.stop()
    time.sleep(5.0)
    assert taker.ask("work", "aa11", "run2") == "works"
    late.go_on()
    assert isinstance(late.ask("commit", make_record(rd_cost=2.0)), BusyError)
    assert store.result_ids() == set()
    assert taker.ask("commit", make_record()) is None
    assert store.record("aa11") == make_record()


def test_a_lease_that_was_given_free_does_not_come_back_by_a_renewal(store, backend):
    with store.working_on("aa11", "run1") as lease:
        (key,) = backend.find("trials/aa11/leases/*")
        lease.renew()
    lease.renew()
    assert backend.touch(key) is False
    assert backend.find("trials/aa11/leases/*") == []
    with pytest.raises(BusyError), store.working_on("aa11", ""), store.working_on("aa11", ""):
        pass
