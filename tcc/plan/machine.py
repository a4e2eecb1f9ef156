"""This machine as a node: the CPUs that this process may use and the GPUs that it may see."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tcc.plan.capacity import Node

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
NVIDIA = Path("/proc/driver/nvidia/gpus")  # a folder for each GPU, where the driver is loaded
ANSWER_WITHIN_S = 5.0


def this_machine() -> Node:
    """What a Ray that is started here has to give, without starting one. CUDA is not touched."""
    return Node(name="this machine", cpu=_cpus(), gpu=_gpus())


def _cpus() -> int:
    """The CPUs that this process may run on, and no more than its control groups grant it."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas()])))


def _quotas() -> Iterator[float]:
    """CPUs granted by the control groups that this process is in, from the innermost outwards."""
    with suppress(OSError):
        for line in OWN_CGROUP.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            version_1 = "cpu" in controllers.split(",")
            if controllers and not version_1:
                continue
            root = CGROUPS / "cpu" if version_1 else CGROUPS
            inner = root / path.lstrip("/")
            for folder in (inner, *inner.parents):
                yield from _quota(folder)
                if folder == root:
                    break


def _quota(folder: Path) -> Iterator[float]:
    """A control group's quota over its period, in both kinds of control groups."""
    with suppress(OSError, ValueError):  # "max", or no such file: no limit
        quota, period = (folder / "cpu.max").read_text().split()
        yield int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = (
            (folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
        )
        if int(quota) > 0:
            yield int(quota) / int(period)


def _gpus() -> int:
    """The NVIDIA GPUs that CUDA would show."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = _driver_gpus()
    if visible is None or not there:
        return there
    listed = [name.strip() for name in visible.split(",")]
    hidden = next((i for i, name in enumerate(listed) if name in ("", "-1", "NoDevFiles")), None)
    return min(there, len(listed[:hidden]))  # CUDA stops reading at what is no device


def _driver_gpus() -> int:
    if NVIDIA.is_dir():
        return sum(1 for _ in NVIDIA.iterdir())
    program = shutil.which("nvidia-smi")  # where the driver is not this kernel's, as in WSL
    if program is None:
        return 0
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [program, "--list-gpus"], capture_output=True, text=True, timeout=ANSWER_WITHIN_S
        )
        return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
    return 0
