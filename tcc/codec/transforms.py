"""Analysis and synthesis transforms after ELIC (He et al., CVPR 2022): 16× down and up again.

    g_a   x ─► 4x−2.4 ─► conv↓ c0 ─► RB ─► conv↓ c1 ─► RB ─► conv↓ c2 ─► RB ─► conv↓ C ─► ·3 ─► y
    g_s   ŷ ─► ÷3 ─► deconv↑ c2 ─► RB ─► deconv↑ c1 ─► RB ─► deconv↑ c0 ─► RB ─► deconv↑ 3
                                                                          ─► 0.25·+0.6 ─► x̂

conv↓ and deconv↑: 5×5, stride 2. RB: a stack of residual bottleneck blocks (1×1, 3×3, 1×1).

Shape legend: B batch, C latent channels, H W pixels, h w latent cells (H/16, W/16).
"""

from __future__ import annotations

from collections.abc import Sequence

from compressai.layers import conv1x1, conv3x3
from compressai.models.utils import conv, deconv
from torch import Tensor, nn

STRIDE = 16  # pixels a latent cell, each way

# What lets tiny models leave the initial plateau: inputs and outputs of about unit spread inside
# the network, and latents wide enough that rounding does not flatten them from the start.
LATENT_GAIN = 3.0
INPUT_GAIN, INPUT_SHIFT = 4.0, -2.4
OUTPUT_GAIN, OUTPUT_SHIFT = 0.25, 0.6


class ResidualBottleneck(nn.Module):
    """x + (1×1 to half the channels, 3×3, 1×1 back)."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(1, channels // 2)
        self.branch = nn.Sequential(
            conv1x1(channels, hidden),
            nn.ReLU(inplace=True),
            conv3x3(hidden, hidden),
            nn.ReLU(inplace=True),
            conv1x1(hidden, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class AnalysisTransform(nn.Module):
    """g_a: image to latent.

    channels: c0, c1, c2 of the three inner stages (paper: 24, 48, 192); latent: C (192);
    blocks: residual blocks a stage (3).
    """

    def __init__(self, channels: Sequence[int], latent: int, blocks: int):
        super().__init__()
        c0, c1, c2 = channels
        self.layers = nn.Sequential(
            conv(3, c0),
            *_stack(c0, blocks),
            conv(c0, c1),
            *_stack(c1, blocks),
            conv(c1, c2),
            *_stack(c2, blocks),
            conv(c2, latent),
        )

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """x in 0 to 1, (B, 3, H, W) → y, float32 also under autocast, (B, C, H/16, W/16).

        Raises:
            ValueError: H or W is not a multiple of 16.
        """
        height, width = x_B3HW.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(
                f"an analysis transform takes multiples of {STRIDE} pixels, not {height}×{width}: "
                f"pad the image first (tcc.codec.geometry.pad_to)"
            )
        y = self.layers(INPUT_GAIN * x_B3HW + INPUT_SHIFT)
        return LATENT_GAIN * y.float()


class SynthesisTransform(nn.Module):
    """g_s: latent to image, the mirror image of `AnalysisTransform` and of the same arguments."""

    def __init__(self, channels: Sequence[int], latent: int, blocks: int):
        super().__init__()
        c0, c1, c2 = channels
        self.layers = nn.Sequential(
            deconv(latent, c2),
            *_stack(c2, blocks),
            deconv(c2, c1),
            *_stack(c1, blocks),
            deconv(c1, c0),
            *_stack(c0, blocks),
            deconv(c0, 3),
        )

    def forward(self, y_hat: Tensor) -> Tensor:
        """ŷ (B, C, h, w) → nominally 0 to 1, not clamped, float32, (B, 3, 16h, 16w)."""
        return OUTPUT_GAIN * self.layers(y_hat / LATENT_GAIN).float() + OUTPUT_SHIFT


def _stack(channels: int, blocks: int) -> list[nn.Module]:
    return [ResidualBottleneck(channels) for _ in range(blocks)]
