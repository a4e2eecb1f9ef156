"""PSNR and MS-SSIM of 8-bit images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytorch_msssim import ms_ssim
from torch import Tensor

from tcc.formats.sample import Batch

PSNR_CAP_DB = 100.0  # given to a perfect image, whose PSNR is infinite
MS_SSIM_MIN_SIDE = 161  # five scales of an 11-tap window


class ReconstructionAccumulator:
    """Per-image values and their sums over images."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def update(self, predictions: Sequence[Tensor], batch: Batch) -> list[dict[str, float]]:
        """``predictions``: (3, H, W), nominally 0 to 1. Gives psnr and, where they apply, ms-ssim
        and psnr_coded."""
        per_image = [
            _measure(prediction, original)
            for prediction, original in zip(predictions, batch.image_B3HW, strict=True)
        ]
        if batch.coded is not None:
            for values, decoded, original in zip(per_image, *batch.coded, strict=True):
                values["psnr_coded"] = _psnr_db(_to_8_bit(decoded), _to_8_bit(original))
        for values in per_image:
            for name, value in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] = self._counts.get(name, 0) + 1
        return per_image

    def compute(self) -> dict[str, float]:
        """Means over the images that each metric applies to."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}


def _measure(prediction: Tensor, original: Tensor) -> dict[str, float]:
    decoded, original = _to_8_bit(prediction), _to_8_bit(original)
    values = {"psnr": _psnr_db(decoded, original)}
    if min(original.shape[-2:]) >= MS_SSIM_MIN_SIDE:
        values["ms-ssim"] = ms_ssim(decoded[None], original[None], data_range=255).item()
    return values


def _psnr_db(decoded: Tensor, original: Tensor) -> float:
    mse = (decoded - original).square().mean().item()
    return min(10 * math.log10(255**2 / mse), PSNR_CAP_DB) if mse else PSNR_CAP_DB


def _to_8_bit(image_3HW: Tensor) -> Tensor:
    """8-bit levels, as float64: a product in float32 can fall on the other side of a half."""
    return (255 * image_3HW.detach().double()).clamp(0, 255).round()
