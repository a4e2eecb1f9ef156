"""What a process computes with, set for one trial and put back: it runs others after."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import cudnn

from tcc.errors import BusyError, LostProcessError, StoreError
from tcc.records import TrialSpec
from tcc.trial import memory
from tcc.trial.loading import worker_died
from tcc.trial.place import Place

_NO_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_FIX = "lower the model's sizes or `train.scale`, or give the kind more memory in `resources`"


@contextmanager
def settled(trial: TrialSpec, place: Place) -> Iterator[None]:
    """Threads, algorithms and the share of a GPU as the trial's recipe and resources ask.

    Raises:
        MemoryExceededError: memory does not suffice.
        LostProcessError: a process that loads data was killed.
        StoreError: a disk is full, or was made read-only.
    """
    recipe, share = trial.recipe.train, trial.resources.gpu
    threads, flags = torch.get_num_threads(), (cudnn.deterministic, cudnn.allow_tf32)
    exact = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(recipe.deterministic, warn_only=True)
    cudnn.deterministic = recipe.deterministic
    cudnn.allow_tf32 = False  # full precision means it; speed is bf16's
    if place.on_gpu:
        # read once, as CUDA starts: too late for a later trial of this process that needs it
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if place.on_gpu and place.rank:  # to set the default would start CUDA beside the ranks
        torch.cuda.set_device(place.device)
    if place.on_gpu and share < 1:
        torch.cuda.set_per_process_memory_fraction(share, place.device)
    try:
        with memory.explained(place.device, "what comes before and after the steps", _FIX):
            yield
    except (BusyError, LostProcessError, StoreError):
        raise
    except Exception as error:
        if (refused := _no_disk(error)) is not None:
            raise StoreError(
                f"{refused.filename or 'a file'} cannot be written ({refused.strerror}): free "
                "space, or make it writable; what was done is kept, and the same command goes on "
                "from it"
            ) from error
        if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
            raise worker_died(error) from error  # which torch raises wherever the loop is
        raise
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(exact, warn_only=only_warns)
        cudnn.deterministic, cudnn.allow_tf32 = flags
        if place.on_gpu and share < 1:
            torch.cuda.set_per_process_memory_fraction(1.0, place.device)


def _no_disk(error: BaseException | None) -> OSError | None:
    """The disk's refusal that an error comes of, if it does."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_DISK:
            return error
        error = error.__cause__
    return None


@contextmanager
def tuned(on: bool) -> Iterator[None]:
    """Within, cuDNN tries its algorithms on every new shape of input, if ``on``."""
    before, cudnn.benchmark = cudnn.benchmark, on
    try:
        yield
    finally:
        cudnn.benchmark = before
