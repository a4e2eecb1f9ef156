import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import (
    args,
    generateMatrix,
    getIouScoreForLabel,
    getScoreAverage,
)
from cityscapesscripts.helpers import labels

from tcc import registry
from tcc.errors import TrialError

TASK = registry.load("tasks", "segmentation")
CLASSES = ("a", "b", "c", "d")


class _Fixed(torch.nn.Module):
    def __init__(self, **logits):
        super().__init__()
        self.logits = torch.nn.ParameterDict(logits)

    def forward(self, image):
        return dict(self.logits)


@pytest.fixture
def model():
    from tcc.tasks.segmentation.model import SegmentationModel

    return lambda **logits: SegmentationModel(_Fixed(**logits), len(CLASSES))


def _accumulate(true, found, make_batch, with_labels):
    accumulator = TASK.accumulator(TASK.Params(), CLASSES)
    batch = with_labels(make_batch(1, 4, 4), label_ids=torch.tensor([true]))
    rows = accumulator.update([torch.tensor(found)], batch)
    return accumulator, rows


def test_distortion_is_cross_entropy_times_classes_over_counted_pixels(
    model, make_batch, with_labels
):
    logits = torch.randn(2, 4, 5, 6)
    target = torch.randint(0, 4, (2, 5, 6))
    target[0, :4] = 255
    batch = with_labels(make_batch(2, 5, 6), label_ids=target)
    distortion = model(out=logits).distortion(batch.image_B3HW, batch)
    expected = 4 * F.cross_entropy(logits, target, ignore_index=255)
    torch.testing.assert_close(distortion.detach(), expected)


def test_an_auxiliary_head_has_weight_one(model, make_batch, with_labels):
    out, aux = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    batch = with_labels(make_batch(1, 3, 3), label_ids=torch.randint(0, 4, (1, 3, 3)))
    both = model(out=out, aux=aux).distortion(batch.image_B3HW, batch)
    apart = sum(model(out=head).distortion(batch.image_B3HW, batch) for head in (out, aux))
    torch.testing.assert_close(both, apart)


def test_all_ignored_gives_a_zero_with_a_graph(model, make_batch, with_labels):
    batch = with_labels(make_batch(1, 3, 3), label_ids=torch.full((1, 3, 3), 255))
    segmentation = model(out=torch.randn(1, 4, 3, 3))
    distortion = segmentation.distortion(batch.image_B3HW, batch)
    assert distortion.item() == 0
    distortion.backward()
    assert segmentation.network.logits["out"].grad.abs().sum() == 0
    accumulator = TASK.accumulator(TASK.Params(), CLASSES)
    assert accumulator.update(segmentation.predict(batch.image_B3HW), batch) == [{}]
    assert accumulator.compute() == {}


def test_miou_by_hand(make_batch, with_labels):
    true = [[0, 0, 1, 255], [0, 1, 1, 255]]
    found = [[0, 0, 0, 2], [1, 1, 1, 3]]
    # a: 2 right of 4; b: 2 right of 4; c and d only where ignored: left out
    accumulator, _ = _accumulate(true, found, make_batch, with_labels)
    assert accumulator.compute() == {
        "miou": pytest.approx((2 / 4 + 2 / 4) / 2),
        "pixel_accuracy": pytest.approx(4 / 6),
    }
    assert accumulator.confusion.dtype == np.int64
    assert accumulator.confusion.sum() == 6


@pytest.mark.parametrize(
    ("true", "found"), [([[0, 0, 2, 2]], [[0, 0, 0, 0]]), ([[0, 0, 0, 0]], [[0, 0, 2, 2]])]
)
def test_a_class_in_either_counts_and_one_in_neither_does_not(true, found, make_batch, with_labels):
    accumulator, _ = _accumulate(true, found, make_batch, with_labels)
    assert accumulator.compute()["miou"] == pytest.approx((0.5 + 0) / 2)


def test_miou_is_of_the_set_not_the_mean_of_images(make_batch, with_labels):
    accumulator = TASK.accumulator(TASK.Params(), CLASSES)
    target = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 0]]])
    batch = with_labels(make_batch(2, 1, 4), label_ids=target)
    rows = accumulator.update([torch.zeros(1, 4).long()] * 2, batch)
    assert accumulator.compute()["miou"] == pytest.approx((5 / 8 + 0) / 2)
    assert [row["pixel_accuracy"] for row in rows] == pytest.approx([1, 1 / 4])
    assert accumulator.compute()["pixel_accuracy"] == pytest.approx(5 / 8)


