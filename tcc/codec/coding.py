"""Latents to bytes and back, with CompressAI's rANS, one stream for ẑ and ŷ.

    encode   ŷ, ẑ, side ──► pass by pass: (μ, σ) from the cells before ──► row, symbol ──► bytes
    decode   bytes, side ──► pass by pass: (μ, σ) from the cells before ──► row ──► symbol ──► ŷ

Both walk the same passes and call the very same function for the parameters of a pass, on equal
numbers: so they get equal rows, and a decoder never loses its way. All of it is float64: what
another order of sums changes, on other threads or another machine, is some 1e-15 of a parameter,
and only a parameter that lies so near to the edge of a table's step would move to another row.

Shape legend: C latent channels, h w latent cells, n cells of one pass.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from compressai import ans  # pyright: ignore[reportAttributeAccessIssue]
from torch import Tensor, nn

from tcc.codec.context import KERNEL, ContextModel
from tcc.codec.entropy import EntropyModel
from tcc.codec.gaussian import scale_of
from tcc.codec.geometry import Size
from tcc.codec.hyperprior import STRIDE
from tcc.codec.tables import CERTAIN, Tables, gaussian_tables, prior_tables
from tcc.codec.tables import row_of as _row_of
from tcc.codec.transforms import LATENT_GAIN
from tcc.errors import BitstreamError

LARGEST = 2**15  # |ŷ| and |ẑ|: beyond it no trained latent comes
_PRIOR_REACH = 512  # of ẑ; beyond it, the coder escapes
_PADDING = 4  # symbols: the library writes beyond its memory where there are fewer
# A damaged stream may make the decoder read on: at most this for a symbol, and for a byte.
_BEYOND_PER_SYMBOL, _BEYOND_PER_BYTE = 136, 16


class LatentCoder(nn.Module):
    """The coder of one trained entropy model, of which it keeps a copy in float64."""

    def __init__(self, entropy: EntropyModel):
        super().__init__()
        self.entropy = copy.deepcopy(entropy).double().eval().requires_grad_(False)
        self._context = _CellContext(self.entropy.context)
        self._gaussian = gaussian_tables()
        prior = self.entropy.hyperprior
        self._prior = None if prior is None else prior_tables(prior.likelihood(_PRIOR_REACH))

    @torch.inference_mode()
    def encode(self, y: Tensor, y_hat: Tensor, side: Tensor | None = None) -> bytes:
        """The latent of one image, (1, C, h, w), as a stream; side: (1, S, h, w).

        Raises:
            BitstreamError: a latent is not finite, or beyond `LARGEST`.
        """
        writer = _Writer()
        hidden = self._side(side)
        if self._prior is not None:
            assert self.entropy.hyperprior is not None
            z_hat = self.entropy.hyperprior.latent(y.double())
            symbols = _integers(z_hat, "z")
            writer.write(symbols.flatten(), _channels(symbols), self._prior)
            hidden = hidden + self._z_features(symbols, _size(y_hat))
        symbols = _integers(y_hat, "y")[0].permute(1, 2, 0)
        decoded = _Cells(_size(y_hat), symbols.shape[2])
        for cells in self._passes(_size(y_hat)):
            nearest, rows = self._rows(decoded, cells, hidden)
            found = symbols[cells.rows, cells.columns]
            writer.write((found - nearest).flatten(), rows.flatten(), self._gaussian)
            decoded.put(cells, found)
        return writer.close(self._gaussian)

    @torch.inference_mode()
    def decode(self, stream: bytes, size: Size, side: Tensor | None = None) -> Tensor:
        """ŷ of one image, float32 (1, C, h, w), from its stream; size: (h, w).

        Raises:
            BitstreamError: the stream is damaged, as far as that can be seen.
        """
        height, width = size
        channels = self.entropy.head.out_channels // 2
        padded = -(-height // STRIDE), -(-width // STRIDE)
        count = channels * height * width
        if self._prior is not None:
            count += channels * padded[0] * padded[1]
        reader = _Reader(stream, count)
        hidden = self._side(side)
        if self._prior is not None:
            shape = torch.empty(1, channels, *padded, dtype=torch.int64, device="meta")
            rows = _channels(shape)
            symbols = reader.read(rows, self._prior).view(1, channels, *padded)
            hidden = hidden + self._z_features(_within(symbols, "z"), size)
        decoded = _Cells(size, channels)
        for cells in self._passes(size):
            nearest, rows = self._rows(decoded, cells, hidden)
            found = reader.read(rows.flatten(), self._gaussian).view_as(nearest) + nearest
            decoded.put(cells, _within(found, "y"))
        return decoded.latent().float()

    def _side(self, side: Tensor | None) -> Tensor:
        """What a pass adds to its context before the hidden layer: (h, w, hidden) or (1, 1, …)."""
        hidden = self.entropy.hidden_bias[None]
        if side is not None:
            hidden = hidden + self.entropy.inputs["side"](side.double().cpu())
        return hidden[0].permute(1, 2, 0)

    def _z_features(self, z_hat: Tensor, size: Size) -> Tensor:
        assert self.entropy.hyperprior is not None
        features = self.entropy.hyperprior.features(z_hat.double(), size)
        return self.entropy.inputs["hyperprior"](features)[0].permute(1, 2, 0)

    def _passes(self, size: Size) -> Iterator[_Pass]:
        for mask in self.entropy.context.passes(*size):
            rows, columns = mask.nonzero(as_tuple=True)
            if len(rows):
                yield _Pass(rows, columns)

    def _rows(self, decoded: _Cells, cells: _Pass, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """n and the row of each element of a pass, both (n, C), from the cells before."""
        alone = hidden.shape[:2] == (1, 1)
        mine = hidden[0] if alone else hidden[cells.rows, cells.columns]
        context = self._context(decoded, cells)
        if context is not None:
            mine = mine + _linear(self.entropy.inputs["context"], context)
        first, conv, second = self.entropy.hidden
        out = _linear(self.entropy.head, second(_linear(conv, first(mine))))
        mean, log_scale = out.expand(len(cells.rows), -1).chunk(2, dim=1)
        return _row_of(LATENT_GAIN * mean, scale_of(log_scale))


@dataclass(frozen=True, slots=True)
class _Pass:
    """Cells of one pass: row and column of each, int64 (n)."""

    rows: Tensor
    columns: Tensor


class _Cells:
    """ŷ as far as it is decoded, with a border as wide as a context reaches."""

    def __init__(self, size: Size, channels: int):
        border = 2 * (KERNEL // 2)
        height, width = size
        self.values = torch.zeros(height + border, width + border, channels, dtype=torch.float64)

    def put(self, cells: _Pass, symbols: Tensor) -> None:
        reach = KERNEL // 2
        self.values[cells.rows + reach, cells.columns + reach] = symbols.double()

    def latent(self) -> Tensor:
        reach = KERNEL // 2
        return self.values[reach:-reach, reach:-reach].permute(2, 0, 1)[None].contiguous()


class _CellContext:
    """A context model at some cells: one product over the places that its mask lets be seen."""

    def __init__(self, context: ContextModel):
        self._context = context
        conv = getattr(context, "conv", None)
        if conv is None:
            self._seen = None
            return
        self._seen = conv.mask[0, 0].nonzero(as_tuple=True)
        weight = conv.weight[:, :, self._seen[0], self._seen[1]]  # (2C, C, places)
        self._weight = weight.permute(2, 1, 0).flatten(0, 1).contiguous()
        self._bias = conv.bias

    def __call__(self, decoded: _Cells, cells: _Pass) -> Tensor | None:
        """Features (n, 2C)."""
        if self._seen is None:
            return None
        if self._context.blind(cells.rows, cells.columns):
            return decoded.values.new_zeros(1, len(self._bias))
        down, right = self._seen
        rows, columns = cells.rows[:, None] + down, cells.columns[:, None] + right
        seen = decoded.values[rows, columns].flatten(1) / LATENT_GAIN
        return torch.addmm(self._bias, seen, self._weight)


class _Writer:
    def __init__(self) -> None:
        self._encoder = ans.BufferedRansEncoder()

    def write(self, symbols: Tensor, rows: Tensor, tables: Tables) -> None:
        indexes, cdfs, lengths, lowest = tables.used(rows)
        self._encoder.encode_with_indexes(symbols.tolist(), indexes, cdfs, lengths, lowest)

    def close(self, tables: Tables) -> bytes:
        padding = torch.zeros(_PADDING, dtype=torch.int64)
        self.write(padding, padding + CERTAIN, tables)
        return self._encoder.flush()


class _Reader:
    def __init__(self, stream: bytes, count: int):
        self._decoder = ans.RansDecoder()
        beyond = _BEYOND_PER_SYMBOL * count + _BEYOND_PER_BYTE * len(stream)
        self._decoder.set_stream(stream + bytes(beyond))

    def read(self, rows: Tensor, tables: Tables) -> Tensor:
        """Symbols as int64, one for each row."""
        found = self._decoder.decode_stream(*tables.used(rows))
        return torch.tensor(found, dtype=torch.int64)


def _linear(conv: nn.Module, x: Tensor) -> Tensor:
    """A 1×1 convolution over features (n, …)."""
    assert isinstance(conv, nn.Conv2d)
    return F.linear(x, conv.weight[:, :, 0, 0], conv.bias)


def _channels(symbols: Tensor) -> Tensor:
    """The row of each element of (1, C, h, w) in the tables of a prior, flat."""
    _, channels, height, width = symbols.shape
    return torch.arange(1, channels + 1).repeat_interleave(height * width)


def _integers(latent: Tensor, name: str) -> Tensor:
    if not bool((latent.abs() < LARGEST).all()):
        raise BitstreamError(
            f"latent {name} holds {_worst(latent)}: what is coded must be finite and below "
            f"{LARGEST}; the image or the weights are damaged"
        )
    return latent.round().long().cpu()


def _within(symbols: Tensor, name: str) -> Tensor:
    if bool((symbols.abs() >= LARGEST).any()):
        raise BitstreamError(
            f"latent {name} of the stream holds {_worst(symbols)}, above {LARGEST}: it is damaged, "
            "or was coded with other weights"
        )
    return symbols


def _worst(latent: Tensor) -> float:
    finite = latent[~latent.isfinite()] if latent.is_floating_point() else latent[:0]
    return float(finite[0]) if finite.numel() else float(latent.abs().max())


def _size(y: Tensor) -> Size:
    return y.shape[-2], y.shape[-1]
