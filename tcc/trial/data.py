"""Batches: seeded order for training, whole images grouped by size for evaluation.

The order of the batches depends on a seed and a key that the arms of a comparison share;
a crop depends on (seed, epoch, index) only, never on loader workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tcc import registry
from tcc.codec.seeding import derive_seed
from tcc.datasets import Split
from tcc.errors import DataError
from tcc.formats.memory import MemorySplit
from tcc.formats.sample import Batch, Sample, collate
from tcc.records import DatasetInfo, DatasetUse
from tcc.trial.augment import augment

EVALUATION_PIXELS = 1 << 19  # of one evaluation batch, at the most (a single image may be larger)
EVALUATION_BATCH = 32
STACKED_BYTES = 1 << 31  # of images that are held in memory as one tensor


def open_split(use: DatasetUse, split: str) -> Split:
    """The samples of one split of a data set as a trial uses it; makes it first where needed."""
    plugin = registry.load("datasets", use.plugin)
    params = plugin.Params.model_validate(dict(use.params))
    plugin.prepare(params)
    samples = MemorySplit(plugin.open(params, split))
    if not len(samples):
        raise DataError(f"data set {use.name!r} has no image in its split {split!r}")
    return samples


def describe(use: DatasetUse, *splits: str) -> DatasetInfo:
    """What the data set holds, from the plug-in. ``splits``: those that will be read.

    Raises:
        DataError: it is not the data that the trial was planned with.
    """
    plugin = registry.load("datasets", use.plugin)
    info = plugin.describe(plugin.Params.model_validate(dict(use.params)))
    if info.fingerprint(*splits) != use.fingerprint:
        raise DataError(
            f"data set {use.name!r} is not what it was when this trial was planned: it changed "
            "since, or this machine finds other files under its root; run the same command again"
        )
    return info


class TrainingBatches:
    """An endless, seeded stream of training batches; the last short batch of an epoch is dropped
    unless it is the only one."""

    def __init__(
        self, samples: Split, batch: int, *, seed: int, key: tuple[str, ...], crop: int, flip: bool
    ):
        self.samples, self.crop, self.flip = samples, crop, flip
        self.batch = min(batch, len(samples))
        self.seed, self.key = seed, key
        self.frozen: Mapping[str, Tensor] = {}  # (N, …) of all images, where they are kept
        self._stacked = _stack(samples) if self.fixed else None

    @property
    def fixed(self) -> bool:
        """Whether an image looks the same in every epoch."""
        return self.crop == 0 and not self.flip

    def __iter__(self) -> Iterator[Batch]:
        epoch, count = 0, len(self.samples)
        while True:
            order = torch.randperm(count, generator=_generator(self.seed, *self.key, epoch))
            for start in range(0, count - self.batch + 1, self.batch):
                yield self._batch(order[start : start + self.batch], epoch)
            epoch += 1

    def _batch(self, indices: Tensor, epoch: int) -> Batch:
        if self._stacked is not None:
            batch = _take(self._stacked, indices)
        else:
            batch = collate([self._augmented(index, epoch) for index in indices.tolist()])
        frozen = {name: value[indices] for name, value in self.frozen.items()}
        return replace(batch, frozen=frozen)

    def _augmented(self, index: int, epoch: int) -> Sample:
        generator = _generator(self.seed, epoch, index)
        return augment(self.samples[index], crop=self.crop, flip=self.flip, generator=generator)


def _stack(samples: Split) -> Batch | None:
    """All samples as one batch, since stacking small images anew costs a sixth of a small step;
    None where their sizes differ or they are too large."""
    first = samples[0].image
    if first.nbytes * len(samples) * 4 > STACKED_BYTES:
        return None
    everything = [samples[index] for index in range(len(samples))]
    if any(sample.image.shape != first.shape for sample in everything):
        return None
    return collate(everything)


def _take(batch: Batch, indices: Tensor) -> Batch:
    """Some images of a batch, in the order of ``indices``."""

    def taken(value: Any) -> Any:
        return value[indices] if isinstance(value, Tensor) else [value[i] for i in indices.tolist()]

    return Batch(
        keys=tuple(taken(batch.keys)),
        image_B3HW=taken(batch.image_B3HW).contiguous(memory_format=torch.channels_last),
        labels={kind: taken(value) for kind, value in batch.labels.items()},
    )


def evaluation_batches(samples: Split) -> Iterator[Batch]:
    """Whole images in order, neighbours of equal size together."""
    group: list[Sample] = []
    for index in range(len(samples)):
        sample = samples[index]
        size = tuple(sample.image.shape[-2:])
        limit = max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // (size[0] * size[1])))
        if group and (tuple(group[0].image.shape[-2:]) != size or len(group) >= limit):
            yield collate(group)
            group = []
        group.append(sample)
    if group:
        yield collate(group)


def _generator(*key: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(*key))
