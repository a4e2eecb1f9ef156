import copy
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tcc import registry
from tcc.formats.sample import Batch

TASK = registry.load("tasks", "detection")
CLASSES = ("x", "y", "z")


def _batch(targets, size=64):
    keys = tuple(str(index) for index in range(len(targets)))
    image = torch.rand(len(targets), 3, size, size)
    return Batch(keys=keys, image_B3HW=image, labels={"boxes": targets})


def _found(boxes, labels, scores, dtype=torch.float32):
    return {
        "boxes": torch.tensor(boxes, dtype=dtype).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "scores": torch.tensor(scores, dtype=dtype),
    }


def _measured(predictions, targets):
    accumulator = TASK.accumulator(TASK.Params(), CLASSES)
    assert accumulator.update(predictions, _batch(targets)) == [{} for _ in targets]
    return accumulator.compute()


def _coco_numbers(truth, results):
    """pycocotools' own way: a ground-truth document and a list of results."""
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


def _compare(values, expected):
    known = {metric.name: x for metric, x in zip(TASK.metrics, expected) if x != -1}
    assert values == pytest.approx(known, abs=1e-6)


def _random_boxes(count, rng):
    corner = 200 * torch.rand(count, 2, generator=rng)
    return torch.cat([corner, corner + 4 + 180 * torch.rand(count, 2, generator=rng)], dim=1)


@pytest.fixture
def random_set(target):
    """Images with random boxes, crowds among them, and shaken, mislabelled detections."""
    rng = torch.Generator().manual_seed(3)
    targets, predictions = [], []
    for index in range(12):
        count = index % 5
        boxes = _random_boxes(count, rng)
        labels = torch.randint(1, 3, (count,), generator=rng)  # class z never occurs
        crowd = torch.rand(count, generator=rng) < 0.2
        targets.append(target(boxes.tolist(), labels.tolist(), crowd.tolist()))
        shaken = boxes + 3 * torch.randn(count, 4, generator=rng)
        extra = _random_boxes(3, rng)
        predictions.append(
            {
                "boxes": torch.cat([shaken, extra]),
                "labels": torch.cat([labels, torch.randint(1, 4, (3,), generator=rng)]),
                "scores": torch.rand(count + 3, generator=rng),
            }
        )
    return predictions, targets


def _as_coco_files_say(predictions, targets):
    """The same by pycocotools' own way in: a ground-truth document and a list of results."""
    truth = COCO()
    rows, results = [], []
    for image, (prediction, label) in enumerate(zip(predictions, targets, strict=True), start=1):
        for box, category, crowd in zip(label["boxes"], label["labels"], label["crowd"]):
            x1, y1, x2, y2 = box.tolist()
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image,
                    "category_id": int(category),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(crowd),
                }
            )
        for box, category, score in zip(*(prediction[k] for k in ("boxes", "labels", "scores"))):
            x1, y1, x2, y2 = box.tolist()
            results.append(
                {
                    "image_id": image,
                    "category_id": int(category),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(score),
                }
            )
    truth.dataset = {
        "info": {},
        "images": [{"id": index} for index in range(1, len(targets) + 1)],
        "categories": [{"id": index, "name": name} for index, name in enumerate(CLASSES, 1)],
        "annotations": rows,
    }
    truth.createIndex()
    return _coco_numbers(truth, results)


def test_all_twelve_numbers_are_those_of_pycocotools(random_set):
    values = _measured(*random_set)
    expected = _as_coco_files_say(*random_set)
    assert 0.02 < values["map"] < 0.98
    assert list(values.values()) == pytest.approx(list(expected), abs=1e-6)
    assert [metric.name for metric in TASK.metrics] == list(values)


@pytest.fixture
def file_set():
    """A document with what files have: gaps in the ids, boxes of decimals, some without extent or
    reaching out of the image, areas of masks, crowds; and detections that tie in score and in
    overlap: half of a box, whose IoU is a threshold exactly."""
    rng = np.random.default_rng(0)
    annotations, results = [], []
    for image_id in (4, 9, 20, 31, 77):
        for _ in range(12):
            x, y, w, h = (float(value) for value in np.round(rng.uniform(1, 90, 4), 2))
            if rng.random() < 0.15:
                w = 0.0
            category = int(rng.choice([2, 7, 50]))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": [x, y, w, h],
                    "area": float(np.round(w * h * rng.uniform(0.2, 1), 3)),
                    "iscrowd": int(rng.random() < 0.15),
                }
            )
            for share in rng.choice([1, 0.5, 0.75, 0.9], rng.integers(1, 3)).tolist():
                results.append(
                    {
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": [x, y, round(w * share, 4), h],
                        "score": float(rng.integers(1, 6)) / 5,
                    }
                )
    return annotations, results


