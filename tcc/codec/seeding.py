"""Initial weights that depend on a key and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*key: str | float) -> int:
    """A 63-bit seed that depends on ``key`` alone, in every process."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(*key: str | float) -> Iterator[None]:
    """Seeds torch's generators by a stable hash of ``key``; afterwards they are as before.

    What is built inside is the same in every process and whatever was built before, so that the
    arms of a comparison share initial weights. The CPU's generator is always forked; that of the
    current CUDA device only once CUDA is in use, since asking for it would occupy every GPU.
    """
    seed = derive_seed(*key)
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
