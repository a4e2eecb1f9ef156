import pytest
import torch

from tcc import registry

TASK = registry.load("tasks", "depth")


class _Constant(torch.nn.Module):
    """Gives every pixel of image i the value ``z[i]``."""

    def __init__(self, *z: float):
        super().__init__()
        self.z = torch.nn.Parameter(torch.tensor(z))

    def forward(self, image):
        return self.z[:, None, None, None].expand(-1, 1, *image.shape[-2:])


@pytest.fixture
def model():
    from tcc.tasks.depth.model import DepthModel

    return lambda *z: DepthModel(_Constant(*z))


def _raw(pixels):
    """Raw disparity of so many pixels, as Cityscapes stores it."""
    return (pixels * 256 + 1).round().long()


def test_pixels_are_pooled_not_images(model, make_batch, with_labels):
    raw = torch.zeros(2, 10, 10, dtype=torch.int64)
    raw[0, 0, :3] = _raw(torch.tensor(12.0))  # off by 4 at three pixels
    raw[1] = _raw(torch.tensor(15.0))  # off by 1 at a hundred
    batch = with_labels(make_batch(2, 10, 10), disparity=raw)
    depth = model(8 / 128, 16 / 128)
    expected = ((3 * 4**2 + 100 * 1**2) / 103) ** 0.5
    assert depth.distortion(batch.image_B3HW, batch).item() == pytest.approx(expected, rel=1e-5)
    accumulator = TASK.accumulator(TASK.Params(), ())
    rows = accumulator.update(depth.predict(batch.image_B3HW), batch)
    assert [row["rmse"] for row in rows] == pytest.approx([4.0, 1.0])
    assert accumulator.compute() == {"rmse": pytest.approx(expected)}


def test_disparity_zero_is_valid_and_raw_zero_is_not(model, make_batch, with_labels):
    raw = torch.tensor([[[0, 1]]])  # invalid; disparity of 0 pixels
    batch = with_labels(make_batch(1, 1, 2), disparity=raw)
    assert model(2 / 128).distortion(batch.image_B3HW, batch).item() == pytest.approx(2.0)


def test_images_without_valid_pixels_are_skipped(model, make_batch, with_labels):
    raw = torch.stack([torch.zeros(6, 6).long(), _raw(torch.full((6, 6), 5.0))])
    batch = with_labels(make_batch(2, 6, 6), disparity=raw)
    accumulator = TASK.accumulator(TASK.Params(), ())
    rows = accumulator.update(model(0.0, 8 / 128).predict(batch.image_B3HW), batch)
    assert rows == [{}, {"rmse": pytest.approx(3.0)}]
    assert accumulator.compute() == {"rmse": pytest.approx(3.0)}


def test_no_valid_pixel_at_all_gives_a_zero_with_a_graph(model, make_batch, with_labels):
    batch = with_labels(make_batch(2, 6, 6), disparity=torch.zeros(2, 6, 6, dtype=torch.int64))
    depth = model(0.3, 0.1)
    distortion = depth.distortion(batch.image_B3HW, batch)
    assert distortion.item() == 0
    distortion.backward()
    assert torch.equal(depth.network.z.grad, torch.zeros(2))
    accumulator = TASK.accumulator(TASK.Params(), ())
    assert accumulator.update(depth.predict(batch.image_B3HW), batch) == [{}, {}]
    assert accumulator.compute() == {}


def test_a_perfect_prediction_has_a_finite_gradient(model, make_batch, with_labels):
    batch = with_labels(make_batch(1, 6, 6), disparity=_raw(torch.full((1, 6, 6), 64.0)))
    depth = model(0.5)
    distortion = depth.distortion(batch.image_B3HW, batch)
    distortion.backward()
    assert distortion.item() < 1e-4
    assert depth.network.z.grad.isfinite().all()


def test_lraspp_trains(make_batch):
    batch = make_batch(2, 50, 70)
    model = TASK.build(TASK.Params(model="lraspp_mobilenet_v3_large"), ()).train()
    model.distortion(batch.image_B3HW, batch).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert [tuple(item.shape) for item in model.predict(batch.image_B3HW)] == [(50, 70)] * 2
