"""Crops and flips move image and labels together."""

import torch
from torchvision import tv_tensors

from tcc.formats.sample import Sample
from tcc.trial.augment import IGNORE_INDEX, mirrored, random_crop


def sample(height: int, width: int, boxes: list[list[float]]) -> Sample:
    """An image whose red channel is its column, its green its row; ids repeat the column."""
    columns = torch.arange(width).expand(height, width)
    rows = torch.arange(height)[:, None].expand(height, width)
    count = len(boxes)
    return Sample(
        key="a",
        image=torch.stack([columns, rows, rows]).byte(),
        labels={
            "label_ids": tv_tensors.Mask(columns.clone()),
            "disparity": tv_tensors.Mask(columns + 1),
            "boxes": {
                "boxes": tv_tensors.BoundingBoxes(
                    torch.tensor(boxes).reshape(-1, 4), format="XYXY", canvas_size=(height, width)
                ),
                "labels": torch.arange(1, count + 1),
                "crowd": torch.zeros(count, dtype=torch.bool),
                "area": torch.ones(count),
            },
        },
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_crop_moves_labels_with_the_image():
    for seed in range(20):
        cropped = random_crop(sample(40, 60, []), 16, generator(seed))
        assert cropped.image.shape == (3, 16, 16)
        assert torch.equal(cropped.image[0].long(), cropped.labels["label_ids"].long())
        assert torch.equal(cropped.image[0].long() + 1, cropped.labels["disparity"].long())


def test_a_crop_keeps_boxes_on_what_they_hold():
    whole = [[4.0, 6.0, 12.0, 14.0], [50.0, 30.0, 58.0, 38.0]]
    kept = 0
    for seed in range(40):
        cropped = random_crop(sample(40, 60, whole), 24, generator(seed))
        left, top = int(cropped.image[0, 0, 0]), int(cropped.image[1, 0, 0])
        found = cropped.labels["boxes"]
        for box, label in zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True):
            x1, y1, x2, y2 = whole[label - 1]
            expected = [max(x1 - left, 0), max(y1 - top, 0), min(x2 - left, 24), min(y2 - top, 24)]
            assert box == expected
            assert (box[2] - box[0]) * (box[3] - box[1]) >= 16
            kept += 1
        assert len(found["boxes"]) == len(found["labels"]) == len(found["area"])
    assert kept > 10


def test_a_small_image_is_padded_and_the_padding_ignored():
    cropped = random_crop(sample(8, 10, [[1.0, 1.0, 5.0, 5.0]]), 16, generator())
    assert cropped.image.shape == (3, 16, 16)
    assert torch.equal(cropped.image[:, 8:, :10], cropped.image[:, 7:8, :10].expand(3, 8, 10))
    assert (cropped.labels["label_ids"][8:] == IGNORE_INDEX).all()
    assert (cropped.labels["disparity"][:, 10:] == 0).all()
    assert cropped.labels["boxes"]["boxes"].tolist() == [[1.0, 1.0, 5.0, 5.0]]


def test_a_mirrored_sample_is_mirrored_throughout():
    flipped = mirrored(sample(8, 10, [[1.0, 2.0, 4.0, 6.0]]))
    assert flipped.image[0, 0].tolist() == list(range(9, -1, -1))
    assert flipped.labels["label_ids"][0].tolist() == list(range(9, -1, -1))
    assert flipped.labels["boxes"]["boxes"].tolist() == [[6.0, 2.0, 9.0, 6.0]]
