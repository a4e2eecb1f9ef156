"""Checkpoints as safetensors: no pickle, strict in names and shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from tcc.errors import CheckpointError


def write(path: Path, state: Mapping[str, Tensor], trial_id: str) -> None:
    """Writes weights; ``trial_id`` goes into the file's metadata."""
    save(path, portable(state), {"trial": trial_id})


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes portable tensors, readable for those who may read the files beside them."""
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, metadata=dict(metadata))
    path.chmod(mode)  # safetensors lets nobody but the writer read what it writes


def portable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies as safetensors writes them: on the CPU, contiguous, none sharing its memory."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def read(path: Path, sha256: str) -> dict[str, Tensor]:
    """Reads weights whose file has this hash.

    Raises:
        CheckpointError: the file is missing, truncated, or not the one that was recorded.
    """
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise SafetensorError("it is not the file that the trial's record names")
        return load(data)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a checkpoint to trust: {error}") from None
