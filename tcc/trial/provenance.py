"""Where a record comes from: versions, revision, machine, time."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from tcc.records import Provenance

PACKAGES = ("torch", "torchvision", "compressai", "ray", "numpy", "pycocotools", "wandb")


def provenance(study: str, device: str, started_at: datetime) -> Provenance:
    """The provenance of a record made now, of work begun at ``started_at``."""
    return Provenance(
        tcc_version=metadata.version("tcc"),
        git_revision=_git_revision(),
        packages=_versions(),
        machine=f"{platform.node()} {platform.machine()} python {platform.python_version()}",
        device=device,
        started_at=started_at.astimezone(UTC).isoformat(timespec="seconds"),
        study=study,
    )


@cache
def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


@cache
def _git_revision() -> str:
    """The revision of the checkout that runs, ``-dirty`` when changed; "" out of a checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
