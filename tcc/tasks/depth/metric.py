"""RMSE of disparity, pooled over the valid pixels of a whole set."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tcc.formats.sample import Batch


class DepthAccumulator:
    """Sum of squared errors and number of valid pixels, in float64."""

    def __init__(self) -> None:
        self._squares = 0.0
        self._count = 0

    def update(self, predictions: Sequence[Tensor], batch: Batch) -> list[dict[str, float]]:
        """``predictions``: disparity in pixels, (H, W). Images without valid pixel are skipped."""
        per_image: list[dict[str, float]] = []
        for disparity, raw in zip(predictions, batch.labels["disparity"], strict=True):
            valid = raw > 0
            count = int(valid.sum())
            error = disparity.detach()[valid].double() - (raw[valid] - 1).double() / 256
            squares = error.square().sum().item()
            self._squares += squares
            self._count += count
            per_image.append({"rmse": (squares / count) ** 0.5} if count else {})
        return per_image

    def compute(self) -> dict[str, float]:
        """The RMSE in pixels; nothing before the first valid pixel."""
        return {"rmse": (self._squares / self._count) ** 0.5} if self._count else {}
