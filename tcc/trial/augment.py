"""Random crops and flips of a sample with its labels; the caller seeds the generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as transforms

from tcc.formats.sample import Sample

MIN_VISIBLE = 0.25  # share of a box that a crop must leave for the box to stay
MIN_BOX_PX = 2.0
IGNORE_INDEX = 255  # of label ids
_NOT_PER_OBJECT = ("mirror",)  # entries of an object label that say nothing of single objects


def augment(sample: Sample, *, crop: int, flip: bool, generator: torch.Generator) -> Sample:
    """A ``crop`` × ``crop`` part (0: the whole image), mirrored half of the time if ``flip``."""
    if crop:
        sample = random_crop(sample, crop, generator)
    if flip and torch.rand((), generator=generator) < 0.5:
        sample = mirrored(sample)
    return sample


def mirrored(sample: Sample) -> Sample:
    """The sample flipped from left to right; what was a left keypoint becomes a right one."""
    image = transforms.horizontal_flip(tv_tensors.Image(sample.image))
    labels = _map_spatial(sample.labels, transforms.horizontal_flip)
    for value in labels.values():
        if _lists(value, "keypoints"):
            points = value["keypoints"][:, value["mirror"]]
            points[..., 0] = image.shape[-1] - points[..., 0]
            value["keypoints"] = _seen(points, points[..., 2] > 0)
    return Sample(key=sample.key, image=image.as_subclass(Tensor), labels=labels)


def random_crop(sample: Sample, side: int, generator: torch.Generator) -> Sample:
    """A random ``side`` × ``side`` crop; smaller images are padded by repeating their border,
    their labels by the value that is ignored. Boxes of which too little is left are dropped."""
    height, width = sample.image.shape[-2:]
    top = _draw(max(0, height - side), generator)
    left = _draw(max(0, width - side), generator)
    pad = [0, 0, max(0, side - width), max(0, side - height)]
    image, labels = tv_tensors.Image(sample.image), dict(sample.labels)
    if any(pad):
        image = transforms.pad(image, pad, padding_mode="edge")
        labels = {kind: _pad(kind, value, pad) for kind, value in labels.items()}
    image = transforms.crop(image, top, left, side, side)
    labels = _map_spatial(labels, lambda item: transforms.crop(item, top, left, side, side))
    for kind, value in labels.items():
        if _lists(value, "keypoints"):
            points = value["keypoints"] - torch.tensor([left, top, 0])
            inside = ((points[..., :2] >= 0) & (points[..., :2] < side)).all(-1)
            value["keypoints"] = _seen(points, inside & (points[..., 2] > 0))
        if _lists(value, "boxes"):
            labels[kind] = _visible(sample.labels[kind], value)
    return Sample(key=sample.key, image=image.as_subclass(Tensor), labels=labels)


def _map_spatial(labels: Mapping[str, Any], transform: Any) -> dict[str, Any]:
    """Applies a transform to every label that lies in the image plane."""
    spatial = (tv_tensors.Mask, tv_tensors.BoundingBoxes)

    def mapped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: mapped(item) for key, item in value.items()}
        return transform(value) if isinstance(value, spatial) else value

    return {kind: mapped(value) for kind, value in labels.items()}


def _pad(kind: str, value: Any, pad: list[int]) -> Any:
    fill = IGNORE_INDEX if kind == "label_ids" else 0
    return _map_spatial({kind: value}, lambda item: transforms.pad(item, pad, fill=fill))[kind]


def _lists(label: Any, what: str) -> bool:
    """Whether a label lists objects, and ``what`` of each."""
    return isinstance(label, dict) and what in label


def _seen(keypoints_NK3: Tensor, seen_NK: Tensor) -> Tensor:
    """Keypoints where ``seen``, zeros elsewhere, as COCO writes those that are not labelled."""
    return torch.where(seen_NK[..., None], keypoints_NK3, 0)


def _visible(before: Mapping[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    old, new = before["boxes"].as_subclass(Tensor), after["boxes"].as_subclass(Tensor)
    old_side, new_side = old[:, 2:] - old[:, :2], new[:, 2:] - new[:, :2]
    share = new_side.prod(1) / old_side.prod(1).clamp(min=1e-6)
    keep = (share >= MIN_VISIBLE) & (new_side.min(1).values >= MIN_BOX_PX)
    size = after["boxes"].canvas_size
    boxes = tv_tensors.BoundingBoxes(new[keep], format="XYXY", canvas_size=size)  # pyright: ignore
    whole = {key: value for key, value in after.items() if key in _NOT_PER_OBJECT}
    rows = {key: value[keep] for key, value in after.items() if key not in _NOT_PER_OBJECT}
    return {**whole, **rows, "boxes": boxes}


def _draw(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(0, high + 1, (), generator=generator))
