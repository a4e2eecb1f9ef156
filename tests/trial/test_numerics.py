"""What a process computes with is the trial's while it runs, and its own again after."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import replace

import pytest
import torch
from torch.backends import cudnn

from tcc.errors import TrialError
from tcc.records import Resources
from tcc.trial.interrupt import finishing_steps
from tcc.trial.numerics import settled, tuned
from tcc.trial.place import place_of


@pytest.fixture
def make_trial(tiny_plan):
    def make(*changes: str, cpu: float = 1.0, gpu: float = 0.0):
        trial = tiny_plan(*changes).trials[0]
        return replace(trial, resources=Resources(cpu=cpu, gpu=gpu))

    return make


def seen() -> tuple:
    exact = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.get_num_threads(), exact, warns, cudnn.deterministic, cudnn.allow_tf32


@pytest.mark.parametrize("deterministic", [True, False])
def test_settings_are_put_back_even_after_an_error(make_trial, make_place, deterministic):
    trial = make_trial(f"train.deterministic={str(deterministic).lower()}", "train.threads=2")
    before = seen()
    with contextlib.suppress(ZeroDivisionError), settled(trial, make_place()):
        assert seen() == (2, deterministic, True, deterministic, False)
        raise ZeroDivisionError
    assert seen() == before


def test_too_little_gpu_memory_is_told_with_advice(make_trial, make_place):
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB."
    advice = r"train\.accumulate.*\(CUDA out of memory\. Tried to allocate 2\.00 GiB\)$"
    with pytest.raises(TrialError, match=advice), settled(make_trial(), make_place()):
        raise torch.OutOfMemoryError(text)


def test_algorithms_are_tried_only_where_asked():
    with tuned(True):
        assert cudnn.benchmark
        with tuned(False):
            assert not cudnn.benchmark
        assert cudnn.benchmark
    assert not cudnn.benchmark


def test_what_cpus_training_leaves_loads_data(make_trial, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert place_of(make_trial()).workers == 0
    assert place_of(make_trial(cpu=0.5)).workers == 0
    assert place_of(make_trial(cpu=6.5)).workers == 5
    assert place_of(make_trial("train.threads=2", cpu=6)).workers == 4
    shared = make_trial("train.devices=2", cpu=7)
    assert [place_of(shared, rank, 2).workers for rank in (0, 1)] == [2, 2]
    assert place_of(shared).workers == 5  # of one process, that evaluates
    assert place_of(make_trial(cpu=64)).workers == 7  # asked for, but not there


def test_a_trial_without_gpu_takes_none(make_trial):
    assert place_of(make_trial()).device == torch.device("cpu")
    assert not torch.cuda.is_initialized()


def test_the_first_interrupt_waits_and_the_second_does_not():
    with finishing_steps() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stop()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_elsewhere_interrupts_are_left_alone():
    found = []

    def in_a_thread():
        with finishing_steps() as stop:
            found.append((signal.getsignal(signal.SIGINT), stop()))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert found == [(signal.default_int_handler, False)]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with finishing_steps():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
