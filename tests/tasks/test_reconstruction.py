import math

import numpy as np
import pytest
import torch
from pytorch_msssim import ms_ssim

from tcc import registry
from tcc.formats.sample import Batch

TASK = registry.load("tasks", "reconstruction")


def _batch(image):
    return Batch(keys=tuple("abcdefgh"[: len(image)]), image_B3HW=image, labels={})


def _measured(prediction, original):
    accumulator = TASK.accumulator(TASK.Params(), ())
    rows = accumulator.update(list(prediction), _batch(original))
    return rows, accumulator.compute()


@pytest.fixture
def original():
    return torch.randint(0, 256, (3, 3, 20, 24)).float() / 255


def test_distortion_is_the_mean_of_each_images_rmse(original):
    shift = torch.tensor([3.0, 8.0, -40.0]) / 255
    image = original + shift[:, None, None, None]  # leaves 0 to 1: it is not clamped
    distortion = TASK.build(TASK.Params(), ()).distortion(image, _batch(original))
    assert distortion.item() == pytest.approx((3 + 8 + 40) / 3, rel=1e-5)


def test_distortion_of_a_perfect_image_has_a_finite_gradient(original):
    image = original.clone().requires_grad_()
    TASK.build(TASK.Params(), ()).distortion(image, _batch(original)).backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_psnr_is_of_the_8_bit_image_and_averaged_in_db(original):
    prediction = original + 0.1 * torch.randn_like(original)
    levels = np.rint(np.clip(255 * prediction.numpy().astype(np.float64), 0, 255))
    mse = ((levels - np.rint(255 * original.numpy())) ** 2).mean(axis=(1, 2, 3))
    expected = 10 * np.log10(255**2 / mse)
    rows, total = _measured(prediction, original)
    assert [row["psnr"] for row in rows] == pytest.approx(list(expected), rel=1e-9)
    assert total["psnr"] == pytest.approx(expected.mean(), rel=1e-12)


def test_psnr_ignores_what_8_bit_cannot_hold(original):
    extremes = original.round()
    _, total = _measured(extremes + 0.4 / 255 * (2 * extremes - 1), extremes)
    assert total["psnr"] == 100.0  # a perfect image: the cap, not infinity
    _, total = _measured(3 * extremes - 1, extremes)  # clamped back onto it
    assert total["psnr"] == 100.0


def test_one_wrong_level_is_told_from_a_perfect_image(original):
    wrong = original.clone()
    wrong[0, 0, 0, 0] = (wrong[0, 0, 0, 0] * 255 + (1 if wrong[0, 0, 0, 0] < 0.5 else -1)) / 255
    rows, _ = _measured(wrong, original)
    assert rows[0]["psnr"] == pytest.approx(10 * math.log10(255**2 * 3 * 20 * 24))
    assert rows[1]["psnr"] == 100.0


@pytest.mark.parametrize(("size", "applies"), [((160, 200), False), ((161, 200), True)])
def test_ms_ssim_needs_more_than_160_pixels_a_side(size, applies):
    original = torch.rand(1, 3, *size).mul(255).round() / 255
    prediction = original + 0.05 * torch.randn_like(original)
    rows, total = _measured(prediction, original)
    assert ("ms-ssim" in rows[0]) == ("ms-ssim" in total) == applies
    if applies:
        levels = (255 * prediction).clamp(0, 255).round()
        expected = ms_ssim(levels, 255 * original, data_range=255).item()
        assert total["ms-ssim"] == pytest.approx(expected, abs=1e-6)


def test_ms_ssim_is_the_mean_over_the_images_it_applies_to():
    large = torch.rand(1, 3, 176, 176)
    small = torch.rand(1, 3, 32, 32)
    accumulator = TASK.accumulator(TASK.Params(), ())
    accumulator.update([large[0]], _batch(large))
    rows = accumulator.update([small[0]], _batch(small))
    assert set(rows[0]) == {"psnr"}
    assert accumulator.compute()["ms-ssim"] == pytest.approx(1.0)


def test_distortion_of_a_padded_batch_is_over_each_images_own_pixels(make_padded):
    batch = make_padded((20, 31), (28, 24), (20, 31))
    image = batch.image_B3HW + 0.1 * torch.randn_like(batch.image_B3HW)
    distortion = TASK.build(TASK.Params(), ()).distortion(image, batch)
    pairs = zip(batch.unpadded(image), batch.unpadded(batch.image_B3HW))
    errors = [255 * (ours - theirs).numpy().astype(np.float64) for ours, theirs in pairs]
    expected = np.mean([np.sqrt(np.mean(error**2)) for error in errors])
    assert distortion.item() == pytest.approx(expected, rel=1e-6)


def test_psnr_at_the_codecs_scale_is_beside_that_at_full_size(original):
    coded_original = torch.rand(3, 3, 10, 12)
    decoded = coded_original + 0.1 * torch.randn_like(coded_original)
    coded = Batch(
        keys=("a", "b", "c"), image_B3HW=original, labels={}, coded=(decoded, coded_original)
    )
    prediction = original + 0.05 * torch.randn_like(original)
    levels = [
        np.rint(np.clip(255 * x.numpy().astype(np.float64), 0, 255))
        for x in (decoded, coded_original)
    ]
    expected = 10 * np.log10(255**2 / ((levels[0] - levels[1]) ** 2).mean(axis=(1, 2, 3)))
    plain_rows, plain = _measured(prediction, original)
    accumulator = TASK.accumulator(TASK.Params(), ())
    rows = accumulator.update(list(prediction), coded)
    assert [row.pop("psnr_coded") for row in rows] == pytest.approx(list(expected), abs=1e-6)
    assert rows == plain_rows
    total = accumulator.compute()
    assert total.pop("psnr_coded") == pytest.approx(expected.mean(), abs=1e-6)
    assert total == plain


def test_psnr_is_that_of_exact_8_bit_levels():
    rng = torch.Generator().manual_seed(3)
    levels = torch.randint(0, 256, (1, 3, 40, 40), generator=rng)
    # decoded values near a half, where a float32 product rounds to the wrong side
    decoded = ((levels + 0.5).double() / 255).float()
    original = levels.float() / 255
    (row,), _ = _measured(decoded, original)
    exact = (decoded.double() * 255).clamp(0, 255).round() - levels
    expected = 10 * math.log10(255**2 / exact.square().mean().item())
    assert row["psnr"] == pytest.approx(expected, abs=1e-9)
