from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tcc.formats.sample import Batch

torch.set_num_threads(1)

CLASSES = {
    "boxes": ("dark", "light"),
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
    """Grey images with one dark and one light rectangle, and every label."""

    def make(count: int = 4, height: int = 48, width: int = 48, seed: int = 0) -> Batch:
        rng = torch.Generator().manual_seed(seed)
        image = 0.5 + 0.03 * torch.randn(count, 3, height, width, generator=rng)
        label_ids = torch.zeros(count, height, width, dtype=torch.int64)
        disparity = torch.full((count, height, width), 10 * 256 + 1)
        disparity[:, :, :2] = 0
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
            labels={"boxes": boxes, "label_ids": label_ids, "disparity": disparity},
        )

    return make


@pytest.fixture
def target() -> Callable[..., dict[str, Tensor]]:
    return box_target


def box_target(
    boxes: list[Any], labels: list[int], crowd: list[bool] | None = None
) -> dict[str, Tensor]:
    """The ``boxes`` label of one image."""
    boxes_N4 = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {
        "boxes": boxes_N4,
        "labels": torch.tensor(labels, dtype=torch.int64),
        "crowd": torch.tensor(crowd or [False] * len(labels), dtype=torch.bool),
        "area": (boxes_N4[:, 2] - boxes_N4[:, 0]) * (boxes_N4[:, 3] - boxes_N4[:, 1]),
    }


@pytest.fixture
def with_labels() -> Callable[..., Batch]:
    """The same batch with labels replaced."""

    def replace(batch: Batch, **labels: Any) -> Batch:
        return Batch(
            keys=batch.keys, image_B3HW=batch.image_B3HW, labels={**batch.labels, **labels}
        )

    return replace
