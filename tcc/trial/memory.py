"""Memory that does not suffice: how it shows, and what there is to say of it."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch

from tcc.errors import MemoryExceededError
from tcc.formats.sample import Batch

GIB = 2**30
PROC = Path("/proc/self")
CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60  # bytes; the first version of control groups says "no limit" by a number
_SAYINGS = (  # of the many that are no error of a kind of their own
    "can't allocate memory",  # torch's allocator on the CPU
    "not enough memory",
    "could not create a memory object",  # oneDNN
    "could not create a primitive",
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
    addressed, resident, page = 0, 0, os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError):  # not every system tells
        addressed, resident = (int(x) * page for x in (PROC / "statm").read_text().split()[:2])
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        taken, total, whose = addressed, limit, "the {} GiB allowed"
    elif group := _control_group():
        (total, taken), whose = group, "its control group's {} GiB"
    else:
        taken, total, whose = resident, os.sysconf("SC_PHYS_PAGES") * page, "the machine's {} GiB"
    share = f"{taken / GIB:.2f} of " if taken else ""
    return f"the CPU, with {share}{whose.format(f'{total / GIB:.2f}')}{' in use' * bool(share)}"


def left() -> int | None:
    """Bytes that this process may still take: the least of what its own limit, its control groups
    and the machine have left. What the system would give back counts; None: nothing tells."""
    found = [limit - taken for limit, taken in _control_groups()]
    with suppress(OSError, ValueError):
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        addressed = int((PROC / "statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        found += [limit - addressed] if limit != resource.RLIM_INFINITY else []
    with suppress(OSError, KeyError, ValueError):
        lines = (PROC.parent / "meminfo").read_text().splitlines()
        kib = dict(line.split(":", 1) for line in lines)["MemAvailable"]
        found.append(int(kib.split()[0]) * 1024)
    return max(0, min(found)) if found else None


def _control_group() -> tuple[int, int] | None:
    """Bytes that the tightest control group of this process, as in a container, allows, and that
    are taken of them; None without a limit."""
    return min(_control_groups(reclaimed=False), default=None)


class _Version(NamedTuple):
    """How a version of control groups names its files, and what a group can be made to give back:
    copies of what is on the disk, and the kernel's own caches."""

    limit: str
    taken: str
    reclaimable: tuple[str, ...]


_FIRST = _Version(
    "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
)
_SECOND = _Version(
    "memory.max", "memory.current", ("inactive_file", "active_file", "slab_reclaimable")
)


def _control_groups(*, reclaimed: bool = True) -> Iterator[tuple[int, int]]:
    """Bytes that each control group of this process allows and that are taken of them; less those
    that the system takes back first, unless they are not to be ``reclaimed``."""
    with suppress(OSError):
        for line in (PROC / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                root, version = CGROUPS, _SECOND
            elif "memory" in controllers.split(","):
                root, version = CGROUPS / "memory", _FIRST
            else:
                continue
            inner = root / path.lstrip("/")
            for folder in (inner, *inner.parents):
                with suppress(OSError, ValueError):  # "max", or no such file: no limit
                    limit, taken = (int((folder / x).read_text()) for x in version[:2])
                    if limit < _UNLIMITED:
                        yield limit, taken - (_cached(folder, version) if reclaimed else 0)
                if folder == root:
                    break


def _cached(group: Path, version: _Version) -> int:
    """Bytes that a control group holds and would give back."""
    with suppress(OSError, ValueError):
        lines = (group / "memory.stat").read_text().splitlines()
        held = dict(line.split() for line in lines)
        return sum(int(held.get(name, 0)) for name in version.reclaimable)
    return 0


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
