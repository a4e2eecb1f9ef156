"""Samples and batches keep the label conventions, in and out of worker processes."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Mask

from tcc.formats.boxes import Boxes
from tcc.formats.memory import MemorySplit
from tcc.formats.sample import (
    Sample,
    box_labels,
    collate,
    image_tensor,
    keypoint_labels,
    mask_label,
)


def _sample(index: int, boxes: int = 2) -> Sample:
    rng = np.random.default_rng(index)
    corners = np.sort(rng.uniform(0, 6, (boxes, 2, 2)), axis=1).reshape(boxes, 4)
    found = Boxes.of(corners, range(1, boxes + 1), [False] * boxes, [1.0] * boxes)
    return Sample(
        key=str(index),
        image=image_tensor(rng.integers(0, 256, (6, 7, 3), np.uint8)),
        labels={
            "boxes": box_labels(found, 6, 7),
            "disparity": mask_label(rng.integers(0, 65536, (6, 7)).astype(np.uint16)),
            "class": torch.tensor(index),
        },
    )


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_equal(first[k], second[k]) for k in first)
    return type(first) is type(second) and torch.equal(first, second)


def test_labels_follow_the_conventions() -> None:
    sample = _sample(3)
    assert sample.image.shape == (3, 6, 7)
    assert sample.image.dtype == torch.uint8
    assert sample.image.is_contiguous()
    boxes = sample.labels["boxes"]
    assert isinstance(boxes["boxes"], BoundingBoxes)
    assert boxes["boxes"].format is BoundingBoxFormat.XYXY
    assert boxes["boxes"].canvas_size == (6, 7)
    assert [boxes[name].dtype for name in ("boxes", "labels", "crowd", "area")] == [
        torch.float64,
        torch.int64,
        torch.bool,
        torch.float64,
    ]
    assert isinstance(sample.labels["disparity"], Mask)
    assert sample.labels["disparity"].dtype == torch.int64
    assert sample.labels["disparity"].max() > 32767  # 16 bits are not read as signed


def test_an_image_without_objects_has_empty_boxes() -> None:
    boxes = _sample(0, boxes=0).labels["boxes"]
    assert boxes["boxes"].shape == (0, 4)
    assert len(boxes["labels"]) == len(boxes["crowd"]) == len(boxes["area"]) == 0


def test_a_pickled_sample_is_the_same() -> None:
    sample = _sample(1)
    back = pickle.loads(pickle.dumps(sample))
    assert _equal(back.labels, sample.labels)
    assert back.labels["boxes"]["boxes"].canvas_size == (6, 7)


def test_a_batch_stacks_maps_and_lists_boxes() -> None:
    batch = collate([_sample(1), _sample(2, boxes=0)])
    assert batch.keys == ("1", "2")
    assert batch.image_B3HW.shape == (2, 3, 6, 7)
    assert batch.sizes == ((6, 7), (6, 7))
    assert not batch.padded
    assert batch.image_B3HW.dtype == torch.uint8
    assert torch.equal(batch.image_B3HW[0], _sample(1).image)
    assert torch.equal((batch.to("cpu").image_B3HW * 255).round().byte()[0], _sample(1).image)
    assert batch.labels["disparity"].shape == (2, 6, 7)
    assert [len(item["labels"]) for item in batch.labels["boxes"]] == [2, 0]


def test_boxes_keep_every_digit_of_their_label() -> None:
    corners = [[0.1, 1 / 3, 457.123456789, 5.7]]
    label = box_labels(Boxes.of(corners, [1], [False], [12.3456789]), 6, 7)
    assert label["boxes"].tolist() == corners
    assert label["area"].tolist() == [12.3456789]


def test_keypoints_come_with_their_objects_and_their_mirror() -> None:
    names = ("nose", "left_eye", "right_eye", "right_wing", "left_")
    boxes = Boxes.of([[0, 0, 4, 5], [1, 1, 3, 3]], [1, 1], [False, True], [20.0, 4.0])
    points = np.arange(2 * 5 * 3, dtype=np.float32).reshape(2, 5, 3)
    label = keypoint_labels(boxes, points, names, 6, 7)
    assert label.keys() == {*box_labels(boxes, 6, 7), "keypoints", "mirror"}
    assert label["keypoints"].dtype == torch.float32
    assert torch.equal(label["keypoints"], torch.from_numpy(points))
    # a right wing that has no left one stays itself
    assert label["mirror"].tolist() == [0, 2, 1, 3, 4]
    assert label["crowd"].tolist() == [False, True]
    none = keypoint_labels(Boxes.of([], [], [], []), np.zeros((0, 5, 3), np.float32), names, 6, 7)
    assert none["keypoints"].shape == (0, 5, 3)
    assert none["boxes"].shape == (0, 4)


def test_images_of_different_sizes_are_padded_by_their_border() -> None:
    def sample(height: int, width: int) -> Sample:
        rows, columns = np.mgrid[:height, :width].astype(np.uint8)
        return Sample(
            key=f"{height}",
            image=image_tensor(np.stack([rows, columns, rows + columns], axis=2)),
            labels={"label_ids": mask_label(rows), "disparity": mask_label(columns + 1)},
        )

    samples = [sample(3, 5), sample(4, 2)]
    batch = collate(samples)
    assert batch.image_B3HW.shape == (2, 3, 4, 5)
    assert batch.sizes == ((3, 5), (4, 2))
    assert batch.padded
    for original, image in zip(samples, batch.unpadded(batch.image_B3HW), strict=True):
        assert torch.equal(image, original.image)
    assert batch.image_B3HW[0, :2, 3].tolist() == [[2] * 5, [0, 1, 2, 3, 4]]  # rows, columns
    assert batch.image_B3HW[1, 1].tolist() == [[0, 1, 1, 1, 1]] * 4
    assert batch.labels["label_ids"][0, 3].tolist() == [255] * 5
    assert batch.labels["disparity"][1, 0].tolist() == [1, 2, 0, 0, 0]
    assert batch.to("cpu").sizes == batch.sizes


class _Counting:
    def __init__(self) -> None:
        self.reads: list[int] = []

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        return _sample(index)

    def size(self, index: int) -> tuple[int, int]:
        return 6, 7 + index


@pytest.mark.parametrize(("held", "reads"), [(0, 18), (2.5, 14), (6, 6), (100, 6)])
def test_memory_decodes_once_up_to_its_limit(held: float, reads: int) -> None:
    one_bytes = 6 * 7 * 3 + 2 * (32 + 8 + 1 + 8) + 6 * 7 * 8 + 8
    split = _Counting()
    memory = MemorySplit(split, limit_bytes=int(held * one_bytes))
    for _ in range(3):
        for index in range(len(memory)):
            assert _equal(memory[index].labels, _sample(index).labels)
    assert len(split.reads) == reads
    assert len(pickle.dumps(memory)) < 1000
    assert memory.size(2) == (6, 9)
    assert len(split.reads) == reads  # nothing was decoded for it