def test_miou_is_that_of_cityscapes_own_scripts(make_batch, with_labels):
    """Label ids that are not evaluated are ignored, and so are classes that never occur."""
    rng = np.random.default_rng(0)
    all_ids = np.array([label.id for label in labels.labels if label.id >= 0])
    absent = [labels.name2label[name].id for name in ("train", "bus")]
    train_ids = np.array([labels.id2label[number].trainId for number in range(34)])
    ids = {labels.id2label[number].trainId: number for number in all_ids}
    true = rng.choice([number for number in all_ids if number not in absent], (3, 40, 50))
    # half right, half any class but one of the two that never occur
    found = np.where(rng.random(true.shape) < 0.5, train_ids[true], rng.integers(0, 16, true.shape))
    found[found == 255] = 0

    task_labels = torch.from_numpy(np.where(train_ids[true] < 0, 255, train_ids[true]))
    accumulator = TASK.accumulator(TASK.Params(), tuple("abcdefghijklmnopqrs"))
    batch = with_labels(make_batch(3, 40, 50), label_ids=task_labels)
    accumulator.update(list(torch.from_numpy(found)), batch)

    confusion = generateMatrix(args)
    np.add.at(confusion, (true, np.vectorize(ids.get)(found)), 1)
    scores = {number: getIouScoreForLabel(number, confusion, args) for number in all_ids}
    counted = [score for score in scores.values() if not math.isnan(score)]
    assert 16 <= len(counted) < 19
    expected = getScoreAverage(scores, args)
    assert accumulator.compute()["miou"] == pytest.approx(expected, abs=1e-9)


def test_metrics_by_direct_computation(make_batch, with_labels):
    rng = np.random.default_rng(1)
    true = rng.choice([0, 1, 3, 255], (2, 30, 30))
    found = rng.integers(0, 4, (2, 30, 30))
    accumulator = TASK.accumulator(TASK.Params(), CLASSES)
    batch = with_labels(make_batch(2, 30, 30), label_ids=torch.from_numpy(true))
    accumulator.update(list(torch.from_numpy(found)), batch)
    counted = true != 255
    ious = [
        ((true == k) & (found == k))[counted].sum() / ((true == k) | (found == k))[counted].sum()
        for k in range(4)
    ]
    accuracy = (true == found)[counted].mean()
    expected = {"miou": np.mean(ious), "pixel_accuracy": accuracy}
    assert accumulator.compute() == pytest.approx(expected, abs=1e-9)


def test_padding_is_ignored(model, make_padded):
    batch = make_padded((48, 40), (33, 70))
    logits = torch.randn(2, 4, 48, 70)
    distortion = model(out=logits).distortion(batch.image_B3HW, batch)
    own = [x.flatten(1).T for x in batch.unpadded(logits)]
    target = [x.flatten() for x in batch.unpadded(batch.labels["label_ids"])]
    expected = 4 * F.cross_entropy(torch.cat(own), torch.cat(target))
    torch.testing.assert_close(distortion.detach(), expected)


@pytest.mark.parametrize("wrong", [4, -1])
def test_a_label_id_that_is_no_class_is_refused(wrong, make_batch, with_labels):
    with pytest.raises(TrialError, match="4 classes"):
        _accumulate([[0, wrong]], [[0, 0]], make_batch, with_labels)


def test_deeplab_trains_with_its_auxiliary_head_and_refuses_a_batch_of_one(make_batch):
    model = TASK.build(TASK.Params(model="deeplabv3_resnet50"), CLASSES).train()
    batch = make_batch(2, 41, 40)
    model.distortion(batch.image_B3HW, batch).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(TrialError, match=r"train\.batch .* train\.devices × train\.accumulate"):
        model.distortion(batch.image_B3HW[:1], make_batch(1, 41, 40))
    assert model.eval().predict(batch.image_B3HW[:1])[0].shape == (41, 40)


def test_a_frozen_deeplab_trains_on_a_batch_of_one(make_batch):
    params = TASK.Params(model="deeplabv3_resnet50", freeze_batch_norm=True)
    batch = make_batch(1, 41, 40)
    model = TASK.build(params, CLASSES).train()
    model.distortion(batch.image_B3HW, batch).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
