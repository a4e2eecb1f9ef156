"""What the R-CNNs of several tasks share, on one with a head of keypoints."""

import copy
import pickle

import pytest
import torch
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from tcc.formats.sample import Batch
from tcc.tasks._rcnn import RcnnModel, light_rcnn


def _learnt(target):
    return {"labels": target["labels"], "keypoints": target["keypoints"]}


def _model(scale=1.0):
    detector = light_rcnn(
        KeypointRCNN,
        width=8,
        anchor_sizes=(16 / scale,),
        scale=scale,
        num_outputs=3,
        keypoint_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),
        keypoint_head=KeypointRCNNHeads(8, (8,)),
        keypoint_predictor=KeypointRCNNPredictor(8, 3),
    )
    return RcnnModel(detector, "keypoints", _learnt)


def _seen_targets(model, batch):
    """What a model's heads are given to learn from."""
    seen = []
    model.detector.roi_heads.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[3]))
    model.train().distortion(batch.image_B3HW, batch)
    return seen[0]


def test_what_is_learnt_follows_its_box(target):
    boxes = [[30, 30, 60, 60], [4, 4, 20, 24], [9, 9, 9, 30], [-5, 2, 9, 70]]
    keypoints = torch.arange(36.0).reshape(4, 3, 3)
    label = {**target(boxes, [1, 2, 1, 1], [True, False, False, False]), "keypoints": keypoints}
    image = torch.rand(1, 3, 64, 64)
    batch = Batch(keys=("a",), image_B3HW=image, labels={"keypoints": [label]})
    (seen,) = _seen_targets(_model(), batch)
    assert seen["boxes"].tolist() == [boxes[1], [0, 2, 9, 64]]
    assert seen["labels"].tolist() == [2, 1]
    assert torch.equal(seen["keypoints"], keypoints[[1, 3]])


def test_targets_are_scaled_with_their_image(make_batch):
    batch = make_batch(2, 67, 123)
    for seen, label in zip(_seen_targets(_model(0.5), batch), batch.labels["keypoints"]):
        ratio = torch.tensor([62 / 123, 34 / 67])
        torch.testing.assert_close(seen["boxes"], label["boxes"].float() * ratio.repeat(2))
        points = label["keypoints"] * torch.tensor([*ratio, 1])
        torch.testing.assert_close(seen["keypoints"], points)


def test_predictions_are_in_pixels_of_the_image():
    model, inside = _model(0.5).eval(), []
    model.detector.roi_heads.register_forward_hook(
        lambda _, inputs, outputs: inside.append((inputs[2], copy.deepcopy(outputs[0])))
    )
    (found,) = model.predict(torch.rand(1, 3, 67, 123))
    ((sizes, (small,)),) = inside
    assert [tuple(size) for size in sizes] == [(34, 62)]
    assert len(small["scores"]) > 0
    ratio = torch.tensor([123 / 62, 67 / 34])
    torch.testing.assert_close(found["keypoints"][..., :2], small["keypoints"][..., :2] * ratio)
    torch.testing.assert_close(found["boxes"], small["boxes"] * ratio.repeat(2))


def test_keypoints_stay_float32_under_autocast():
    model, seen = _model().eval(), []
    predictor = model.detector.roi_heads.keypoint_predictor
    predictor.register_forward_hook(lambda _, inputs, output: seen.append(output))
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = model.predict(torch.rand(1, 3, 64, 64).bfloat16())
    assert found["keypoints"].dtype == found["boxes"].dtype == torch.float32
    (maps,) = seen
    assert maps.dtype == torch.float32
    assert (maps.bfloat16().float() != maps).any()  # enlarged in float32 too


@pytest.mark.parametrize("training", [True, False])
def test_keypoints_are_learnt_in_channels_last(make_batch, training):
    batch = make_batch(2)
    image = batch.image_B3HW.contiguous(memory_format=torch.channels_last)
    model = _model().to(memory_format=torch.channels_last).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        distortion = model.distortion(image, batch)
    distortion.backward()
    assert distortion.dtype == torch.float32
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_model_travels_between_processes():
    model = _model().eval()
    again, image = pickle.loads(pickle.dumps(model)), torch.rand(1, 3, 48, 48)
    (first,), (second,) = model.predict(image), again.predict(image)
    assert torch.equal(first["keypoints"], second["keypoints"])
