from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tcc.formats.sample import Batch, Sample, collate

torch.set_num_threads(1)

CLASSES = {
    "boxes": ("dark", "light"),
    "keypoints": ("middle", "left_corner", "right_corner"),
    "class": ("dim", "bright"),
    "label_ids": ("background", "dark", "light"),
    "disparity": (),
    "image": (),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def classes() -> dict[str, tuple[str, ...]]:
    return CLASSES


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Grey images, every other one brighter, with one dark and one light rectangle, and every
    label."""

    def make(count: int = 4, height: int = 48, width: int = 48, seed: int = 0) -> Batch:
        rng = torch.Generator().manual_seed(seed)
        image = 0.5 + 0.03 * torch.randn(count, 3, height, width, generator=rng)
        label_ids = torch.zeros(count, height, width, dtype=torch.int64)
        disparity = torch.full((count, height, width), 10 * 256 + 1)
        disparity[:, :, :2] = 0
        kind = torch.arange(count) % 2
        image += 0.1 * kind[:, None, None, None]
        boxes = []
        for index in range(count):
            rows = []
            for label, half in ((1, 0), (2, width // 2)):
                x, y = (int(torch.randint(0, 4, (), generator=rng)) for _ in range(2))
                x1, y1, side = half + x + 2, y + 4, width // 3
                image[index, :, y1 : y1 + side, x1 : x1 + side] += 0.4 * (2 * label - 3)
                label_ids[index, y1 : y1 + side, x1 : x1 + side] = label
                disparity[index, y1 : y1 + side, x1 : x1 + side] = (20 + 20 * label) * 256 + 1
                rows.append([x1, y1, x1 + side, y1 + side])
            boxes.append(box_target(rows, [1, 2]))
        return Batch(
            keys=tuple(f"image{index}" for index in range(count)),
            image_B3HW=image.clamp(0, 1),
            labels={
                "boxes": boxes,
                "keypoints": [keypoint_target(target) for target in boxes],
                "label_ids": label_ids,
                "disparity": disparity,
                "class": kind,
            },
        )

    return make


@pytest.fixture
def make_padded(make_batch: Callable[..., Batch]) -> Callable[..., Batch]:
    """Such images cut to sizes of their own, collated and padded as in a trial."""

    def make(*sizes: tuple[int, int]) -> Batch:
        size = max(height for height, _ in sizes), max(width for _, width in sizes)
        whole = make_batch(len(sizes), *size)
        samples = []
        for index, (height, width) in enumerate(sizes):
            labels = {kind: values[index] for kind, values in whole.labels.items()}
            for kind in ("label_ids", "disparity"):
                labels[kind] = labels[kind][:height, :width]
            image = (255 * whole.image_B3HW[index, :, :height, :width]).round().byte()
            samples.append(Sample(key=whole.keys[index], image=image, labels=labels))
        return collate(samples).to("cpu")

    return make


@pytest.fixture
def target() -> Callable[..., dict[str, Tensor]]:
    return box_target


def box_target(
    boxes: list[Any],
    labels: list[int],
    crowd: list[bool] | None = None,
    area: list[float] | None = None,
) -> dict[str, Tensor]:
    """The ``boxes`` label of one image."""
    boxes_N4 = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    sides_N2 = boxes_N4[:, 2:] - boxes_N4[:, :2]
    return {
        "boxes": boxes_N4,
        "labels": torch.tensor(labels, dtype=torch.int64),
        "crowd": torch.tensor(crowd or [False] * len(labels), dtype=torch.bool),
        "area": sides_N2.prod(1) if area is None else torch.tensor(area, dtype=torch.float64),
    }


def keypoint_target(boxes: dict[str, Tensor]) -> dict[str, Tensor]:
    """The ``keypoints`` label of one image whose objects have those boxes: the middle, and the
    upper corners, of which the right one is hidden."""
    x1, y1, x2, y2 = boxes["boxes"].T
    points = [((x1 + x2) / 2, (y1 + y2) / 2, 2), (x1 + 1, y1 + 1, 2), (x2 - 1, y1 + 1, 1)]
    keypoints_KN3 = [torch.stack([x, y, torch.full_like(x, v)], dim=1) for x, y, v in points]
    return {
        **boxes,
        "labels": torch.ones_like(boxes["labels"]),
        "keypoints": torch.stack(keypoints_KN3, dim=1).float(),
        "mirror": torch.tensor([0, 2, 1]),
    }


@pytest.fixture
def with_labels() -> Callable[..., Batch]:
    """The same batch with labels replaced."""

    def replace(batch: Batch, **labels: Any) -> Batch:
        return Batch(
            keys=batch.keys, image_B3HW=batch.image_B3HW, labels={**batch.labels, **labels}
        )

    return replace
