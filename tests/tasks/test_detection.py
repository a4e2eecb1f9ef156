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


def _found(boxes, labels, scores):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "scores": torch.tensor(scores, dtype=torch.float32),
    }


def _measured(predictions, targets):
    accumulator = TASK.accumulator(TASK.Params(), CLASSES)
    assert accumulator.update(predictions, _batch(targets)) == [{} for _ in targets]
    return accumulator.compute()


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
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


def test_all_twelve_numbers_are_those_of_pycocotools(random_set):
    values = _measured(*random_set)
    expected = _as_coco_files_say(*random_set)
    assert 0.02 < values["map"] < 0.98
    assert list(values.values()) == pytest.approx(list(expected), abs=1e-6)
    assert [metric.name for metric in TASK.metrics] == list(values)


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


@pytest.fixture
def model():
    return TASK.build(TASK.Params(**TASK.tiny), CLASSES)


@pytest.mark.parametrize("training", [True, False])
def test_crowds_and_boxes_without_area_are_not_trained_on(model, target, training):
    good = [[4, 4, 20, 24]]
    bad = [[30, 30, 60, 60], [9, 9, 9, 30], [8, 40, 20, 40.001]]
    plain = _batch([target(good, [2]), target([], [])])
    mixed = Batch(
        keys=plain.keys,
        image_B3HW=plain.image_B3HW,
        labels={
            "boxes": [
                target(bad[:1] + good + bad[1:], [1, 2, 1, 3], [True, False, False, False]),
                target(bad[:1], [1], [True]),
            ]
        },
    )
    model.train(training)
    losses = []
    for batch in (plain, mixed):
        torch.manual_seed(5)
        losses.append(model.distortion(batch.image_B3HW, batch))
    assert torch.equal(*losses)


def test_evaluation_leaves_batchnorm_and_layers_in_evaluation_mode(target):
    params = TASK.Params(model="fasterrcnn_mobilenet_v3_large_320_fpn")
    model = TASK.build(params, CLASSES).eval()
    seen = []
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.Dropout):
            module.register_forward_hook(lambda module, *_: seen.append(module.training))
    batch = _batch([target([[4, 4, 30, 40]], [2])])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert model.distortion(batch.image_B3HW, batch).isfinite()
    assert seen
    assert not any(seen)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    found = model.predict(batch.image_B3HW)[0]  # still detects, in pixels of 64, not of 320
    assert found["boxes"].shape == (len(found["scores"]), 4)
    assert (found["boxes"] <= 64).all()


def test_training_losses_are_torchvisions(model, target):
    batch = _batch([target([[4, 4, 20, 24]], [2]), target([[30, 8, 50, 30]], [1])])
    model.train()
    torch.manual_seed(5)
    ours = model.distortion(batch.image_B3HW, batch)
    torch.manual_seed(5)
    targets = [{key: label[key] for key in ("boxes", "labels")} for label in batch.labels["boxes"]]
    theirs = model.detector(list(batch.image_B3HW), targets)
    assert len(theirs) == 4
    torch.testing.assert_close(ours, sum(theirs.values()))


def test_a_small_detector_looks_at_the_images_own_size(model):
    sizes = []
    model.detector.backbone.register_forward_pre_hook(
        lambda _, inputs: sizes.append(inputs[0].shape)
    )
    model.eval().predict(torch.rand(2, 3, 61, 90))
    assert sizes == [(2, 3, 64, 96)]  # padded to a multiple of 8


def test_a_scaled_detector_speaks_in_pixels_of_the_image(make_batch):
    batch = make_batch(4, 96, 96)
    params = TASK.Params(width=16, scale=0.5, anchor_sizes=(32,))
    model = TASK.build(params, ("dark", "light")).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        model.distortion(batch.image_B3HW, batch).backward()
        optimizer.step()
    accumulator = TASK.accumulator(params, ("dark", "light"))
    accumulator.update(model.eval().predict(batch.image_B3HW), batch)
    assert accumulator.compute()["map_50"] > 0.7


def test_boxes_stay_float32_under_autocast(model):
    with torch.autocast("cpu", torch.bfloat16):
        found = model.eval().predict(torch.rand(1, 3, 64, 64).bfloat16())[0]
    assert found["boxes"].dtype == found["scores"].dtype == torch.float32
    assert (found["boxes"].bfloat16().float() != found["boxes"]).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_evaluation_on_a_gpu_repeats_and_leaves_its_generator(model, make_batch):
    batch = make_batch(4).to("cuda")
    model.to("cuda").eval()
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.cuda.get_rng_state()
        losses.append(model.distortion(batch.image_B3HW, batch))
        assert torch.equal(torch.cuda.get_rng_state(), state)
    torch.testing.assert_close(*losses)
