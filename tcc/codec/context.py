"""Context models: what is known of a latent cell from the cells that were decoded before it.

    ŷ (B, C, h, w) ──► masked 5×5 convolution ──► features (B, 2C, h, w)

        masked              checkerboard, an anchor     checkerboard, any other cell
        ■ ■ ■ ■ ■           · · · · ·                   · ■ · ■ ·
        ■ ■ ■ ■ ■           · · · · ·                   ■ · ■ · ■       ■ seen
        ■ ■ ○ · ·           · · ○ · ·                   · ■ ○ ■ ·       · not seen
        · · · · ·           · · · · ·                   ■ · ■ · ■       ○ the cell
        · · · · ·           · · · · ·                   · ■ · ■ ·

`passes` gives the order of coding: a cell's features depend only on cells of earlier passes. All
channels of a cell belong to one pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from compressai.layers import CheckerboardMaskedConv2d, MaskedConv2d
from torch import Tensor, nn

from tcc.codec.transforms import LATENT_GAIN
from tcc.errors import UnknownNameError
from tcc.registry import unknown

KERNEL = 5


class ContextModel(nn.Module, ABC):
    """Features of each latent cell from cells of earlier passes; ``out_features`` may be 0."""

    out_features: int

    @abstractmethod
    def forward(self, y_hat: Tensor) -> Tensor:
        """ŷ (B, C, h, w) → (B, out_features, h, w), for all passes at once."""

    @abstractmethod
    def passes(self, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Row and column, int64 (n) each, of the cells of each pass, in coding order.

        Each cell comes once; a pass has n ≥ 1.
        """

    def blind(self, rows: Tensor, columns: Tensor) -> bool:
        """Whether the cells of this pass get zeros for features."""
        return False


class NoContext(ContextModel):
    """No context: every cell is coded in one pass."""

    def __init__(self, latent: int):
        super().__init__()
        self.out_features = 0

    def forward(self, y_hat: Tensor) -> Tensor:
        return y_hat[:, :0]

    def passes(self, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield _cells(torch.ones(height, width))


class MaskedContext(ContextModel):
    """The autoregressive context of Minnen et al. (NeurIPS 2018): all cells before, row by row."""

    def __init__(self, latent: int):
        super().__init__()
        self.out_features = 2 * latent
        self.conv = _Causal(latent, 2 * latent, KERNEL, padding=KERNEL // 2)
        _keep_out_of_checkpoints(self.conv)

    def forward(self, y_hat: Tensor) -> Tensor:
        return self.conv(y_hat / LATENT_GAIN)

    def passes(self, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        # A cell reaches two columns to the right in the row above, so cells on the line
        # column + 3·row = constant do not see one another: w + 3(h−1) passes instead of h·w.
        slope = KERNEL // 2 + 1
        for line in range(width + slope * (height - 1)):
            first = max(0, -((width - 1 - line) // slope))
            rows = torch.arange(first, min(height - 1, line // slope) + 1)
            if len(rows):  # a line may lie between the columns of an image of one or two
                yield rows, line - slope * rows


class CheckerboardContext(ContextModel):
    """The two passes of He et al. (CVPR 2021): anchors see nothing, the others see anchors.

    Anchors are the cells whose row and column add up to an even number.
    """

    def __init__(self, latent: int):
        super().__init__()
        self.out_features = 2 * latent
        self.conv = _Checkerboard(latent, 2 * latent, KERNEL, padding=KERNEL // 2)
        _keep_out_of_checkpoints(self.conv)

    def forward(self, y_hat: Tensor) -> Tensor:
        others = _odd(*y_hat.shape[-2:]).to(y_hat.device)
        return self.conv(y_hat / LATENT_GAIN) * others

    def passes(self, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        others = _odd(height, width)
        yield _cells(1 - others)
        if height * width > 1:
            yield _cells(others)

    def blind(self, rows: Tensor, columns: Tensor) -> bool:
        return int(rows[0] + columns[0]) % 2 == 0


CONTEXTS: dict[str, type[ContextModel]] = {
    "masked": MaskedContext,
    "checkerboard": CheckerboardContext,
    "none": NoContext,
}


def build_context(name: str, latent: int) -> ContextModel:
    """The context model of that name over C = ``latent`` channels.

    Raises:
        UnknownNameError: there is no such context model; lists what there is.
    """
    if name not in CONTEXTS:
        raise UnknownNameError(unknown("context model", name, tuple(CONTEXTS)))
    return CONTEXTS[name](latent)


def _odd(height: int, width: int) -> Tensor:
    """1 where row and column add up to an odd number, int64 (h, w)."""
    return (torch.arange(height)[:, None] + torch.arange(width)) % 2


def _cells(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of what is not 0 in (h, w)."""
    rows, columns = chosen.nonzero(as_tuple=True)
    return rows, columns


class _Causal(MaskedConv2d):
    """CompressAI's masked convolution, but a forward pass leaves the weights alone.

    CompressAI zeroes the masked weights in place at every call: a frozen, loaded layer would
    change when it is used, and masked weights would count in the gradient's norm.
    """

    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)


class _Checkerboard(CheckerboardMaskedConv2d):
    """The same for the checkerboard mask."""

    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)


def _keep_out_of_checkpoints(conv: _Causal | _Checkerboard) -> None:
    """Holds one 5×5 mask that is no part of the state, instead of one as large as the weights."""
    mask = conv.mask[:1, :1].clone()
    conv.register_buffer("mask", mask, persistent=False)
