import pytest
import torch
from torchvision.tv_tensors import BoundingBoxes

from tcc import registry
from tcc.formats.sample import Batch

TASK = registry.load("tasks", "detection")
CLASSES = ("x", "y", "z")


def _batch(targets, size=64):
    keys = tuple(str(index) for index in range(len(targets)))
    image = torch.rand(len(targets), 3, size, size)
    return Batch(keys=keys, image_B3HW=image, labels={"boxes": targets})


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


def test_boxes_are_clipped_to_their_own_image_for_training(model, target, make_padded):
    batch = make_padded((48, 40), (33, 70))
    seen = []
    model.detector.roi_heads.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[3]))
    boxes = [[-5, 30, 45, 60], [50, 2, 60, 9], [4, 47.5, 9, 50]]
    labels = [target(boxes, [1, 2, 3]), target(boxes, [1, 2, 3])]
    before = [label["boxes"].clone() for label in labels]
    batch = Batch(
        keys=batch.keys, image_B3HW=batch.image_B3HW, labels={"boxes": labels}, sizes=batch.sizes
    )
    model.distortion(batch.image_B3HW, batch)
    first, second = seen[0]
    assert first["boxes"].tolist() == [[0, 30, 40, 48], [4, 47.5, 9, 48]]
    assert first["labels"].tolist() == [1, 3]
    assert second["boxes"].tolist() == [[0, 30, 45, 33], [50, 2, 60, 9]]
    assert second["labels"].tolist() == [1, 2]
    assert first["boxes"].dtype == torch.float32
    assert all(torch.equal(label["boxes"], old) for label, old in zip(labels, before))


def test_labels_may_be_bounding_boxes_of_float64(model, target):
    plain = target([[4, 4, 20, 24]], [2])
    boxes = BoundingBoxes(plain["boxes"], format="XYXY", canvas_size=(64, 64))
    first = _batch([plain])
    second = Batch(
        keys=first.keys, image_B3HW=first.image_B3HW, labels={"boxes": [{**plain, "boxes": boxes}]}
    )
    model.eval()
    losses = [model.distortion(batch.image_B3HW, batch) for batch in (first, second)]
    assert type(losses[1]) is torch.Tensor
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
    targets = [
        {"boxes": label["boxes"].float(), "labels": label["labels"]}
        for label in batch.labels["boxes"]
    ]
    theirs = model.detector(list(batch.image_B3HW), targets)
    assert len(theirs) == 4
    torch.testing.assert_close(ours, sum(theirs.values()))


def test_a_detector_gets_each_image_without_its_padding(model, make_padded):
    batch = make_padded((48, 40), (33, 70))
    seen = []
    model.detector.rpn.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.train().distortion(batch.image_B3HW, batch)
    assert [tuple(size) for size in seen[0].image_sizes] == [(48, 40), (33, 70)]
    torch.testing.assert_close(seen[0].tensors[0, :, :48, :40], batch.image_B3HW[0, :, :, :40])
    assert not seen[0].tensors[0, :, :, 40:].any()


def test_found_boxes_are_in_pixels_of_the_image_which_stays_as_it_is(target):
    params = TASK.Params(model="fasterrcnn_mobilenet_v3_large_320_fpn")
    model = TASK.build(params, CLASSES).eval()
    inside = []

    def keep(_module, inputs, outputs):
        sizes, found = inputs[2], outputs[0]
        inside.append((sizes, [item["boxes"].clone() for item in found]))

    model.detector.roi_heads.register_forward_hook(keep)
    image = torch.rand(2, 3, 67, 123)
    before = image.clone()
    found = model.predict(image)
    (sizes, boxes) = inside[0]
    assert [tuple(size) for size in sizes] == [(320, 587)] * 2  # 123 · 320 / 67, rounded down
    assert len(boxes[0]) > 10
    ratio = torch.tensor([123 / 587, 67 / 320, 123 / 587, 67 / 320])
    torch.testing.assert_close(found[0]["boxes"], boxes[0] * ratio)
    assert (found[0]["boxes"] <= torch.tensor([123, 67, 123, 67]) + 1e-3).all()
    batch = Batch(
        keys=("a", "b"), image_B3HW=image, labels={"boxes": [target([[4, 4, 30, 40]], [2])] * 2}
    )
    model.distortion(image, batch)
    assert torch.equal(image, before)  # what PSNR is taken of


@pytest.mark.parametrize("size", [(33, 47), (480, 640), (1024, 2048)])
def test_a_light_detector_takes_any_size_in_bfloat16_and_channels_last(size, target):
    model = TASK.build(TASK.Params(), CLASSES).to(memory_format=torch.channels_last)
    image = torch.rand(1, 3, *size).contiguous(memory_format=torch.channels_last)
    batch = Batch(keys=("a",), image_B3HW=image, labels={"boxes": [target([[3, 3, 25, 31]], [2])]})
    with torch.autocast("cpu", torch.bfloat16):
        distortion = model.train().distortion(image.bfloat16(), batch)
    distortion.backward()
    assert distortion.dtype == torch.float32
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = model.eval().predict(image.bfloat16())
    assert found["boxes"].dtype == torch.float32
    assert (found["boxes"] <= torch.tensor([size[1], size[0]] * 2)).all()


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
