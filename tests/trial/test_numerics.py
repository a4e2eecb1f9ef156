"""What a process computes with is the trial's while it runs, and its own again after."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import replace

import pytest
import torch
from torch.backends import cudnn

from tcc.errors import MemoryExceededError, StoreError
from tcc.records import Resources
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


def test_too_little_memory_is_told_with_advice(make_trial, make_place):
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB."
    advice = r"train\.scale.*\(CUDA out of memory\. Tried to allocate 2\.00 GiB\)$"
    with pytest.raises(MemoryExceededError, match=advice), settled(make_trial(), make_place()):
        raise torch.OutOfMemoryError(text)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_is_not_the_trial_s_fault(make_trial, make_place, number):
    told = pytest.raises(StoreError, match=r"^/data/a\.png cannot be written \(")
    with told, settled(make_trial(), make_place()):
        raise OSError(number, os.strerror(number), "/data/a.png")
    with pytest.raises(FileNotFoundError), settled(make_trial(), make_place()):
        raise OSError(errno.ENOENT, "no such file")


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
