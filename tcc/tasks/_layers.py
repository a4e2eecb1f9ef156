"""Shared network parts of the task plug-ins. Imported by their methods only: it needs torch.

Shape legend: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def imagenet_normalised(image_B3HW: Tensor) -> Tensor:
    """The input that torchvision's weights were trained on."""
    mean = image_B3HW.new_tensor(IMAGENET_MEAN)[:, None, None]
    std = image_B3HW.new_tensor(IMAGENET_STD)[:, None, None]
    return (image_B3HW - mean) / std


def learns_batch_norm(network: nn.Module) -> bool:
    """Whether some batch normalisation of it is trained, and so cannot do with a single value."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


class Features(nn.Module):
    """A light trunk for small images of any size, 4× down, with context from 8×.

        image ─ conv s2 ─ conv s2 ─ conv ─┬──────────────────────(+)─ conv ─ features at 1/4
                                          └─ conv s2 ─ conv ─ up ─┘

    No normalisation layer: a batch of one trains like any other. Instead the input, a synthesis
    transform's 0.25y + 0.6, is centred by 4x − 2.4.
    """

    def __init__(self, width: int):
        super().__init__()
        self.down4 = nn.Sequential(
            _conv(3, width // 2, stride=2), _conv(width // 2, width, stride=2), _conv(width, width)
        )
        self.down8 = nn.Sequential(_conv(width, 2 * width, stride=2), _conv(2 * width, width))
        self.fuse = _conv(width, width)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, width, ⌈H/4⌉, ⌈W/4⌉)."""
        x4 = self.down4(4 * image_B3HW - 2.4)
        context = F.interpolate(self.down8(x4), size=x4.shape[-2:], mode="bilinear")
        return self.fuse(x4 + context)


class DenseNetwork(nn.Module):
    """One vector a pixel, each `Features` cell deciding its own 4×4 pixels (half the time of
    interpolating to full size, at equal accuracy)."""

    def __init__(self, out_channels: int, width: int):
        super().__init__()
        self.features = Features(width)
        self.out = nn.Conv2d(width, 16 * out_channels, 1)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, out_channels, H, W)."""
        height, width = image_B3HW.shape[-2:]
        return F.pixel_shuffle(self.out(self.features(image_B3HW)), 4)[..., :height, :width]


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.ReLU(inplace=True))
