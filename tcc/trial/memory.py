"""Memory that does not suffice: how it shows, and what there is to say of it."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from tcc.errors import MemoryExceededError
from tcc.formats.sample import Batch

GIB = 2**30
_SAYINGS = (  # of the many that are no error of a kind of their own
    "can't allocate memory",  # torch's allocator on the CPU
    "not enough memory",
    "could not create a memory object",  # oneDNN
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def exceeded(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, a GPU's or the machine's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAYINGS)


def in_use(device: torch.device) -> str:
    """A device and how much of its memory is taken, in words."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        mine = torch.cuda.memory_reserved(device)
        share = torch.cuda.get_per_process_memory_fraction(device)
        within = f", of its share of {share * total / GIB:.2f} GiB" if share < 1 else ""
        return (
            f"{device} ({torch.cuda.get_device_name(device)}), of whose {total / GIB:.2f} GiB "
            f"{(total - free) / GIB:.2f} are in use, {mine / GIB:.2f} by this trial{within}"
        )
    page = os.sysconf("SC_PAGE_SIZE")
    addressed, resident = (int(x) * page for x in Path("/proc/self/statm").read_text().split()[:2])
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        return f"the CPU, with {addressed / GIB:.2f} of the {limit / GIB:.2f} GiB allowed in use"
    total = os.sysconf("SC_PHYS_PAGES") * page
    return f"the CPU, with {resident / GIB:.2f} of the machine's {total / GIB:.2f} GiB in use"


def said(error: BaseException) -> str:
    """The beginning of what an error says of itself: torch then tells of its settings."""
    lines = str(error).splitlines() or [type(error).__name__]
    return ". ".join(lines[0].split(". ")[:2])


def freed() -> None:
    """Gives back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextmanager
def explained(device: torch.device, doing: str, fix: str) -> Iterator[None]:
    """Says of memory that does not suffice within where, for what, and what helps.

    Raises:
        MemoryExceededError: it does not.
    """
    try:
        yield
    except Exception as error:
        if not exceeded(error):
            raise
        raise MemoryExceededError(
            f"the memory of {in_use(device)}, does not suffice for {doing}: {fix} ({said(error)})"
        ) from error


def explained_whole(batch: Batch, device: torch.device) -> AbstractContextManager[None]:
    """`explained` for whole images that are evaluated, which no parameter divides further."""
    height, width = batch.size
    count = "an image" if len(batch) == 1 else f"{len(batch)} images at a time"
    fix = (
        "lower the model's sizes or `train.scale`, evaluate smaller images, or give the kind more "
        "memory in `resources`"
    )
    return explained(device, f"evaluating {count} of {height}×{width} pixels", fix)
