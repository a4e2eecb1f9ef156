"""The tower over the base's latent: side information for the enhancement's entropy model.

    Ŷ_b ─► ÷3 ─► [RB 5×5]×2 ─► conv 5×5, C → 2C ─► ELU ─► [RB 5×5]×2 ─► side features (B, 2C, h, w)

RB 5×5: x + (1×1, ELU, 5×5, ELU, 1×1), all at full width: 27C² weights, so 320C² in all, 11.8
million at C = 192. The tower is the set 𝒱_e of the usable-information theory: what a base is worth
to an enhancement is what THIS network can read out of it.

Shape legend: B batch, C latent channels of the base, h w latent cells.
"""

from __future__ import annotations

from torch import Tensor, nn

from tcc.codec.transforms import LATENT_GAIN

KERNEL = 5


class ResidualBlock(nn.Module):
    """x + (1×1, ELU, 5×5, ELU, 1×1)."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.ELU(inplace=True),
            _conv5x5(channels, channels),
            nn.ELU(inplace=True),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class SideTower(nn.Module):
    """Features of the enhancement's latent cells from the base's latent.

    latent: C of the base; width: features given (2C when None); blocks: on each side of the
    widening convolution.
    """

    def __init__(self, latent: int, width: int | None = None, blocks: int = 2):
        super().__init__()
        self.out_features = 2 * latent if width is None else width
        self.layers = nn.Sequential(
            *(ResidualBlock(latent) for _ in range(blocks)),
            _conv5x5(latent, self.out_features),
            nn.ELU(inplace=True),
            *(ResidualBlock(self.out_features) for _ in range(blocks)),
        )

    def forward(self, y_hat_base: Tensor) -> Tensor:
        """Ŷ_b (B, C, h, w) → (B, out_features, h, w)."""
        return self.layers(y_hat_base / LATENT_GAIN)


def _conv5x5(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, KERNEL, padding=KERNEL // 2)
