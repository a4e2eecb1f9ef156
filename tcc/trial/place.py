"""Where a trial computes: its device, its rank among several, its loader workers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tcc.errors import TrialError
from tcc.formats.sample import Batch
from tcc.methods import TrialModel
from tcc.records import TrialSpec

Loss = Callable[[Batch, float], Mapping[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One of the ``ranks`` processes that share a trial's steps; ``workers``: its own processes
    that load data."""

    device: torch.device
    rank: int = 0
    ranks: int = 1
    workers: int = 0

    @property
    def first(self) -> bool:
        """Whether this process speaks for all: saves, reports."""
        return self.rank == 0

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a CUDA device."""
        return self.device.type == "cuda"

    def alone(self) -> Place:
        """The same place for work that no other rank has a part in."""
        return replace(self, rank=0, ranks=1)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all ranks, the same on each; the tensor itself is changed."""
        if self.ranks > 1:
            dist.all_reduce(values)
        return values

    def share(self, model: TrialModel) -> Shared:
        """The model's loss, its gradients averaged over the ranks."""
        return Shared(model) if self.ranks == 1 else _SharedByRanks(model)

    def agree(self, model: nn.Module) -> None:
        """Gives every rank the first one's buffers, such as the statistics of BatchNorm."""
        if self.ranks > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)


class Shared:
    """A model's loss in one process."""

    def __init__(self, model: TrialModel):
        self.loss: Loss = model.loss

    def keeping_gradients(self) -> AbstractContextManager[Any]:
        """What is computed within adds its gradients on this device alone."""
        return nullcontext()


class _SharedByRanks(Shared):
    """A model's loss in each of several processes."""

    def __init__(self, model: TrialModel):
        # parameters that a loss does not reach (the side input of a standalone) have no gradient
        self._parallel = nn.parallel.DistributedDataParallel(
            _LossModule(model), broadcast_buffers=False, find_unused_parameters=True
        )
        self.loss = self._parallel

    def keeping_gradients(self) -> AbstractContextManager[Any]:
        return self._parallel.no_sync()


class _LossModule(nn.Module):
    """A model's loss as a forward pass, the only kind of pass whose gradients torch averages."""

    def __init__(self, model: TrialModel):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, rate_weight: float) -> dict[str, Tensor]:
        losses = self.model.loss(batch, rate_weight)
        return {name: x if name == "total" else x.detach() for name, x in losses.items()}


def place_of(trial: TrialSpec, rank: int = 0, ranks: int = 1) -> Place:
    """From the resources, not from what is there: a trial without GPU must not take one.

    Raises:
        TrialError: there are fewer GPUs than ranks.
    """
    recipe, resources = trial.recipe.train, trial.resources
    cpus = min(math.floor(resources.cpu), os.cpu_count() or 1)  # asked for, and there
    spare = cpus - recipe.threads * recipe.devices
    device = torch.device("cpu")
    if resources.gpu > 0 and torch.cuda.is_available():
        if (seen := torch.cuda.device_count()) < ranks:
            raise TrialError(
                f"train.devices is {ranks}, but this process sees {seen} GPU: give the kind "
                f"resources of gpu: {ranks}, or set train.accumulate instead"
            )
        device = torch.device("cuda", rank)
    return Place(device=device, rank=rank, ranks=ranks, workers=max(0, spare) // ranks)
