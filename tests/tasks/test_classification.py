import pytest
import torch
import torch.nn.functional as F

from tcc import registry
from tcc.errors import TrialError
from tcc.formats.sample import Batch

TASK = registry.load("tasks", "classification")
SEVEN = tuple("abcdefg")


def _batch(labels, image=None):
    image = torch.zeros(len(labels), 3, 8, 8) if image is None else image
    keys = tuple(str(index) for index in range(len(labels)))
    return Batch(keys=keys, image_B3HW=image, labels={"class": torch.tensor(labels)})


def _measured(logits, labels, classes=SEVEN):
    accumulator = TASK.accumulator(TASK.Params(), classes)
    rows = accumulator.update(list(logits), _batch(labels))
    return rows, accumulator.compute()


def test_top_1_and_top_5_by_hand():
    logits = torch.tensor([3.0, 9.0, 4.0, 8.0, 5.0, 7.0, 6.0]).expand(4, 7)  # b d f g e c a
    rows, total = _measured(logits, [1, 4, 2, 0])
    assert [row["top1"] for row in rows] == [1, 0, 0, 0]
    assert [row["top5"] for row in rows] == [1, 1, 0, 0]
    assert total == {"top1": 0.25, "top5": 0.5}


def test_top_k_agrees_with_topk():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 7, generator=rng)
    labels = torch.randint(0, 7, (200,), generator=rng)
    _, total = _measured(logits, labels.tolist())
    for name, depth in (("top1", 1), ("top5", 5)):
        right = (logits.topk(depth).indices == labels[:, None]).any(1)
        assert total[name] == pytest.approx(right.double().mean().item(), abs=1e-9)


@pytest.mark.parametrize(("count", "names"), [(5, {"top1"}), (6, {"top1", "top5"})])
def test_top_5_says_nothing_of_five_classes(count, names):
    rows, total = _measured(torch.eye(count)[:2], [0, 3], SEVEN[:count])
    assert set(total) == set(rows[0]) == names


def test_equal_logits_are_no_reason_to_be_right():
    rows, total = _measured(torch.zeros(7, 7), list(range(7)))
    assert total == {"top1": pytest.approx(1 / 7), "top5": pytest.approx(5 / 7)}
    assert rows[0]["top1"] == 1


@pytest.mark.parametrize("wrong", [-1, 7])
def test_a_label_that_is_no_class_is_refused(wrong):
    with pytest.raises(TrialError, match="7 of the data set"):
        _measured(torch.zeros(1, 7), [wrong])


def test_distortion_is_cross_entropy_in_nats():
    model = TASK.build(TASK.Params(width=8), SEVEN).eval()
    image = torch.rand(3, 3, 24, 24)
    batch = _batch([3, 0, 6], image)
    logits = torch.stack(model.predict(image)).double()
    expected = F.cross_entropy(logits, batch.labels["class"])
    assert model.distortion(image, batch).item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_padded_batch_is_the_mean_of_its_images_alone(make_padded):
    batch = make_padded((48, 40), (33, 70), (48, 40))
    model = TASK.build(TASK.Params(width=8), SEVEN).eval()
    alone = [
        model.distortion(image[None], _batch([label], image[None]))
        for image, label in zip(batch.unpadded(batch.image_B3HW), batch.labels["class"].tolist())
    ]
    together = model.distortion(batch.image_B3HW, batch)
    torch.testing.assert_close(together, torch.stack(alone).mean(), rtol=1e-5, atol=1e-6)


def test_a_resnet_trains_on_images_of_any_size(make_batch):
    batch = make_batch(2, 41, 70)
    model = TASK.build(TASK.Params(model="resnet18"), SEVEN).train()
    model.distortion(batch.image_B3HW, batch).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert [tuple(logits.shape) for logits in model.predict(batch.image_B3HW)] == [(7,)] * 2


def test_a_resnet_cannot_normalise_one_value_unless_it_is_frozen(make_batch):
    batch = make_batch(1, 32, 32)
    model = TASK.build(TASK.Params(model="resnet18"), SEVEN).train()
    with pytest.raises(TrialError, match="freeze_batch_norm"):
        model.distortion(batch.image_B3HW, batch)
    assert model.eval().distortion(batch.image_B3HW, batch).isfinite()
    frozen = TASK.build(TASK.Params(model="resnet18", freeze_batch_norm=True), SEVEN).train()
    assert frozen.distortion(batch.image_B3HW, batch).isfinite()


def test_a_resnet_sees_imagenet_normalised_pixels():
    model = TASK.build(TASK.Params(model="resnet18"), SEVEN).eval()
    seen = []
    model.network.resnet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.predict(torch.tensor([0.485, 0.456, 0.406])[None, :, None, None].expand(1, 3, 8, 8))
    torch.testing.assert_close(seen[0], torch.zeros(1, 3, 8, 8))
