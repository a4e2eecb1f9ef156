"""Checkpoints as safetensors: no pickle, strict in names and shapes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from tcc.errors import CheckpointError
from tcc.stores._disk import reading

_DTYPES = {  # in the order of their tensors in a file
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write(path: Path, state: Mapping[str, Tensor], trial_id: str) -> None:
    """Writes weights; ``trial_id`` goes into the file's metadata."""
    save(path, portable(state), {"trial": trial_id})


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes portable tensors, with the bytes that safetensors would write, but in place: it writes
    beside, to a name of its own, and what a kill left there would stay.

    Raises:
        OSError: the file cannot be written.
    """
    rank = {dtype: index for index, dtype in enumerate(_DTYPES)}
    names = sorted(tensors, key=lambda name: (rank[tensors[name].dtype], name))
    head: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].nbytes
        head[name] = {
            "dtype": _DTYPES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(raw(tensors[name]))


def raw(tensor: Tensor) -> memoryview:
    """The bytes of a portable tensor, in its own memory."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def portable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies as safetensors writes them: on the CPU, contiguous, none sharing its memory."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def read(path: Path, sha256: str) -> dict[str, Tensor]:
    """Reads weights whose file has this hash.

    Raises:
        CheckpointError: the file is missing, truncated, or not the one that was recorded.
        StoreError: the disk refuses to read it, which says nothing of the file.
    """
    try:
        with reading(path, missing=False):
            data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise SafetensorError("it is not the file that the trial's record names")
        return load(data)
    except (FileNotFoundError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a checkpoint to trust: {error}") from None
