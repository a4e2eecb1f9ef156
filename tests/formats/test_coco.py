"""Instances json: written and read back here and by pycocotools, and refused when malformed."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcc.errors import DataError
from tcc.formats import coco
from tcc.formats.boxes import Boxes

DOCUMENT: dict[str, Any] = {
    "images": [
        {"id": 30, "file_name": "c.jpg", "height": 40, "width": 50},
        {"id": 10, "file_name": "a.jpg", "height": 20, "width": 30},
        {"id": 20, "file_name": "b.jpg", "height": 20, "width": 30},
    ],
    "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "car"}],
    "annotations": [
        {"id": 1, "image_id": 30, "category_id": 90, "bbox": [1.5, 2, 3, 4], "area": 9.5,
         "iscrowd": 0, "segmentation": [[1, 2, 3, 2, 3, 4]]},
        {"id": 2, "image_id": 10, "category_id": 3, "bbox": [0, 0, 30, 20], "area": 500,
         "iscrowd": 1, "segmentation": {"size": [20, 30], "counts": [0, 600]}},
        {"id": 3, "image_id": 30, "category_id": 3, "bbox": [45, 30, 20, 20]},
        {"id": 4, "image_id": 30, "category_id": 3, "bbox": [5, 5, 0, 3], "area": 0},
    ],
}  # fmt: skip


def _written(folder: Path, document: Any) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps(document))
    return path


def test_gaps_crowds_empty_images_and_degenerate_boxes(tmp_path: Path) -> None:
    index = coco.read_instances(_written(tmp_path, DOCUMENT))
    assert index.names == ("car", "zebra")
    assert index.category_ids == (3, 90)
    assert index.file_names == ("a.jpg", "b.jpg", "c.jpg")
    np.testing.assert_array_equal(index.image_ids, [10, 20, 30])
    np.testing.assert_array_equal(index.sizes, [[20, 30], [20, 30], [40, 50]])

    crowd, empty, three = (index.boxes(position) for position in range(len(index)))
    assert crowd.crowd.tolist() == [True]
    assert len(empty) == 0
    assert empty.xyxy.shape == (0, 4)
    # as labelled: past the edge of the image, of no width; the missing area is the box's
    expected = [[1.5, 2, 4.5, 6], [45, 30, 65, 50], [5, 5, 5, 8]]
    np.testing.assert_array_equal(three.xyxy, expected)
    np.testing.assert_array_equal(three.labels, [2, 1, 1])
    np.testing.assert_array_equal(three.area, [9.5, 400, 0])
    assert index.keypoint_names == ()
    assert len(index.keypoints(2)[0]) == 0


def test_a_file_without_annotations_or_images(tmp_path: Path) -> None:
    empty = coco.read_instances(_written(tmp_path, {**DOCUMENT, "annotations": []}))
    assert [len(empty.boxes(position)) for position in range(3)] == [0, 0, 0]
    none = coco.read_instances(
        _written(tmp_path, {"images": [], "annotations": [], "categories": []})
    )
    assert len(none) == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.pop("categories"), "missing required field `categories`"),
        (lambda d: d["annotations"][0].pop("bbox"), r"field `bbox` - at `\$\.annotations\[0\]`"),
        (
            lambda d: d["annotations"][3].update(bbox=[1, 2, 3]),
            r"length 4 - at `\$\.annotations\[3\]\.bbox`",
        ),
        (
            lambda d: d["images"][1].update(width="30"),
            r"Expected `int`, got `str` - at `\$\.images\[1\]\.width`",
        ),
        (lambda d: d["images"][1].update(height=0), r">= 1 - at `\$\.images\[1\]\.height`"),
        (lambda d: d["images"][1].update(id=2**63), r"at `\$\.images\[1\]\.id`"),
        (lambda d: d["annotations"][0].update(category_id=4), "category id 4, which is not listed"),
        (lambda d: d["annotations"][0].update(image_id=99), "image id 99, which is not listed"),
        (lambda d: d.update(images=[]), "image id 30, which is not listed"),
        (lambda d: d["images"][0].update(id=10), "two entries of image id 10"),
        (lambda d: d["categories"][0].update(id=3), "two entries of category id 3"),
        (lambda d: d["images"][0].update(file_name="b.jpg"), "two images of file_name 'b.jpg'"),
        (lambda d: d.update(images={}), r"Expected `array`, got `object` - at `\$\.images`"),
        (lambda d: d["annotations"].append("text"), r"got `str` - at `\$\.annotations\[4\]`"),
    ],
)
def test_a_malformed_file_names_itself_and_the_fault(
    tmp_path: Path, change: Any, complaint: str
) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    with pytest.raises(DataError, match=rf"instances\.json: .*{complaint}"):
        coco.read_instances(_written(tmp_path, document))


@pytest.mark.parametrize(
    ("bbox", "fits"),
    [
        ([-4, 2, 3, 2], True),
        ([-4.5, 2, 3, 2], False),
        ([51, 41, 1, 1], True),
        ([0, 41.5, 9, 9], False),
        ([-9, -9, 99, 99], True),
        ([2, 2, 0, 0], True),
    ],
)
def test_a_box_that_misses_its_image_is_named(
    tmp_path: Path, bbox: list[float], fits: bool
) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["annotations"][2]["bbox"] = bbox  # of c.jpg, 50 x 40
    path = _written(tmp_path, document)
    if fits:
        x, y, width, height = bbox
        assert coco.read_instances(path).boxes(2).xyxy[1].tolist() == [x, y, x + width, y + height]
        return
    with pytest.raises(DataError, match=r"annotation 3 lies outside of image 'c.jpg'.* 50 x 40"):
        coco.read_instances(path)


def test_what_is_not_read_may_be_anything(tmp_path: Path) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["info"] = document["licenses"] = None
    for item, mask in zip(document["annotations"], ("", [], {"counts": "a", "size": 1}, None)):
        item.update(segmentation=mask, attributes={"occluded": False}, id=f"a{item['id']}")
    np.testing.assert_array_equal(
        coco.read_instances(_written(tmp_path, document)).boxes(2).xyxy,
        coco.read_instances(_written(tmp_path, DOCUMENT)).boxes(2).xyxy,
    )


POSED: dict[str, Any] = {
    "images": DOCUMENT["images"],
    "categories": [
        {"id": 1, "name": "person", "keypoints": ["nose", "left_eye"], "skeleton": [[1, 2]]},
        {"id": 7, "name": "car"},
    ],
    "annotations": [
        {"id": 1, "image_id": 30, "category_id": 1, "bbox": [1, 2, 9, 9], "area": 9, "iscrowd": 0,
         "keypoints": [3, 4.5, 2, 0, 0, 0], "num_keypoints": 1},
        {"id": 2, "image_id": 30, "category_id": 7, "bbox": [2, 2, 9, 9]},
        {"id": 3, "image_id": 10, "category_id": 1, "bbox": [2, 2, 8, 8], "iscrowd": 1,
         "keypoints": [0] * 6, "num_keypoints": 0, "segmentation": {"counts": [1], "size": [1, 1]}},
        {"id": 4, "image_id": 30, "category_id": 1, "bbox": [3, 2, 9, 9], "area": 9, "iscrowd": 0,
         "keypoints": [1, 1, 1, 2, 2, 2], "num_keypoints": 2},
        {"id": 5, "image_id": 30, "category_id": 1, "bbox": [4, 2, 9, 9]},
    ],
}  # fmt: skip


def test_keypoints_belong_to_the_objects_that_have_them(tmp_path: Path) -> None:
    index = coco.read_instances(_written(tmp_path, POSED))
    assert index.keypoint_names == ("nose", "left_eye")
    crowd, points = index.keypoints(0)
    assert crowd.crowd.tolist() == [True]
    assert points.tolist() == [[[0, 0, 0], [0, 0, 0]]]
    none, points = index.keypoints(1)
    assert len(none) == 0
    assert points.shape == (0, 2, 3)
    boxes, points = index.keypoints(2)
    assert boxes.xyxy[:, 0].tolist() == [1, 3]
    assert points.dtype == np.float32
    assert points.tolist() == [[[3, 4.5, 2], [0, 0, 0]], [[1, 1, 1], [2, 2, 2]]]
    assert len(index.boxes(2)) == 4


def test_keypoints_must_fit_their_names(tmp_path: Path) -> None:
    document = copy.deepcopy(POSED)
    document["annotations"][3]["keypoints"].pop()
    with pytest.raises(DataError, match=r"annotation 4 has 5 numbers of keypoints; .* of 2 keypoi"):
        coco.read_instances(_written(tmp_path, document))
    document = copy.deepcopy(POSED)
    document["categories"][1]["keypoints"] = ["wheel"]
    assert coco.read_instances(_written(tmp_path, document)).keypoint_names == ()


def test_written_keypoints_are_read_by_pycocotools(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    mask = np.ones((4, 5), bool)
    points = ((1.5, 2, 2), (3, 1, 1), (0, 0, 0))
    objects = (
        replace(coco.object_from_mask(mask, 1), keypoints=points),
        replace(coco.object_from_mask(mask, 1, crowd=True), keypoints=((0, 0, 0),) * 3),
    )
    images = [coco.CocoImage(file_name="a.png", height=4, width=5, objects=objects)]
    path = tmp_path / "person_keypoints.json"
    coco.write_instances(path, ("person",), images, ("nose", "left_eye", "right_eye"))
    with contextlib.redirect_stdout(io.StringIO()):
        official: Any = COCO(str(path))
    assert official.loadCats(1)[0]["keypoints"] == ["nose", "left_eye", "right_eye"]
    assert [item["num_keypoints"] for item in official.loadAnns([1, 2])] == [2, 0]
    boxes, read = coco.read_instances(path).keypoints(0)
    np.testing.assert_array_equal(read[0], points)
    assert boxes.crowd.tolist() == [False, True]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"3", b'{"images": [NaN]}'])
def test_what_is_not_instances_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "torn.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"torn\.json"):
        coco.read_instances(path)
    with pytest.raises(DataError, match=r"none\.json: there is no such file"):
        coco.read_instances(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read as json"):
        coco.read_instances(tmp_path)


def test_written_masks_are_read_by_pycocotools(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    rng = np.random.default_rng(0)
    masks = [rng.random((9, 13)) > 0.8 for _ in range(4)]
    objects = tuple(coco.object_from_mask(m, label) for label, m in enumerate(masks, start=1))
    images = [
        coco.CocoImage(file_name="empty.png", height=5, width=5, objects=()),
        coco.CocoImage(file_name="full.png", height=9, width=13, objects=objects),
    ]
    path = tmp_path / "instances.json"
    coco.write_instances(path, ("a", "b", "c", "d"), images)
    with contextlib.redirect_stdout(io.StringIO()):
        official = COCO(str(path))
    boxes = coco.read_instances(path).boxes(1)
    for row, (annotation, mask) in enumerate(zip(official.loadAnns([1, 2, 3, 4]), masks)):
        np.testing.assert_array_equal(official.annToMask(annotation), mask)
        ys, xs = np.nonzero(mask)
        tight = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_array_equal(boxes.xyxy[row], tight)
        assert boxes.area[row] == mask.sum()
        assert official.getCatIds()[row] == boxes.labels[row] == row + 1


def test_clipping_keeps_rows() -> None:
    boxes = Boxes.of([[-2, -2, 3, 3], [8, 8, 12, 12]], [1, 2], [False, True], [25, 16])
    cut = boxes.clipped(5, 6)
    np.testing.assert_array_equal(cut.xyxy, [[0, 0, 3, 3], [6, 5, 6, 5]])
    assert cut.empty.tolist() == [False, True]
    assert cut[~cut.empty].labels.tolist() == [1]


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_real_file_agrees_with_pycocotools() -> None:
    from pycocotools.coco import COCO

    path = Path(os.environ["TCC_SHARED"]) / "data/coco/annotations/instances.json"
    with contextlib.redirect_stdout(io.StringIO()):
        official = COCO(str(path))
    index = coco.read_instances(path)
    assert len(index) == 6
    assert len(index.names) == 80
    assert sum(len(index.boxes(position)) for position in range(6)) == 36
    assert min(len(index.boxes(position)) for position in range(6)) == 0
    assert sum(index.boxes(position).crowd.sum() for position in range(6)) == 1
    for position, image_id in enumerate(index.image_ids):
        theirs = official.loadAnns(official.getAnnIds(int(image_id)))
        ours = index.boxes(position)
        assert [index.category_ids[label - 1] for label in ours.labels] == [
            item["category_id"] for item in theirs
        ]
        x, y, width, height = np.array([item["bbox"] for item in theirs]).reshape(-1, 4).T
        expected = np.stack([x, y, x + width, y + height], axis=1)
        np.testing.assert_array_equal(ours.xyxy, expected)
        np.testing.assert_array_equal(ours.area, [item["area"] for item in theirs])
