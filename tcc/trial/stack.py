"""Batches as they are held in memory: how large, whose memory, and many stacked into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from tcc.formats.sample import Batch

STACKED_BYTES = 1 << 30  # of samples that are held in memory as one batch


class Images(Protocol):
    """All images of a split, in batches of one size."""

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def __iter__(self) -> Iterator[Batch]: ...


def stacked(images: Images) -> Batch | None:
    """All samples as one batch, since stacking small images anew costs a sixth of a small step;
    None where their sizes differ or they are too large. Its images lie as (N, H, W, 3)."""
    batches: list[Batch] = []
    for batch in images:
        if num_bytes(batch) / len(batch) * len(images) > STACKED_BYTES:
            return None
        if batches and batch.size != batches[0].size:
            return None
        batches.append(owned(batch))
    labels = {
        kind: torch.cat([batch.labels[kind] for batch in batches])
        if isinstance(value, Tensor)
        else [item for batch in batches for item in batch.labels[kind]]
        for kind, value in batches[0].labels.items()
    }
    rows = torch.cat([batch.image_B3HW.permute(0, 2, 3, 1) for batch in batches])
    return Batch(
        keys=tuple(key for batch in batches for key in batch.keys),
        image_B3HW=rows.contiguous(),
        labels=labels,
    )


def taken(stack: Batch, indices: Tensor) -> Batch:
    """Some images of a stack, in the order of ``indices``."""
    listed = indices.tolist()

    def of(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.index_select(0, indices)
        return [value[index] for index in listed]

    return Batch(
        keys=tuple(of(stack.keys)),
        image_B3HW=of(stack.image_B3HW).permute(0, 3, 1, 2),
        labels={kind: of(value) for kind, value in stack.labels.items()},
    )


def num_bytes(batch: Batch) -> int:
    """The memory of a batch's images and labels."""
    sizes = [batch.image_B3HW.nbytes]
    each(batch.labels, lambda tensor: sizes.append(tensor.nbytes))
    return sum(sizes)


def owned(batch: Batch) -> Batch:
    """The batch in this process's memory, not in the little that it shares with workers."""
    if not batch.image_B3HW.is_shared():
        return batch
    labels = each(batch.labels, torch.clone)
    return replace(batch, image_B3HW=batch.image_B3HW.clone(), labels=labels)


def each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Nested mappings and lists with every tensor or array changed."""
    if isinstance(value, Mapping):
        return {key: each(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [each(item, change) for item in value]
    return change(value)
