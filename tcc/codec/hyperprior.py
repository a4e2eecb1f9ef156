"""The mean-scale hyperprior (Minnen et al., NeurIPS 2018) with a factorised prior on ẑ.

    y ──pad 4──► h_a: conv 3×3, conv↓ 5×5, conv↓ 5×5 ──► z ──round──► ẑ ──► bits of z
                                                                     │
    features (B, 2C, h, w) ◄──crop── conv 3×3, deconv↑, deconv↑ :h_s ◄┘

Shape legend: B batch, C latent channels, h w latent cells; z: (B, C, ⌈h/4⌉, ⌈w/4⌉).
"""

from __future__ import annotations

import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import conv3x3
from compressai.models.utils import conv, deconv
from torch import Tensor, nn

from tcc.codec.gaussian import round_ste
from tcc.codec.geometry import Size, crop_to, pad_to
from tcc.codec.transforms import LATENT_GAIN

STRIDE = 4  # latent cells a cell of z, each way


class Hyperprior(nn.Module):
    """Side information z on the scale of the latent, sent before it.

    ẑ = round(z) as ŷ = round(y): the prior's medians stay at zero and its quantiles are no
    parameters, so that it needs no auxiliary loss.
    """

    def __init__(self, latent: int):
        super().__init__()
        self.out_features = 2 * latent
        self.analysis = nn.Sequential(
            conv3x3(latent, latent),
            nn.LeakyReLU(inplace=True),
            conv(latent, latent),
            nn.LeakyReLU(inplace=True),
            conv(latent, latent),
        )
        self.synthesis = nn.Sequential(
            deconv(latent, latent),
            nn.LeakyReLU(inplace=True),
            deconv(latent, latent * 3 // 2),
            nn.LeakyReLU(inplace=True),
            conv3x3(latent * 3 // 2, 2 * latent),
        )
        self.prior = EntropyBottleneck(latent)
        quantiles = self.prior.quantiles.detach()
        del self.prior.quantiles  # a parameter, which an optimiser must never see
        self.prior.register_buffer("quantiles", quantiles)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y (B, C, h, w) → ẑ and the bits of each of its elements, float32.

        In training mode the bits are those of z plus uniform noise, drawn from torch's generator:
        the factorised prior's density between integers is free, so its slope at rounded values
        says nothing. ẑ itself is rounded straight through in both modes.
        """
        z = self._latent(y).float()
        with torch.autocast(z.device.type, enabled=False):
            _, likelihood = self.prior(z)
        return round_ste(z), -torch.log2(likelihood)

    def latent(self, y: Tensor) -> Tensor:
        """ẑ (B, C, ⌈h/4⌉, ⌈w/4⌉) of y."""
        return self._latent(y).round()

    def _latent(self, y: Tensor) -> Tensor:
        return LATENT_GAIN * self.analysis(pad_to(y, STRIDE) / LATENT_GAIN)

    def features(self, z_hat: Tensor, size: Size) -> Tensor:
        """ẑ → features (B, 2C, h, w) for a latent of ``size`` (h, w)."""
        return crop_to(self.synthesis(z_hat / LATENT_GAIN), size)

    @torch.no_grad()
    def likelihood(self, reach: int) -> Tensor:
        """Probability of each integer from −reach to reach: (C, 2·reach + 1)."""
        integers = torch.arange(-reach, reach + 1).to(self.prior.quantiles)
        _, likelihood = self.prior(integers.expand(1, self.prior.channels, -1), training=False)
        return likelihood[0]
