"""What holds for each task alike."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from tcc import registry
from tcc.formats.image import read_indices, read_rgb, read_uint16
from tcc.records import MetricInfo

NAMES = registry.names("tasks")
NETWORKS = [name for name in NAMES if "width" in registry.load("tasks", name).Params.model_fields]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def task(name):
    return registry.load("tasks", name)


def _build(task, classes, seed=1):
    torch.manual_seed(seed)
    return task.build(task.Params(**task.tiny), classes[task.label])


def test_plans_are_made_without_torch():
    code = (
        "import sys\nfrom tcc import registry\n"
        "for name in registry.names('tasks'):\n"
        "    task = registry.load('tasks', name)\n"
        "    task.Params(), task.headline, task.label\n"
        "heavy = {'torch', 'torchvision', 'compressai', 'pycocotools', 'pytorch_msssim', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_describes_its_metrics(task):
    assert task.headline == task.metrics[0]
    assert len({metric.name for metric in task.metrics}) == len(task.metrics)
    assert all(isinstance(metric, MetricInfo) for metric in task.metrics)


def test_params_are_frozen_and_closed(task):
    with pytest.raises(ValidationError):
        task.Params(unheard_of=1)
    params = task.Params()
    for field in type(params).model_fields:
        with pytest.raises((ValidationError, FrozenInstanceError)):
            setattr(params, field, None)


def test_initial_weights_come_from_the_global_generator_alone(task, classes):
    first, again = _build(task, classes).state_dict(), _build(task, classes).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = _build(task, classes, seed=2).state_dict()
    assert not first or any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("size", [(48, 48), (37, 51), (33, 70)])
@pytest.mark.parametrize("training", [True, False])
def test_odd_sizes_give_predictions_in_pixels_of_the_image(
    task, classes, make_batch, size, training
):
    batch = make_batch(2, *size)
    model = _build(task, classes).train(training)
    distortion = model.distortion(batch.image_B3HW, batch)
    assert distortion.ndim == 0
    assert distortion.isfinite()
    predictions = model.eval().predict(batch.image_B3HW)
    accumulator = task.accumulator(task.Params(), classes[task.label])
    per_image = accumulator.update(predictions, batch)
    assert len(per_image) == len(predictions) == 2
    known = {metric.name: metric for metric in task.metrics}
    assert set(accumulator.compute()) <= set(known)
    assert all(known[key].per_image for values in per_image for key in values)


def test_distortion_reaches_the_image_and_every_parameter(task, classes, make_batch):
    batch = make_batch(2)
    image = (batch.image_B3HW + 0.01).requires_grad_()
    model = _build(task, classes).train()
    model.distortion(image, batch).backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_distortion_is_float32_under_autocast(task, classes, make_batch):
    batch = make_batch(2)
    model = _build(task, classes).eval()
    exact = model.distortion(batch.image_B3HW + 0.1, batch)
    with torch.autocast("cpu", torch.bfloat16):
        low = model.distortion((batch.image_B3HW + 0.1).bfloat16(), batch)
    assert exact.dtype == low.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=0.1, atol=0.05)


def test_distortion_in_evaluation_repeats_and_leaves_all_as_it_was(task, classes, make_batch):
    batch = make_batch(3)
    model = _build(task, classes)
    assert isinstance(model, torch.nn.Module)
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(7)
    first = model.distortion(batch.image_B3HW + 0.1, batch)
    drawn = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(3), drawn)  # nothing was drawn in between
    assert torch.equal(model.distortion(batch.image_B3HW + 0.1, batch), first)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_padded_batches_train(task, classes, make_padded, training):
    batch = make_padded((48, 40), (33, 70), (48, 40))
    model = _build(task, classes).train(training)
    image = (batch.image_B3HW + 0.01).requires_grad_()
    model.distortion(image, batch).backward()
    assert image.grad.isfinite().all()
    assert all(gradient.abs().sum() > 0 for gradient in batch.unpadded(image.grad))


@pytest.mark.parametrize("name", ["classification", "detection", "reconstruction"])
def test_what_stands_in_the_padding_counts_for_nothing(task, classes, make_padded):
    batch = make_padded((48, 40), (33, 70), (48, 40))
    model = _build(task, classes).eval()
    other = torch.rand_like(batch.image_B3HW)
    for image, own in zip(batch.unpadded(other), batch.unpadded(batch.image_B3HW + 0.1)):
        image.copy_(own)
    clean = model.distortion(batch.image_B3HW + 0.1, batch)
    assert clean > 0
    assert torch.equal(model.distortion(other, batch), clean)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_lowers_the_distortion(task, classes, make_batch):
    batch = make_batch(4)
    params = task.Params(**{**task.tiny, "width": 16})
    model = task.build(params, classes[task.label])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    first = model.eval().distortion(batch.image_B3HW, batch).item()
    model.train()
    for _ in range(40):
        optimizer.zero_grad()
        model.distortion(batch.image_B3HW, batch).backward()
        optimizer.step()
    assert model.eval().distortion(batch.image_B3HW, batch).item() < 0.5 * first


def test_streamed_metrics_equal_those_at_once(task, classes, make_batch):
    whole = make_batch(6)
    model = _build(task, classes).eval()
    predictions = model.predict((whole.image_B3HW + 0.05).clamp(0, 1))
    once = task.accumulator(task.Params(), classes[task.label])
    rows = once.update(predictions, whole)
    streamed = task.accumulator(task.Params(), classes[task.label])
    streamed_rows = []
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        batch = type(whole)(
            keys=whole.keys[part],
            image_B3HW=whole.image_B3HW[part],
            labels={kind: values[part] for kind, values in whole.labels.items()},
        )
        streamed_rows += streamed.update(predictions[part], batch)
        streamed.compute()  # looking does not change what comes
    assert streamed_rows == rows
    assert streamed.compute() == pytest.approx(once.compute(), rel=1e-12)


def test_nothing_measured_is_nothing_reported(task, classes):
    assert task.accumulator(task.Params(), classes[task.label]).compute() == {}


def test_predictions_are_written_for_others_to_read(name, task, classes, make_batch, tmp_path):
    batch = make_batch(1, 37, 50)
    (prediction,) = _build(task, classes).eval().predict(batch.image_B3HW)
    stem = tmp_path / "a.b"
    path = task.write(prediction, stem, classes[task.label])
    assert list(tmp_path.iterdir()) == [path]
    assert path == stem.with_name(f"a.b{path.suffix}")
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
            assert image.size == (50, 37)
    else:
        assert path.suffix == ".json"
        assert json.loads(path.read_text())


def test_written_numbers_are_those_of_the_prediction(classes, tmp_path):
    def written(name, prediction):
        task = registry.load("tasks", name)
        return task.write(prediction, tmp_path / name, classes[task.label])

    depth = torch.tensor([[-3.0, 0.0, 1.0, 255.99, 9e9]])
    raw = read_uint16(written("depth", depth)).tolist()
    assert raw == [[1, 1, 257, 65534, 65535]]
    ids = torch.tensor([[0, 1, 2, 255]])
    path = written("segmentation", ids)
    assert read_indices(path).tolist() == ids.tolist()
    shown = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (224, 224, 192)]  # VOC's own
    assert [tuple(pixel) for pixel in read_rgb(path)[0].tolist()] == shown
    image = torch.tensor([[[-1.0, 0.5, 2.0]]]).expand(3, 1, 3)
    assert read_rgb(written("reconstruction", image))[0, :, 0].tolist() == [0, 128, 255]
    (first, second) = json.loads(written("classification", torch.tensor([0.0, 3.0])).read_text())[
        "classes"
    ]
    assert (first["label"], first["index"], second["label"]) == ("bright", 1, "dim")
    assert first["probability"] + second["probability"] == pytest.approx(1)
    found = {
        "boxes": torch.tensor([[1.0, 2.0, 3.5, 4.0]]),
        "labels": torch.tensor([2]),
        "scores": torch.tensor([0.5]),
    }
    objects = [{"label": "light", "score": 0.5, "box_xyxy": [1.0, 2.0, 3.5, 4.0]}]
    assert json.loads(written("detection", found).read_text()) == {"objects": objects}
    found |= {"labels": torch.tensor([1]), "keypoints": torch.arange(9.0).view(1, 3, 3)}
    points = {"middle": [0.0, 1.0], "left_corner": [3.0, 4.0], "right_corner": [6.0, 7.0]}
    objects = [{"score": 0.5, "box_xyxy": [1.0, 2.0, 3.5, 4.0], "keypoints_xy": points}]
    assert json.loads(written("keypoints", found).read_text()) == {"objects": objects}
    nothing = {name: rows[:0] for name, rows in found.items()}
    assert json.loads(written("detection", nothing).read_text()) == {"objects": []}
    assert json.loads(written("keypoints", nothing).read_text()) == {"objects": []}
