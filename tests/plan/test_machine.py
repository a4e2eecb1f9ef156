"""This machine as a node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcc.plan import machine
from tcc.plan.machine import this_machine


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of eight processors without control groups, GPUs or nvidia-smi."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroups")
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(machine, "NVIDIA", tmp_path / "gpus")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_bare_machine() -> None:
    assert str(this_machine()) == "this machine (8 CPU, 0 GPU)"


@pytest.mark.parametrize(
    "inner,outer,cpus",
    [
        ("max 100000", "max 100000", 8),
        ("250000 100000", "max 100000", 2),
        ("max 100000", "300000 100000", 3),
        ("600000 100000", "400000 100000", 4),
        ("50000 100000", "max 100000", 1),  # half a processor runs one trial, slowly
        ("9900000 100000", "nonsense", 8),
    ],
)
def test_the_quota_of_any_control_group_counts(
    bare: Path, inner: str, outer: str, cpus: int
) -> None:
    write(bare / "own", "0::/job/step\n")
    write(bare / "cgroups" / "job" / "step" / "cpu.max", f"{inner}\n")
    write(bare / "cgroups" / "job" / "cpu.max", f"{outer}\n")
    assert this_machine().cpu == cpus


@pytest.mark.parametrize("quota,cpus", [("-1", 8), ("300000", 3)])
def test_control_groups_of_the_first_version(bare: Path, quota: str, cpus: int) -> None:
    write(bare / "own", "9:name=systemd:/\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/\n")
    # within a container, its own group is the root, whatever the host calls it
    write(bare / "cgroups" / "cpu" / "cpu.cfs_quota_us", f"{quota}\n")
    write(bare / "cgroups" / "cpu" / "cpu.cfs_period_us", "100000\n")
    assert this_machine().cpu == cpus


@pytest.mark.parametrize(
    "visible,gpus",
    [(None, 4), ("", 0), ("-1", 0), ("0", 1), ("0,2", 2), ("1,-1,2", 1), ("GPU-8a,GPU-9b", 2),
     ("0,1,2,3,4,5,6,7", 4), ("NoDevFiles", 0)],
)  # fmt: skip
def test_gpus_of_the_driver_as_far_as_they_are_visible(
    bare: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, gpus: int
) -> None:
    for bus in ("01", "02", "03", "04"):
        (bare / "gpus" / f"0000:{bus}:00.0").mkdir(parents=True)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert this_machine().gpu == gpus


@pytest.mark.parametrize(
    "script,gpus",
    [
        ("echo 'GPU 0: H200 (UUID: GPU-1)'; echo 'GPU 1: H200 (UUID: GPU-2)'", 2),
        ("echo 'NVIDIA-SMI has failed'; exit 9", 0),
        ("exec sleep 60", 0),
    ],
)
def test_nvidia_smi_is_asked_where_the_driver_is_elsewhere(
    bare: Path, monkeypatch: pytest.MonkeyPatch, script: str, gpus: int
) -> None:
    monkeypatch.setattr(machine, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setenv("PATH", f"{bare / 'bin'}:/usr/bin:/bin")
    program = bare / "bin" / "nvidia-smi"
    write(program, f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert this_machine().gpu == gpus


def test_the_real_machine_is_told_without_torch_or_ray() -> None:
    code = (
        "import sys; from tcc.plan.machine import this_machine; node = this_machine()\n"
        "print(node.cpu >= 1, [name for name in ('torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"
