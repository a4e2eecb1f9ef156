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
from tcc.formats.sample import Sample, box_labels, collate, image_tensor, mask_label


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
        torch.float32,
        torch.int64,
        torch.bool,
        torch.float32,
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
    assert torch.equal((batch.image_B3HW * 255).round().byte()[0], _sample(1).image)
    assert batch.labels["disparity"].shape == (2, 6, 7)
    assert [len(item["labels"]) for item in batch.labels["boxes"]] == [2, 0]


class _Counting:
    def __init__(self) -> None:
        self.reads: list[int] = []

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        return _sample(index)


@pytest.mark.parametrize(("held", "reads"), [(0, 18), (2.5, 14), (6, 6), (100, 6)])
def test_memory_decodes_once_up_to_its_limit(held: float, reads: int) -> None:
    one_bytes = 6 * 7 * 3 + 2 * (16 + 8 + 1 + 4) + 6 * 7 * 8 + 8
    split = _Counting()
    memory = MemorySplit(split, limit_bytes=int(held * one_bytes))
    for _ in range(3):
        for index in range(len(memory)):
            assert _equal(memory[index].labels, _sample(index).labels)
    assert len(split.reads) == reads
    assert len(pickle.dumps(memory)) < 1000
