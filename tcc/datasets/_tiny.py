"""Draws the few labelled images that data sets lay out as tiny instances for tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcc.formats.boxes import Boxes

CLASSES = ("dark", "light")
SIZES = ((48, 64), (64, 48), (56, 72))  # heights and widths, for layouts that mix them


class TinyScene(NamedTuple):
    """One image and its labels: a dark and a light rectangle before a grey ground."""

    image: NDArray[np.uint8]  # (H, W, 3)
    boxes: Boxes  # one of label 1 and one of label 2
    label_ids: NDArray[np.uint8]  # (H, W): 0 the ground, 1 and 2 the rectangles
    disparity: NDArray[np.uint16]  # (H, W): raw, 0 in a margin on the left
    label: int  # class of the image: the larger rectangle's, 0 or 1


def draw(index: int, height: int = 48, width: int = 64) -> TinyScene:
    """The scene of an index, always the same."""
    rng = np.random.default_rng(index)
    image = rng.normal(128, 6, (height, width, 3))
    label_ids = np.zeros((height, width), np.uint8)
    disparity = np.full((height, width), 10 * 256 + 1, np.uint16)
    rows = []
    for label, left in ((1, 2), (2, width // 2)):
        side_y, side_x = (
            rng.integers(height // 4, height // 2),
            rng.integers(width // 5, width // 3),
        )
        top = int(rng.integers(0, height - side_y))
        window = np.s_[top : top + side_y, left : left + side_x]
        image[window] += (-70, 70)[label - 1]
        label_ids[window] = label
        disparity[window] = (20 + 20 * label) * 256 + 1
        rows.append((left, top, left + int(side_x), top + int(side_y)))
    disparity[:, :2] = 0
    area = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in rows]
    return TinyScene(
        image=np.clip(np.rint(image), 0, 255).astype(np.uint8),
        boxes=Boxes.of(rows, [1, 2], [False, False], area),
        label_ids=label_ids,
        disparity=disparity,
        label=int(area[1] > area[0]),
    )
