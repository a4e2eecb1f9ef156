import json

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.models import get_weight
from torchvision.models.detection import keypointrcnn_resnet50_fpn

from tcc import registry
from tcc.formats.sample import Batch
from tcc.tasks.keypoints import COCO_KEYPOINTS

TASK = registry.load("tasks", "keypoints")
THREE = ("middle", "left_corner", "right_corner")


@pytest.fixture
def model():
    return TASK.build(TASK.Params(**TASK.tiny), THREE)


@pytest.fixture
def person(target):
    """The label of one image: boxes, and the keypoints of each as rows of x, y, v."""

    def make(boxes, keypoints, num_keypoints=3, labels=None, **columns):
        keypoints_NK3 = torch.tensor(keypoints, dtype=torch.float32).reshape(-1, num_keypoints, 3)
        objects = target(boxes, labels or [1] * len(boxes), **columns)
        return {**objects, "keypoints": keypoints_NK3, "mirror": torch.arange(num_keypoints)}

    return make


def _batch(labels):
    keys = tuple(str(index) for index in range(len(labels)))
    image = torch.rand(len(labels), 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return Batch(keys=keys, image_B3HW=image, labels={"keypoints": labels})


def _loss(model, labels):
    torch.manual_seed(5)
    batch = _batch(labels)
    return model.train().distortion(batch.image_B3HW, batch)


BOX, POINTS = [4, 4, 20, 24], [[8, 8, 2], [5, 20, 1], [0, 0, 0]]


def test_training_losses_are_torchvisions_five(model, person):
    labels = [person([BOX], [POINTS]), person([[30, 8, 50, 30]], [[[40, 20, 2]] * 3])]
    ours = _loss(model, labels)
    torch.manual_seed(5)
    targets = [{**label, "boxes": label["boxes"].float()} for label in labels]
    theirs = model.detector(list(_batch(labels).image_B3HW), targets)
    assert len(theirs) == 5
    assert theirs["loss_keypoint"] > 1
    torch.testing.assert_close(ours, sum(theirs.values()))


def test_objects_are_of_one_class_whatever_their_number(model, person):
    boxes, points = [BOX, [30, 8, 50, 30]], [POINTS] * 2
    plain, numbered = person(boxes, points), person(boxes, points, labels=[3, 1])
    assert torch.equal(_loss(model, [plain]), _loss(model, [numbered]))


UNLABELLED = [[0, 0, 0]] * 3


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "labels",
    [
        [([BOX], [UNLABELLED]), ([], [])],
        [([], []), ([], [])],
        [([BOX], [POINTS], 3, [1], [True])],  # a crowd
        [([BOX], [UNLABELLED]), ([BOX], [POINTS])],
        [([BOX], [[[-9, 8, 2], [99, 20, 1], [5, 999, 2]]])],  # outside of the box
        [([[-30, -30, 90, 90]], [[[-9, 8, 2], [70, 20, 1], [5, 80, 2]]])],  # and of the image
    ],
    ids=["none labelled", "no object", "crowd alone", "some labelled", "outside", "cut"],
)
def test_the_distortion_is_finite_whatever_is_labelled(model, person, labels, training):
    columns = ("boxes", "keypoints", "num_keypoints", "labels", "crowd")
    batch = _batch([person(**dict(zip(columns, label))) for label in labels])
    image = batch.image_B3HW.requires_grad_()
    distortion = model.train(training).distortion(image, batch)
    distortion.backward()
    assert 0 < distortion < 100
    assert image.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_an_object_without_labelled_keypoints_teaches_its_box_alone(model, person):
    _loss(model, [person([BOX], [UNLABELLED])]).backward()
    for name, parameter in model.named_parameters():
        assert bool(parameter.grad.any()) == ("keypoint" not in name), name


def test_a_trained_model_finds_keypoints_in_pixels_of_the_image(make_batch):
    batch = make_batch(4, 96, 96)
    params = TASK.Params(width=16, scale=0.5, anchor_sizes=(32,))
    model = TASK.build(params, THREE).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        model.distortion(batch.image_B3HW, batch).backward()
        optimizer.step()
    accumulator = TASK.accumulator(params, THREE)
    accumulator.update(model.eval().predict(batch.image_B3HW), batch)
    assert accumulator.compute()["oks_map_50"] > 0.8


def test_a_state_dict_is_loaded_whole(model, tmp_path):
    torch.save(model.detector.state_dict(), tmp_path / "weights.pt")
    params = TASK.Params(**TASK.tiny, weights=str(tmp_path / "weights.pt"))
    loaded = TASK.build(params, THREE).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


