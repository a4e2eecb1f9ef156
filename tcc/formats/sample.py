"""What a data set gives for one image, and a batch of them as a trial uses it.

Shape legend: B batch, H W pixels.

Labels are held by kind, so that a new kind needs no new field:

    boxes       {"boxes": BoundingBoxes (N, 4) xyxy in pixels, "labels": int64 (N,) from 1,
                 "crowd": bool (N,), "area": float32 (N,)}
    label_ids   Mask int64 (H, W): train ids, 255 is ignored
    disparity   Mask int64 (H, W): Cityscapes raw 16-bit values, 0 is invalid
    class       int64 scalar tensor
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcc.errors import DataError

if TYPE_CHECKING:
    from torchvision.tv_tensors import Mask

    from tcc.formats.boxes import Boxes


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image. ``image``: uint8 (3, H, W) RGB. ``key`` is unique within its split."""

    key: str
    image: Tensor
    labels: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images of ONE size. ``image_B3HW``: float32, 0 to 1. ``labels``: kind → stacked tensor, or a
    list with one entry an image where images differ (boxes). ``frozen``: what the frozen parts of a
    model gave for these images, where it was kept."""

    keys: tuple[str, ...]
    image_B3HW: Tensor
    labels: Mapping[str, Any]
    frozen: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the original images in pixels."""
        return self.image_B3HW.shape[-2], self.image_B3HW.shape[-1]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            keys=self.keys,
            image_B3HW=self.image_B3HW.to(device, non_blocking=True),
            labels=_to(dict(self.labels), device),
            frozen=_to(dict(self.frozen), device),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples into a batch, in the memory layout that convolutions like best.

    Raises:
        DataError: the samples are of different sizes.
    """
    sizes = {tuple(sample.image.shape[-2:]) for sample in samples}
    if len(sizes) > 1:
        raise DataError(
            f"images {samples[0].key!r} … have different sizes {sorted(sizes)}: "
            "set train.crop to a size in pixels, or train.batch to 1"
        )
    labels: dict[str, Any] = {}
    for kind in samples[0].labels:
        values = [sample.labels[kind] for sample in samples]
        # plain tensors: what a label means no longer matters, and subclasses are slow
        stackable = isinstance(values[0], Tensor)
        labels[kind] = torch.stack([v.as_subclass(Tensor) for v in values]) if stackable else values
    image = torch.stack([sample.image for sample in samples]).float().div_(255)
    return Batch(
        keys=tuple(sample.key for sample in samples),
        image_B3HW=image.contiguous(memory_format=torch.channels_last),
        labels=labels,
    )


def image_tensor(pixels_HW3: NDArray[np.uint8]) -> Tensor:
    """``Sample.image`` of RGB pixels: uint8 (3, H, W)."""
    return torch.from_numpy(pixels_HW3).permute(2, 0, 1).contiguous()


def box_labels(boxes: Boxes, height: int, width: int) -> dict[str, Tensor]:
    """The ``boxes`` label of an image of that size in pixels."""
    from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

    return {
        "boxes": BoundingBoxes(  # pyright: ignore[reportCallIssue]
            torch.from_numpy(boxes.xyxy),
            format=BoundingBoxFormat.XYXY,
            canvas_size=(height, width),
        ),
        "labels": torch.from_numpy(boxes.labels),
        "crowd": torch.from_numpy(boxes.crowd),
        "area": torch.from_numpy(boxes.area),
    }


def mask_label(values_HW: NDArray[np.integer]) -> Mask:
    """The ``label_ids`` or ``disparity`` label of a map of integers: int64 (H, W)."""
    from torchvision.tv_tensors import Mask

    return Mask(torch.from_numpy(values_HW.astype(np.int64)))


def _to(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [_to(item, device) for item in value]
    return value
