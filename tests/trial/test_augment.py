"""Crops and flips move image and labels together."""

import torch
from torchvision import tv_tensors

from tcc.formats.sample import Sample
from tcc.trial.augment import IGNORE_INDEX, mirrored, random_crop

MIRROR = torch.tensor([0, 2, 1])


def sample(height: int, width: int, boxes: list[list[float]]) -> Sample:
    """An image whose red channel is its column, its green its row; ids repeat the column. The
    keypoints of a box: its middle, its left edge, which is hidden, and one not labelled."""
    columns = torch.arange(width).expand(height, width)
    rows = torch.arange(height)[:, None].expand(height, width)
    count = len(boxes)
    corners = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    objects = {
        "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(height, width)),
        "labels": torch.arange(1, count + 1),
        "crowd": torch.zeros(count, dtype=torch.bool),
        "area": torch.ones(count, dtype=torch.float64),
    }
    x1, y1, x2, y2 = corners.float().T
    middle = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, torch.full_like(x1, 2)], dim=1)
    edge = torch.stack([x1, (y1 + y2) / 2, torch.ones_like(x1)], dim=1)
    keypoints = torch.stack([middle, edge, torch.zeros_like(edge)], dim=1)
    return Sample(
        key="a",
        image=torch.stack([columns, rows, rows]).byte(),
        labels={
            "label_ids": tv_tensors.Mask(columns.clone()),
            "disparity": tv_tensors.Mask(columns + 1),
            "boxes": objects,
            "keypoints": {**objects, "keypoints": keypoints, "mirror": MIRROR},
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
    kept, lost = 0, 0
    for seed in range(40):
        cropped = random_crop(sample(40, 60, whole), 24, generator(seed))
        left, top = int(cropped.image[0, 0, 0]), int(cropped.image[1, 0, 0])
        found = cropped.labels["boxes"]
        posed = cropped.labels["keypoints"]
        assert torch.equal(posed["mirror"], MIRROR)
        assert posed["keypoints"].shape == (len(found["boxes"]), 3, 3)
        for name in found:
            assert torch.equal(posed[name], found[name])
        for points, label in zip(posed["keypoints"].tolist(), found["labels"].tolist()):
            x1, y1, x2, y2 = whole[label - 1]
            middle = [(x1 + x2) / 2 - left, (y1 + y2) / 2 - top, 2]
            edge = [x1 - left, (y1 + y2) / 2 - top, 1]
            inside = [
                point if min(point[:2]) >= 0 and max(point[:2]) < 24 else [0, 0, 0]
                for point in (middle, edge)
            ]
            assert points == [*inside, [0, 0, 0]]
            lost += [0, 0, 0] in inside
        for box, label in zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True):
            x1, y1, x2, y2 = whole[label - 1]
            expected = [max(x1 - left, 0), max(y1 - top, 0), min(x2 - left, 24), min(y2 - top, 24)]
            assert box == expected
            assert (box[2] - box[0]) * (box[3] - box[1]) >= 16
            kept += 1
        assert len(found["boxes"]) == len(found["labels"]) == len(found["area"])
    assert kept > 10
    assert 0 < lost < kept


def test_a_small_image_is_padded_and_the_padding_ignored():
    cropped = random_crop(sample(8, 10, [[1.0, 1.0, 5.0, 5.0]]), 16, generator())
    assert cropped.image.shape == (3, 16, 16)
    assert torch.equal(cropped.image[:, 8:, :10], cropped.image[:, 7:8, :10].expand(3, 8, 10))
    assert (cropped.labels["label_ids"][8:] == IGNORE_INDEX).all()
    assert (cropped.labels["disparity"][:, 10:] == 0).all()
    assert cropped.labels["boxes"]["boxes"].tolist() == [[1.0, 1.0, 5.0, 5.0]]


def test_a_mirrored_sample_is_mirrored_throughout():
    original = sample(8, 10, [[1.0, 2.0, 4.0, 6.0]])
    before = original.labels["keypoints"]["keypoints"].clone()
    flipped = mirrored(original)
    assert flipped.image[0, 0].tolist() == list(range(9, -1, -1))
    assert flipped.labels["label_ids"][0].tolist() == list(range(9, -1, -1))
    assert flipped.labels["boxes"]["boxes"].tolist() == [[6.0, 2.0, 9.0, 6.0]]
    assert flipped.labels["boxes"]["boxes"].dtype == torch.float64
    # what was the left edge is now the right one; what is not labelled stays nowhere
    posed = flipped.labels["keypoints"]
    assert posed["keypoints"].tolist() == [[[7.5, 4.0, 2.0], [0.0, 0.0, 0.0], [9.0, 4.0, 1.0]]]
    assert posed["boxes"].tolist() == [[6.0, 2.0, 9.0, 6.0]]
    twice = mirrored(flipped).labels["keypoints"]["keypoints"]
    assert torch.equal(twice, before)
    assert torch.equal(original.labels["keypoints"]["keypoints"], before)


def test_an_image_without_objects_can_be_cropped_and_mirrored():
    cropped = mirrored(random_crop(sample(40, 60, []), 16, generator()))
    assert cropped.labels["boxes"]["boxes"].shape == (0, 4)
    assert cropped.labels["keypoints"]["keypoints"].shape == (0, 3, 3)


def test_a_box_without_extent_does_not_survive_a_crop():
    degenerate = [[4.0, 6.0, 4.0, 14.0], [2.0, 2.0, 12.0, 12.0]]
    cropped = random_crop(sample(16, 16, degenerate), 16, generator())
    assert cropped.labels["boxes"]["labels"].tolist() == [2]
    assert cropped.labels["keypoints"]["keypoints"].shape == (1, 3, 3)