def test_the_published_network_is_all_trained_and_starts_at_random(monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)  # nothing is downloaded
    built = TASK.build(TASK.Params(model="keypointrcnn_resnet50_fpn"), THREE)
    assert all(parameter.requires_grad for parameter in built.parameters())
    heads = built.detector.roi_heads
    assert heads.keypoint_predictor.kps_score_lowres.out_channels == 3
    assert heads.box_predictor.cls_score.out_features == 2
    assert heads.detections_per_img == 20


@pytest.mark.slow
@pytest.mark.parametrize("classes", [THREE, COCO_KEYPOINTS])
def test_published_weights_are_kept_where_they_fit(classes, tmp_path, monkeypatch):
    name = "KeypointRCNN_ResNet50_FPN_Weights.COCO_V1"
    state = keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub/checkpoints" / get_weight(name).url.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    params = TASK.Params(model="keypointrcnn_resnet50_fpn", weights=name)
    built = TASK.build(params, classes).detector.state_dict()
    changed = {key for key in built if not torch.equal(built[key], state[key])}
    last = "roi_heads.keypoint_predictor.kps_score_lowres."
    assert changed == (set() if classes == COCO_KEYPOINTS else {last + "weight", last + "bias"})


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_published_network_takes_a_training_step(make_padded):
    built = TASK.build(TASK.Params(model="keypointrcnn_resnet50_fpn"), THREE).train()
    batch = make_padded((64, 96), (80, 72))
    with torch.autocast("cpu", torch.bfloat16):
        distortion = built.distortion(batch.image_B3HW, batch)
    distortion.backward()
    assert distortion.dtype == torch.float32
    assert all(parameter.grad.isfinite().all() for parameter in built.parameters())


def _measured(predictions, labels, names=COCO_KEYPOINTS, **params):
    accumulator = TASK.accumulator(TASK.Params(**params), names)
    for prediction, label in zip(predictions, labels, strict=True):
        assert accumulator.update([prediction], _batch([label])) == [{}]
    return accumulator.compute()


