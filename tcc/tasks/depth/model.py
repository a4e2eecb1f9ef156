"""Disparity networks and the masked RMSE they are trained on.

Shape legend: B batch, H W pixels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from tcc.formats.sample import Batch
from tcc.tasks._layers import DenseNetwork, imagenet_normalised
from tcc.tasks._weights import builder_arguments, initialise
from tcc.tasks.depth import DepthParams

PIXELS = 128.0  # disparity in pixels of z = 1
_EPS = 1e-12  # pixels²: the root has a gradient at a perfect prediction too


def build_network(params: DepthParams) -> nn.Module:
    """A network (B, 3, H, W) → (B, 1, H, W)."""
    if params.model == "small":
        network = DenseNetwork(1, params.width)
        initialise(network, params)
        return network
    return Lraspp(params)


class Lraspp(nn.Module):
    """torchvision's LRASPP on MobileNetV3-Large with one output."""

    def __init__(self, params: DepthParams):
        super().__init__()
        self.lraspp = lraspp_mobilenet_v3_large(**builder_arguments(params, 1))
        if params.origin == "model":
            head = self.lraspp.classifier
            head.low_classifier = nn.Conv2d(head.low_classifier.in_channels, 1, 1)
            head.high_classifier = nn.Conv2d(head.high_classifier.in_channels, 1, 1)
        initialise(self.lraspp, params, self.lraspp.backbone)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return self.lraspp(imagenet_normalised(image_B3HW))["out"]


class DepthModel(nn.Module):
    """Disparity from an image-like tensor."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """ẑ, float32 (B, H, W)."""
        return self.network(image_B3HW)[:, 0].float()

    def distortion(self, image_B3HW: Tensor, batch: Batch) -> Tensor:
        """RMSE in pixels over all valid pixels of the batch; 0 where there is none."""
        raw_BHW = batch.labels["disparity"]
        valid_BHW = raw_BHW > 0
        z_BHW = (raw_BHW - 1).float() / 32768
        error_BHW = PIXELS * (self(image_B3HW) - z_BHW) * valid_BHW
        count = valid_BHW.sum()
        rmse = (error_BHW.square().sum() / count.clamp(min=1) + _EPS).sqrt()
        return rmse * (count > 0)

    def predict(self, image_B3HW: Tensor) -> list[Tensor]:
        """Disparity of each image in pixels, float32 (H, W)."""
        return list(PIXELS * self(image_B3HW))
