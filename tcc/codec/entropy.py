"""The entropy model of a latent: how many bits ŷ costs, alone or given side information.

    y ──► Hyperprior ──► ẑ ──► bits of "z"
                         └─ h_s ─► 1×1 ─┐
    ŷ ──► context ───────────────► 1×1 ─┼─► + ─► 1×1 ─► 1×1 ─► (μ, σ)
    side (B, S, h, w) ───────────► 1×1 ─┘                        └─► bits of "y" = −log2 P(ŷ | μ, σ)

Each input has a 1×1 convolution of its own into the hidden layer, which is the same as one over
their concatenation, but leaves an input out by not adding it: with ``side=None`` a conditional
model is the unconditional one. Initial weights of each part come from a seed of its own, so they
do not depend on which other parts there are.

Shape legend: B batch, C latent channels, S side features, h w latent cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tcc.codec.context import build_context
from tcc.codec.gaussian import bits, quantize_parameters, round_ste, scale_of
from tcc.codec.geometry import Size
from tcc.codec.hyperprior import STRIDE, Hyperprior
from tcc.codec.seeding import seeded
from tcc.codec.transforms import LATENT_GAIN

__all__ = ["EntropyModel", "round_ste"]


class EntropyModel(nn.Module):
    """Mean-scale Gaussian entropy model of a latent.

    latent: C; context: ``masked`` | ``checkerboard`` | ``none``; hyperprior: whether z is sent;
    side_features: S of the side information that `forward` may be given, 0 for none.

    Streams: ``y`` and, with a hyperprior, ``z``. Draws one number from torch's generator when
    built, whatever the arguments.
    """

    def __init__(self, latent: int, *, context: str, hyperprior: bool, side_features: int = 0):
        super().__init__()
        key = int(torch.randint(2**62, (), device="cpu"))
        with seeded(key, "context"):
            self.context = build_context(context, latent)
        with seeded(key, "hyperprior"):
            self.hyperprior = Hyperprior(latent) if hyperprior else None

        features = {
            "context": self.context.out_features,
            "hyperprior": self.hyperprior.out_features if self.hyperprior else 0,
            "side": side_features,
        }
        hidden = (latent * 10 // 3, latent * 8 // 3)  # widths of Minnen et al.
        self.inputs = nn.ModuleDict()
        for name, width in features.items():
            if width:
                with seeded(key, "input", name):
                    self.inputs[name] = nn.Conv2d(width, hidden[0], 1, bias=False)
        with seeded(key, "head"):
            self.hidden_bias = nn.Parameter(torch.zeros(hidden[0], 1, 1))
            self.hidden = nn.Sequential(
                nn.LeakyReLU(),  # not in place: a decoder uses its conditioning in every pass
                nn.Conv2d(hidden[0], hidden[1], 1),
                nn.LeakyReLU(inplace=True),
            )
            self.head = nn.Conv2d(hidden[1], 2 * latent, 1)

    def forward(
        self,
        y: Tensor,
        y_hat: Tensor,
        side: Tensor | None = None,
        cells: Sequence[Size] | None = None,
    ) -> dict[str, Tensor]:
        """Training rates: stream → bits of each image, float32 (B,), differentiable.

        y, y_hat: the latent before and after `round_ste`, (B, C, h, w); side: (B, S, h, w).
        cells: (h, w) of each image's own cells, at the top left; None: all are its own.
        In training mode a hyperprior draws noise from torch's generator; in evaluation mode
        nothing is random.
        """
        z_hat, z_bits = self._code_z(y)
        mean, scale = self.parameters_of(y_hat, self.conditioning(_size(y), z_hat, side))
        return _per_image({"y": bits(y_hat, mean, scale), **z_bits}, cells)

    @torch.no_grad()
    def measure(
        self,
        y: Tensor,
        y_hat: Tensor,
        side: Tensor | None = None,
        cells: Sequence[Size] | None = None,
    ) -> dict[str, Tensor]:
        """Evaluation rates: stream → bits of each image, float64 (B,), under the quantised
        parameters that a coder uses. Call it in evaluation mode."""
        z_hat, z_bits = self._code_z(y)
        mean, scale = self.parameters_of(y_hat, self.conditioning(_size(y), z_hat, side))
        mean, scale = quantize_parameters(mean, scale)
        spent = {"y": bits(y_hat, mean, scale), **z_bits}
        return _per_image({stream: value.double() for stream, value in spent.items()}, cells)

    def conditioning(
        self, size: Size, z_hat: Tensor | None = None, side: Tensor | None = None
    ) -> Tensor:
        """All that μ and σ depend on but for ŷ itself: (B or 1, hidden, h or 1, w or 1).

        A decoder has it before the first symbol of ŷ; size: (h, w) of the latent.
        """
        hidden = self.hidden_bias[None]
        if self.hyperprior is not None:
            assert z_hat is not None
            features = self.hyperprior.features(z_hat, size)
            hidden = hidden + self.inputs["hyperprior"](features)
        if side is not None:
            hidden = hidden + self.inputs["side"](side)
        return hidden

    def parameters_of(self, y_hat: Tensor, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        """μ and σ of every element of ŷ, float32 (B, C, h, w), not yet quantised.

        Those of a cell are right as soon as ŷ holds the cells of all earlier passes
        (``self.context.passes``); what it holds elsewhere does not matter.
        """
        hidden = conditioning
        if "context" in self.inputs:
            hidden = hidden + self.inputs["context"](self.context(y_hat))
        hidden = self.hidden(hidden)
        # bfloat16 would move a mean of 20 by as much as 0.06
        with torch.autocast(hidden.device.type, enabled=False):
            mean, log_scale = self.head(hidden.float()).chunk(2, dim=1)
        return (LATENT_GAIN * mean).expand_as(y_hat), scale_of(log_scale).expand_as(y_hat)

    def _code_z(self, y: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        if self.hyperprior is None:
            return None, {}
        z_hat, z_bits = self.hyperprior(y)
        return z_hat, {"z": z_bits}


def _size(y: Tensor) -> Size:
    return y.shape[-2], y.shape[-1]


def _per_image(
    bits_by_stream: dict[str, Tensor], cells: Sequence[Size] | None
) -> dict[str, Tensor]:
    """Sums over each image's own cells; a cell of z covers 4×4 of them."""
    if cells is None:
        return {stream: value.flatten(1).sum(1) for stream, value in bits_by_stream.items()}
    covers = {"y": 1, "z": STRIDE}
    return {
        stream: torch.stack(
            [
                value[index, :, : -(-height // covers[stream]), : -(-width // covers[stream])].sum()
                for index, (height, width) in enumerate(cells)
            ]
        )
        for stream, value in bits_by_stream.items()
    }
