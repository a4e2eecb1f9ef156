"""What a data set gives for one image, and a batch of them as a trial uses it.

Shape legend: B batch, H W pixels, K keypoints.

Labels are held by kind, so that a new kind needs no new field:

    boxes       {"boxes": BoundingBoxes float64 (N, 4) xyxy in pixels, as labelled; "labels": int64
                 (N,) from 1, "crowd": bool (N,), "area": float64 (N,)}
    keypoints   the same of the objects that can have keypoints, and {"keypoints": float32 (N, K, 3)
                 x, y in pixels and visibility (0 not labelled, 1 hidden, 2 visible), "mirror":
                 int64 (K,): which keypoint each one becomes in a mirror}
    label_ids   Mask int64 (H, W): train ids, 255 is ignored
    disparity   Mask int64 (H, W): Cityscapes raw 16-bit values, 0 is invalid
    class       int64 scalar tensor
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from torchvision.tv_tensors import Mask

    from tcc.formats.boxes import Boxes

Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image. ``image``: uint8 (3, H, W) RGB. ``key`` is unique within its split."""

    key: str
    image: Tensor
    labels: Mapping[str, Any]


IGNORED = {"label_ids": 255, "disparity": 0}  # what padding has in the maps of a label kind


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images, padded at the bottom and the right to one size where theirs differ.

    ``image_B3HW``: float32 0 to 1 once it is on its device (`to`), uint8 before. ``sizes``: height
    and width of each original image in pixels, which lies at the top left. ``labels``: kind →
    stacked tensor, or a list with one entry an image where images differ (boxes). ``frozen``: what
    the frozen parts of a model gave for these images, where it was kept. ``coded``: in an
    evaluation at a codec scale below 1, what was decoded and the original, both at that scale.
    """

    keys: tuple[str, ...]
    image_B3HW: Tensor
    labels: Mapping[str, Any]
    sizes: tuple[Size, ...] = ()  # as large as the tensor, where none are given
    frozen: Mapping[str, Tensor] = field(default_factory=dict)
    coded: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        if not self.sizes:
            object.__setattr__(self, "sizes", (self.size,) * len(self.keys))

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def size(self) -> Size:
        """Height and width of the tensor in pixels: those of each image, unless it is padded."""
        return self.image_B3HW.shape[-2], self.image_B3HW.shape[-1]

    @property
    def padded(self) -> bool:
        """Whether some image is smaller than the tensor."""
        return any(size != self.size for size in self.sizes)

    def unpadded(self, image_B3HW: Tensor) -> list[Tensor]:
        """Each image of such a tensor without its padding: (3, H, W) of its own size."""
        return [
            image[..., :height, :width]
            for image, (height, width) in zip(image_B3HW, self.sizes, strict=True)
        ]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device, its images as float32 from 0 to 1."""
        image = self.image_B3HW.to(device, non_blocking=True)
        if image.dtype == torch.uint8:
            image = image.float().div_(255)
        return replace(
            self,
            image_B3HW=image,
            labels=_each(dict(self.labels), lambda x: x.to(device, non_blocking=True)),
            frozen=_each(dict(self.frozen), lambda x: x.to(device, non_blocking=True)),
        )

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from which a GPU copies while it computes."""
        return replace(
            self,
            image_B3HW=self.image_B3HW.pin_memory(),
            labels=_each(dict(self.labels), Tensor.pin_memory),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples into a batch, in the memory layout that convolutions like best.

    Smaller images are padded by repeating their border, their maps by what is ignored.
    """
    sizes = tuple((s.image.shape[-2], s.image.shape[-1]) for s in samples)
    size = max(height for height, _ in sizes), max(width for _, width in sizes)
    labels: dict[str, Any] = {}
    for kind in samples[0].labels:
        values = [sample.labels[kind] for sample in samples]
        if isinstance(values[0], Tensor):
            # plain tensors: what a label means no longer matters, and subclasses are slow
            maps = [value.as_subclass(Tensor) for value in values]
            if kind in IGNORED:
                maps = [_padded(value, size, IGNORED[kind]) for value in maps]
            labels[kind] = torch.stack(maps)
        else:
            labels[kind] = values
    image = torch.stack([_padded(sample.image, size, None) for sample in samples])
    return Batch(
        keys=tuple(sample.key for sample in samples),
        image_B3HW=image.contiguous(memory_format=torch.channels_last),
        labels=labels,
        sizes=sizes,
    )


def _padded(map_HW: Tensor, size: Size, fill: int | None) -> Tensor:
    """A map (…, H, W) of at least ``size``: filled, or its border repeated where fill is None."""
    height, width = map_HW.shape[-2:]
    bottom, right = size[0] - height, size[1] - width
    if not (bottom or right):
        return map_HW
    if fill is not None:
        return F.pad(map_HW, (0, right, 0, bottom), value=fill)
    rows = torch.arange(size[0]).clamp(max=height - 1)
    columns = torch.arange(size[1]).clamp(max=width - 1)
    return map_HW[..., rows[:, None], columns]


def image_tensor(pixels_HW3: NDArray[np.uint8]) -> Tensor:
    """``Sample.image`` of RGB pixels: uint8 (3, H, W)."""
    return torch.from_numpy(pixels_HW3).permute(2, 0, 1).contiguous()


def pixels(image_3HW: Tensor) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3) of an image-like tensor, nominally 0 to 1: clamped and rounded."""
    rounded = image_3HW.float().clamp(0, 1).mul(255).round().byte()
    return rounded.permute(1, 2, 0).contiguous().cpu().numpy()


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


def keypoint_labels(
    boxes: Boxes, keypoints_NK3: NDArray[np.float32], names: Sequence[str], height: int, width: int
) -> dict[str, Tensor]:
    """The ``keypoints`` label of an image of that size in pixels. ``boxes``: of the objects that
    the keypoints belong to. A mirror exchanges those named left_… and right_…."""
    place = {name: index for index, name in enumerate(names)}
    side = {"left": "right_", "right": "left_"}
    parts = [name.partition("_") for name in names]
    mirror = [
        place.get(side.get(which, "") + part, index) for index, (which, _, part) in enumerate(parts)
    ]
    return {
        **box_labels(boxes, height, width),
        "keypoints": torch.from_numpy(keypoints_NK3),
        "mirror": torch.tensor(mirror, dtype=torch.int64),
    }


def mask_label(values_HW: NDArray[np.integer]) -> Mask:
    """The ``label_ids`` or ``disparity`` label of a map of integers: int64 (H, W)."""
    from torchvision.tv_tensors import Mask

    return Mask(torch.from_numpy(values_HW.astype(np.int64)))


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested dicts and lists with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    return value
