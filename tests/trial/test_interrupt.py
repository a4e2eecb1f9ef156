"""Interrupts: the first one asks, the second one ends, and none reaches what a trial needs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest

from tcc import signals
from tcc.trial.interrupt import asked_by_signals, heed_parent_alone

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def handlers() -> list:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_signal_asks_and_the_second_ends(first, second, capfd, monkeypatch):
    monkeypatch.setattr(signals, "SAME_WITHIN_S", -1.0)
    before = handlers()
    with asked_by_signals() as stop:
        assert not stop()
        signal.raise_signal(first)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)
    assert stop()
    assert handlers() == before == [signal.default_int_handler, signal.SIG_DFL]
    assert capfd.readouterr().err == (
        "interrupted: ends after this step; interrupt again to end at once\n"
    )


def test_a_signal_that_comes_twice_at_once_is_one(capfd):
    with asked_by_signals() as stop:
        for number in (*SIGNALS, *SIGNALS):
            signal.raise_signal(number)
        assert stop()
    assert capfd.readouterr().err.count("interrupted") == 1


def test_out_of_the_main_thread_signals_are_left_alone():
    found = []

    def in_a_thread():
        with asked_by_signals() as stop:
            found.append((handlers(), stop()))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert found == [([signal.default_int_handler, signal.SIG_DFL], False)]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_somebody_else_handles_is_left_alone(number):
    (other,) = {*SIGNALS} - {number}
    before = signal.getsignal(number)
    signal.signal(number, signal.SIG_IGN)
    try:
        with asked_by_signals() as stop:
            signal.raise_signal(number)
            assert not stop()
            signal.raise_signal(other)
            assert stop()
    finally:
        signal.signal(number, before)


def _works(line) -> None:
    heed_parent_alone()
    line.send("ready")
    time.sleep(30)


def test_a_process_of_the_trial_ends_by_its_parent_alone():
    context = multiprocessing.get_context("fork")
    line, end = context.Pipe(duplex=False)
    child = context.Process(target=_works, args=(end,))
    child.start()
    assert line.recv() == "ready"
    sender = context.Process(target=_sends, args=(child.pid,))
    sender.start()
    sender.join()
    assert sender.exitcode == 0
    child.join(0.3)
    assert child.is_alive()
    child.terminate()
    child.join(5)
    assert child.exitcode == 0


def _sends(pid: int) -> None:
    for number in SIGNALS * 2:
        os.kill(pid, number)