def test_the_numbers_are_those_of_the_file(file_set, target):
    annotations, results = file_set
    truth = COCO()
    image_ids, category_ids = (4, 9, 20, 31, 77), (2, 7, 50)
    truth.dataset = {
        "info": {},
        "images": [{"id": number} for number in image_ids],
        "categories": [{"id": number, "name": str(number)} for number in category_ids],
        "annotations": annotations,
    }
    truth.createIndex()
    values = _fed(annotations, results, image_ids, category_ids, target)
    expected = _coco_numbers(truth, copy.deepcopy(results))
    assert 0.05 < values["map"] < 0.95
    _compare(values, expected)


def _fed(annotations, results, image_ids, category_ids, target):
    """Our numbers of the same boxes, as a data set and a detector would give them."""
    predictions, targets = [], []
    for image_id in image_ids:
        rows = [row for row in annotations if row["image_id"] == image_id]
        targets.append(
            target(
                [_corners(row) for row in rows],
                [category_ids.index(row["category_id"]) + 1 for row in rows],
                [bool(row["iscrowd"]) for row in rows],
                [row["area"] for row in rows],
            )
        )
        found = [row for row in results if row["image_id"] == image_id]
        labels = [category_ids.index(row["category_id"]) + 1 for row in found]
        boxes, scores = [_corners(row) for row in found], [row["score"] for row in found]
        predictions.append(_found(boxes, labels, scores, torch.float64))
    accumulator = TASK.accumulator(TASK.Params(), tuple(str(number) for number in category_ids))
    for prediction, label in zip(predictions, targets):
        accumulator.update([prediction], _batch([label]))
    return accumulator.compute()


def _corners(row):
    x, y, w, h = row["bbox"]
    return [x, y, x + w, y + h]


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_the_numbers_are_those_of_a_real_file(target):
    folder = Path(os.environ["TCC_SHARED"]) / "data/voc"
    truth = COCO(str(folder / "coco_format_v2_instances_v2.json"))
    found = json.loads((folder / "coco_dets.json").read_text())
    # the two files number images and classes apart: names join them
    images = {image["file_name"]: image["id"] for image in truth.dataset["images"]}
    classes = {item["name"]: item["id"] for item in truth.dataset["categories"]}
    image_of = {item["id"]: images[item["file_name"]] for item in found["images"]}
    class_of = {item["id"]: classes[item["name"]] for item in found["categories"]}
    results = [
        {
            "image_id": image_of[row["image_id"]],
            "category_id": class_of[row["category_id"]],
            "bbox": row["bbox"],
            "score": row["score"],
        }
        for row in found["annotations"]
    ]
    values = _fed(
        truth.dataset["annotations"], results, truth.getImgIds(), sorted(truth.getCatIds()), target
    )
    assert 0.1 < values["map"] < 0.9
    _compare(values, _coco_numbers(truth, results))


def test_pycocotools_is_silent(random_set, capfd):
    _measured(*random_set)
    assert capfd.readouterr().out == ""


def test_perfect_detections_and_sizes_that_do_not_occur(target):
    targets = [target([[2, 2, 22, 22], [30, 30, 50, 60]], [1, 3]), target([], [])]
    predictions = [
        _found(t["boxes"].tolist(), t["labels"].tolist(), [0.9] * len(t["labels"])) for t in targets
    ]
    values = _measured(predictions, targets)
    assert [values[name] for name in ("map", "map_50", "map_small")] == pytest.approx([1.0] * 3)
    assert "map_medium" not in values  # -1 for pycocotools
    assert "mar_large" not in values


def test_half_of_the_objects_found_by_hand(target):
    # precision is 1 up to recall 0.5: 51 of COCO's 101 recall levels
    targets = [target([[0, 0, 20, 20], [40, 40, 60, 60]], [1, 1])]
    values = _measured([_found([[0, 0, 20, 20]], [1], [0.8])], targets)
    assert values["map"] == pytest.approx(51 / 101)
    assert values["mar_100"] == pytest.approx(0.5)


def test_a_detection_in_a_crowd_is_not_counted_against_the_detector(target):
    boxes = [[0, 0, 20, 20], [30, 30, 60, 60]]
    predictions = [_found([boxes[0], [32, 32, 45, 45]], [1, 1], [0.5, 0.9])]
    honoured = _measured(predictions, [target(boxes, [1, 1], [False, True])])
    counted = _measured(predictions, [target(boxes, [1, 1], [False, False])])
    assert honoured["map"] == pytest.approx(1.0)
    assert counted["map"] < 0.6


def test_no_detection_and_no_object(target):
    assert _measured([_found([], [], [])], [target([[0, 0, 20, 20]], [1])])["map"] == 0
    assert _measured([_found([[0, 0, 9, 9]], [1], [0.9])], [target([], [])]) == {}
