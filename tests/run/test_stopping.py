from __future__ import annotations

import os
import signal
import threading

import pytest

from tcc import signals
from tcc.errors import StoreError
from tcc.run.stopping import Ended, Stopping


class Heard:
    def __init__(self, grace_s: float = 60.0) -> None:
        self.told: list[str] = []
        self.stopping = Stopping(grace_s, lambda: self.told.append("workers"), self.told.append)


def test_nothing_stops_by_itself() -> None:
    heard = Heard()
    assert not heard.stopping.check()
    assert heard.told == []


def test_a_first_signal_tells_once_and_a_second_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SAME_WITHIN_S", -1.0)
    heard = Heard()
    before = signal.getsignal(signal.SIGTERM)
    with heard.stopping.on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard.stopping.check()
        assert heard.stopping.check()
        assert isinstance(heard.stopping.cause, KeyboardInterrupt)
        said = "stopping: trials save and end, at most 60 s; again to end at once"
        assert heard.told == ["workers", said], "whether anybody reads it or not"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_comes_twice_at_once_is_one() -> None:
    heard = Heard()
    with heard.stopping.on_signals():
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
            assert heard.stopping.check()
    assert len(heard.told) == 2


def test_a_signal_is_why_before_anybody_acted_on_it() -> None:
    heard = Heard()
    assert heard.stopping.why is None
    with heard.stopping.on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard.stopping.cause is None
    assert isinstance(heard.stopping.why, KeyboardInterrupt)
    other = Heard()
    other.stopping.because(StoreError("full"))
    assert other.stopping.why is other.stopping.cause


def test_the_first_signal_ends_what_stops_for_another_cause() -> None:
    heard = Heard()
    heard.stopping.because(StoreError("the disk is full"))
    with heard.stopping.on_signals(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_the_cause_is_raised_once_the_time_is_over() -> None:
    heard = Heard(grace_s=0.0)
    full = StoreError("the disk is full")
    heard.stopping.because(full)
    heard.stopping.because(KeyboardInterrupt())
    with pytest.raises(Ended) as ended:
        heard.stopping.check()
    assert ended.value.cause is full
    assert heard.stopping.cause is full, "the first cause stands"


def test_out_of_the_main_thread_signals_stay_as_they_are() -> None:
    heard, inside = Heard(), []

    def run() -> None:
        with heard.stopping.on_signals():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [signal.getsignal(signal.SIGINT)]
