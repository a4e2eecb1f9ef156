"""Errors of disparity and of depth, pooled over the valid pixels of a whole set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tcc.formats.sample import Batch

STEP_PX = 1 / 256  # of the 16-bit format: the least disparity above zero


class DepthAccumulator:
    """Sums over pixels, in float64."""

    def __init__(self) -> None:
        self._sums = np.zeros(9)

    def update(self, predictions: Sequence[Tensor], batch: Batch) -> list[dict[str, float]]:
        """``predictions``: disparity in pixels, (H, W). Images without valid pixel are skipped."""
        per_image = []
        for disparity_HW, raw_HW in zip(predictions, batch.labels["disparity"], strict=True):
            sums = np.array(_sums(disparity_HW.detach(), raw_HW).tolist())
            self._sums += sums
            per_image.append(_metrics(sums))
        return per_image

    def compute(self) -> dict[str, float]:
        """Each metric over all pixels so far; nothing before the first valid one."""
        return _metrics(self._sums)


def _sums(disparity_HW: Tensor, raw_HW: Tensor) -> Tensor:
    """Nine sums over the pixels of an image, float64."""
    valid_HW = raw_HW > 0
    found_N = disparity_HW[valid_HW].double()
    true_N = (raw_HW[valid_HW] - 1).double() / 256
    error_N = found_N - true_N
    finite_N = true_N > 0  # at a disparity of zero depth is infinite
    ratio_N = true_N[finite_N] / found_N[finite_N].clamp(min=STEP_PX)
    worst_N = torch.maximum(ratio_N, 1 / ratio_N)
    terms = [
        torch.ones_like(error_N),
        error_N.square(),
        error_N.abs(),
        torch.ones_like(ratio_N),
        (ratio_N - 1).abs(),
        ratio_N.log().square(),
        *((worst_N < 1.25**power).double() for power in (1, 2, 3)),
    ]
    return torch.stack([term.sum() for term in terms])


def _metrics(sums: np.ndarray) -> dict[str, float]:
    pixels, squares, absolutes, finite, relatives, logs, *within = sums.tolist()
    values = {}
    if pixels:
        values = {"rmse": (squares / pixels) ** 0.5, "mae": absolutes / pixels}
    if finite:
        values |= {"abs_rel": relatives / finite, "rmse_log": (logs / finite) ** 0.5}
        values |= {f"delta{power}": count / finite for power, count in enumerate(within, start=1)}
    return values
