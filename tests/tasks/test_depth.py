import math

import numpy as np
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
    assert [row["mae"] for row in rows] == pytest.approx([4.0, 1.0])
    assert accumulator.compute()["rmse"] == pytest.approx(expected)
    assert accumulator.compute()["mae"] == pytest.approx((3 * 4 + 100) / 103)


def test_disparity_zero_is_valid_and_raw_zero_is_not(model, make_batch, with_labels):
    raw = torch.tensor([[[0, 1]]])  # invalid; disparity of 0 pixels
    batch = with_labels(make_batch(1, 1, 2), disparity=raw)
    assert model(2 / 128).distortion(batch.image_B3HW, batch).item() == pytest.approx(2.0)


def test_images_without_valid_pixels_are_skipped(model, make_batch, with_labels):
    raw = torch.stack([torch.zeros(6, 6).long(), _raw(torch.full((6, 6), 5.0))])
    batch = with_labels(make_batch(2, 6, 6), disparity=raw)
    accumulator = TASK.accumulator(TASK.Params(), ())
    rows = accumulator.update(model(0.0, 8 / 128).predict(batch.image_B3HW), batch)
    assert rows[0] == {}
    assert rows[1]["rmse"] == pytest.approx(3.0)
    assert accumulator.compute() == pytest.approx(rows[1])


def _measured(found, true, make_batch, with_labels):
    """Of disparities in pixels, (N,); NaN is invalid."""
    raw = torch.where(true.isnan(), 0, _raw(true.nan_to_num()))[None, None]
    accumulator = TASK.accumulator(TASK.Params(), ())
    batch = with_labels(make_batch(1, 1, len(true)), disparity=raw)
    (row,) = accumulator.update([found[None]], batch)
    assert accumulator.compute() == row
    return row


def test_depth_metrics_by_hand(make_batch, with_labels):
    # depth is a constant over disparity: ratios of depth 1/1, 10/8 exactly, 10/20, 10/5, 10/6
    found, true = torch.tensor([10.0, 8, 20, 5, 6]), torch.full((5,), 10.0)
    values = _measured(found, true, make_batch, with_labels)
    assert values == pytest.approx(
        {
            "rmse": ((0 + 4 + 100 + 25 + 16) / 5) ** 0.5,
            "mae": (0 + 2 + 10 + 5 + 4) / 5,
            "abs_rel": (0 + 0.25 + 0.5 + 1 + 2 / 3) / 5,
            "rmse_log": (sum(math.log(r) ** 2 for r in (1, 0.8, 2, 0.5, 0.6)) / 5) ** 0.5,
            "delta1": 1 / 5,  # 1.25 itself is not within
            "delta2": 2 / 5,
            "delta3": 3 / 5,
        },
        abs=1e-6,
    )


def test_depth_metrics_of_random_disparities_are_those_of_depths(make_batch, with_labels):
    rng = np.random.default_rng(0)
    true = np.rint(256 * rng.uniform(1, 100, 500)) / 256
    found = (true * np.exp(rng.normal(0, 0.3, 500))).astype(np.float32)
    values = _measured(torch.from_numpy(found), torch.from_numpy(true), make_batch, with_labels)
    depth, depth_found = 2262 * 0.22 / true, 2262 * 0.22 / found.astype(np.float64)
    factor = np.maximum(depth / depth_found, depth_found / depth)
    expected = {
        "rmse": np.sqrt(np.mean((found - true) ** 2)),
        "mae": np.mean(np.abs(found - true)),
        "abs_rel": np.mean(np.abs(depth_found - depth) / depth),
        "rmse_log": np.sqrt(np.mean((np.log(depth_found) - np.log(depth)) ** 2)),
        **{f"delta{k}": np.mean(factor < 1.25**k) for k in (1, 2, 3)},
    }
    assert list(values) == [metric.name for metric in TASK.metrics] == list(expected)
    assert values == pytest.approx(expected, abs=1e-6)


def test_infinite_depth_counts_for_disparity_alone(make_batch, with_labels):
    found, true = torch.tensor([3.0, 4.0, 7.0]), torch.tensor([0.0, 4.0, torch.nan])
    values = _measured(found, true, make_batch, with_labels)
    assert values["mae"] == pytest.approx(1.5)
    assert (values["abs_rel"], values["delta1"]) == (0, 1)
    values = _measured(found[:1], true[:1], make_batch, with_labels)
    assert values == {"rmse": 3.0, "mae": 3.0}


def test_a_disparity_below_zero_is_one_step_to_depth(make_batch, with_labels):
    values = _measured(torch.tensor([-5.0]), torch.tensor([1.0]), make_batch, with_labels)
    assert values["mae"] == pytest.approx(6.0)
    assert values["abs_rel"] == pytest.approx(255.0)
    assert values["rmse_log"] == pytest.approx(math.log(256))


def test_padding_is_no_valid_pixel(model, make_padded):
    batch = make_padded((48, 40), (33, 70))
    depth = model(20 / 128, 70 / 128)
    raw = batch.unpadded(batch.labels["disparity"])
    error = [z - (own[own > 0] - 1) / 256 for z, own in zip((20, 70), raw)]
    expected = torch.cat(error).square().mean().sqrt().item()
    assert depth.distortion(batch.image_B3HW, batch).item() == pytest.approx(expected, rel=1e-5)


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