def _coco_numbers(path, document, results, sigmas=None):
    """pycocotools' own way: a file of ground truth and one of results."""
    (path / "truth.json").write_text(json.dumps(document))
    (path / "results.json").write_text(json.dumps(results))
    truth = COCO(str(path / "truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(path / "results.json")), "keypoints")
    if sigmas is not None:
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
    evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    return {m.name: x for m, x in zip(TASK.metrics, evaluation.stats, strict=True) if x != -1}


def _files(num_keypoints=17):
    """Ground truth and results as files have them: persons of all sizes, crowds, persons without a
    labelled keypoint, an image without any; detections that are shaken, repeated, of nothing, that
    tie in score, and more of them in an image than COCO looks at."""
    rng = np.random.default_rng(0)
    images, annotations, results = (4, 9, 20, 31, 77), [], []
    for image, number in [(image, number) for image in images for number in range(9)]:
        corner, side = rng.uniform(0, 200, 2).round(2), rng.uniform(12, 300, 2).round(2)
        places = corner + rng.random((num_keypoints, 2)) * side
        if image != 20:
            v_N1 = rng.integers(0, 3, (num_keypoints, 1)) * (number not in (3, 5))
            keypoints_N3 = np.hstack([places.round() * (v_N1 > 0), v_N1]).astype(int)
            annotation = {
                "id": len(annotations) + 1,
                "bbox": [*corner.tolist(), *side.tolist()],
                "area": float((side.prod() * rng.uniform(0.3, 0.9)).round(3)),
                "iscrowd": int(number == 5),
                "num_keypoints": int((v_N1 > 0).sum()),
                "keypoints": keypoints_N3.ravel().tolist(),
            }
            annotations.append({"image_id": image, "category_id": 1, **annotation})
        for shake in rng.choice([0, 0.02, 0.08, 0.4, 2], rng.integers(1, 5)):
            found = (places + shake * side * rng.normal(size=places.shape)).round(1)
            points = np.hstack([found, np.ones_like(found[:, :1])]).ravel().tolist()
            result = {"keypoints": points, "score": float(rng.integers(1, 9)) / 8}
            results.append({"image_id": image, "category_id": 1, **result})
    document = {
        "info": {},
        "images": [{"id": number} for number in images],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    return document, results


def _fed(document, results, person):
    """The same as a data set and a model would give it."""
    predictions, labels = [], []
    for image in document["images"]:
        rows = [row for row in document["annotations"] if row["image_id"] == image["id"]]
        found = [row for row in results if row["image_id"] == image["id"]]
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in rows)]
        columns = {
            "crowd": [bool(row["iscrowd"]) for row in rows],
            "area": [row["area"] for row in rows],
        }
        keypoints = [row["keypoints"] for row in rows]
        labels.append(person(boxes, keypoints, len(results[0]["keypoints"]) // 3, **columns))
        scores = [row["score"] for row in found]
        predictions.append(_found([row["keypoints"] for row in found], scores))
    return predictions, labels


def test_all_ten_numbers_are_those_of_the_file(person, tmp_path, capfd):
    document, results = _files()
    assert max(np.bincount([row["image_id"] for row in results])) > 20
    predictions, labels = _fed(document, results, person)
    values = _measured(predictions, labels)
    assert capfd.readouterr().out == ""
    assert list(values) == [metric.name for metric in TASK.metrics]
    assert 0.05 < values["oks_map"] < 0.95
    assert values["oks_map_medium"] != values["oks_map_large"]
    assert values == pytest.approx(_coco_numbers(tmp_path, document, results), abs=1e-6)
    at_once = TASK.accumulator(TASK.Params(), COCO_KEYPOINTS)
    at_once.update(predictions, _batch(labels))
    assert at_once.compute() == values


@pytest.mark.parametrize("names", [THREE, COCO_KEYPOINTS[::-1]])
def test_keypoints_that_are_not_cocos_have_one_sigma(names, person, tmp_path):
    document, results = _files(len(names))
    fed = _fed(document, results, person)
    for params, sigma in (({}, 0.05), ({"sigma": 0.2}, 0.2)):
        expected = _coco_numbers(tmp_path, document, results, [sigma] * len(names))
        assert _measured(*fed, names, **params) == pytest.approx(expected, abs=1e-6)
    assert _measured(*fed, names, sigma=0.2)["oks_map"] > _measured(*fed, names)["oks_map"]


SEEN = [[8 + 2 * k, 9 + 3 * k, 2] for k in range(17)]
OTHER = [[60 + k, 40 + k, k % 3] for k in range(17)]
NOWHERE = [[0, 0, 0]] * 17


def _found(keypoints, scores):
    return {
        "boxes": torch.rand(len(scores), 4),  # which count for nothing
        "scores": torch.tensor(scores, dtype=torch.float64),
        "keypoints": torch.tensor(keypoints, dtype=torch.float64).reshape(len(scores), -1, 3),
    }


NOTHING = {name: rows[:0] for name, rows in _found([SEEN], [1]).items()}


def test_a_perfect_prediction_is_one(person):
    boxes = [[4, 4, 50, 62], [58, 38, 80, 60]]
    labels = [person(boxes, [SEEN, OTHER], 17, area=[2000.0, 10000.0]), person([], [], 17)]
    found = [_found([SEEN, OTHER], [0.9, 0.9]), NOTHING]
    assert _measured(found, labels) == pytest.approx({metric.name: 1 for metric in TASK.metrics})


@pytest.mark.parametrize("ignored", ["crowd", "unlabelled"])
def test_a_person_that_is_ignored_counts_neither_for_nor_against(person, ignored):
    boxes, crowd = [[4, 4, 50, 62], [100, 100, 150, 150]], ignored == "crowd"
    other = OTHER if crowd else NOWHERE
    labels = [person(boxes, [SEEN, other], 17, crowd=[False, crowd])]
    missed = _measured([_found([SEEN], [0.5])], labels)
    assert [missed["oks_map"], missed["oks_mar"]] == pytest.approx([1, 1])
    # a better-scored detection there is no false alarm, elsewhere it is one
    there = OTHER if crowd else [[110 + k, 120 + k, 1] for k in range(17)]
    elsewhere = [[400 + k, 300, 1] for k in range(17)]
    for points, expected in ((there, 1), (elsewhere, 0.5)):
        found = [_found([SEEN, points], [0.5, 0.9])]
        assert _measured(found, labels)["oks_map"] == pytest.approx(expected)
    assert _measured(found, [person(boxes[1:], [other], 17, crowd=[crowd])]) == {}


def test_no_detection_and_no_person(person):
    label, nobody = person([[4, 4, 50, 62]], [SEEN], 17), person([], [], 17)
    assert _measured([NOTHING], [label])["oks_map"] == 0
    assert _measured([_found([SEEN], [0.9])], [nobody]) == {}
