"""Instances json: written and read back here and by pycocotools, and refused when malformed."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
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

    crowd, empty, two = (index.boxes(position) for position in range(len(index)))
    assert crowd.crowd.tolist() == [True]
    assert len(empty) == 0
    assert empty.xyxy.shape == (0, 4)
    # clipped to the image; the box of no width is gone; the missing area is the box's
    np.testing.assert_array_equal(two.xyxy, [[1.5, 2, 4.5, 6], [45, 30, 50, 40]])
    np.testing.assert_array_equal(two.labels, [2, 1])
    np.testing.assert_array_equal(two.area, [9.5, 400])


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
        (lambda d: d.pop("categories"), "no 'categories'"),
        (lambda d: d["annotations"][0].pop("bbox"), "no 'bbox'"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), ""),
        (lambda d: d["annotations"][0].update(category_id=4), "category id 4, which is not listed"),
        (lambda d: d["annotations"][0].update(image_id=99), "image id 99, which is not listed"),
        (lambda d: d["images"][0].update(id=10), "two entries of image id 10"),
        (lambda d: d.update(images={}), ""),
        (lambda d: d["annotations"].append("text"), ""),
    ],
)
def test_a_malformed_file_names_itself_and_the_fault(
    tmp_path: Path, change: Any, complaint: str
) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    with pytest.raises(DataError) as caught:
        coco.read_instances(_written(tmp_path, document))
    assert "instances.json: not a COCO instances file" in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"3"])
def test_what_is_not_instances_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "torn.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"torn\.json"):
        coco.read_instances(path)
    with pytest.raises(DataError, match=r"none\.json: there is no such file"):
        coco.read_instances(tmp_path / "none.json")


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
        np.testing.assert_allclose(ours.xyxy, expected, atol=1e-3)
