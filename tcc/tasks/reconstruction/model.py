"""The distortion of a reconstruction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcc.formats.sample import Batch

_EPS = 1e-6  # of a squared 8-bit level: the root has a gradient at a perfect image too


class ReconstructionModel(nn.Module):
    """No parameters: the synthesis transform's output is the prediction."""

    def distortion(self, image_B3HW: Tensor, batch: Batch) -> Tensor:
        """Mean over images of the RMSE on 0..255, of each image over its own pixels; unclamped:
        every value has a gradient."""
        error_B3HW = 255 * (image_B3HW.float() - batch.image_B3HW)
        squares_B = torch.stack([error.square().mean() for error in batch.unpadded(error_B3HW)])
        return (squares_B + _EPS).sqrt().mean()

    def predict(self, image_B3HW: Tensor) -> list[Tensor]:
        """Each image as given, float32 (3, H, W)."""
        return list(image_B3HW.float())
