"""Checkpoints as safetensors: no pickle, strict in names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tcc.errors import CheckpointError


def write(path: Path, state: Mapping[str, Tensor], trial_id: str) -> None:
    """Writes weights; ``trial_id`` goes into the file's metadata."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    save_file(tensors, path, metadata={"trial": trial_id})


def read(path: Path) -> dict[str, Tensor]:
    """Reads weights.

    Raises:
        CheckpointError: the file is missing, truncated or no safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({error}); "
            "delete the trial's result.json to redo it"
        ) from None
