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
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from compressai import ans  # pyright: ignore[reportAttributeAccessIssue]
from torch import Tensor, nn

from tcc.codec.context import KERNEL, ContextModel
from tcc.codec.entropy import EntropyModel
from tcc.codec.gaussian import scale_of
from tcc.codec.geometry import Size
from tcc.codec.hyperprior import STRIDE
from tcc.codec.tables import CERTAIN, LARGEST, Tables, gaussian_tables, prior_tables
from tcc.codec.tables import row_of as _row_of
from tcc.codec.transforms import LATENT_GAIN
from tcc.errors import BitstreamError

_Module = TypeVar("_Module", bound=nn.Module)
_PADDING = 4  # symbols: the library writes beyond its memory where there are fewer
_AT_ONCE = 2**15  # symbols, until their escapes are counted
_BITS_OF_ESCAPE = 14  # at least; no row gives the escape more than 4 of 2¹⁶
# At most 16 nibbles of ones fit into the coder's state, each says that 15 more follow.
_BYTES_OF_ESCAPE = 136


class LatentCoder:
    """The coder of one trained entropy model, of which it keeps a copy in float64.

    ``tower``: of a conditional entropy model; what is given as ``side`` then is Ŷ of the base.
    Without, ``side`` are the features (1, S, h, w) themselves.
    """

    def __init__(self, entropy: EntropyModel, tower: nn.Module | None = None):
        self.entropy, self._tower = _exact(entropy), None if tower is None else _exact(tower)
        self._context = _CellContext(self.entropy.context)
        self._gaussian = gaussian_tables()
        prior = self.entropy.hyperprior
        self._prior = None if prior is None else prior_tables(prior.likelihood)

    @torch.inference_mode()
    def encode(self, y: Tensor, y_hat: Tensor, side: Tensor | None = None) -> bytes:
        """The latent of one image before and after rounding, (1, C, h, w), as a stream.

        Raises:
            BitstreamError: a latent is not finite, or beyond `LARGEST`.
        """
        return self._encode(y, y_hat, self._side(side))

    @torch.inference_mode()
    def decode(self, stream: bytes, size: Size, side: Tensor | None = None) -> Tensor:
        """ŷ of one image, float32 (1, C, h, w), from its stream; size: (h, w).

        Raises:
            BitstreamError: the stream is damaged, as far as that can be seen.
        """
        return self._decode(stream, size, self._side(side))

    @torch.inference_mode()
    def through(self, y: Tensor, y_hat: Tensor, side: Tensor | None = None) -> tuple[bytes, Tensor]:
        """Encodes and decodes what was encoded; the tower is gone through once.

        Raises:
            BitstreamError: as `encode`, or what was decoded is not ŷ.
        """
        hidden = self._side(side)
        stream = self._encode(y, y_hat, hidden)
        decoded = self._decode(stream, _size(y_hat), hidden)
        if not torch.equal(decoded, y_hat.float()):
            raise BitstreamError("the decoder lost its way: its latent is not the encoder's")
        return stream, decoded

    def _encode(self, y: Tensor, y_hat: Tensor, hidden: Tensor) -> bytes:
        writer = _Writer()
        if self._prior is not None:
            assert self.entropy.hyperprior is not None
            z_hat = _integers(self.entropy.hyperprior.latent(y.double()), "z")
            writer.write(z_hat.flatten(), _channels(z_hat), self._prior)
            hidden = hidden + self._z_features(z_hat, _size(y_hat))
        symbols = _integers(y_hat, "y")[0].permute(1, 2, 0)
        decoded = _Cells(_size(y_hat), symbols.shape[2], hidden)
        for cells in self._passes(_size(y_hat), y_hat.device):
            nearest, rows = self._rows(decoded, cells, hidden)
            found = symbols[cells.rows, cells.columns]
            writer.write((found - nearest).flatten(), rows.flatten(), self._gaussian)
            decoded.put(cells, found)
        return writer.close(self._gaussian)

    def _decode(self, stream: bytes, size: Size, hidden: Tensor) -> Tensor:
        channels = self.entropy.head.out_channels // 2
        z_shape = (1, channels, *(-(-side // STRIDE) for side in size))
        z_count = 0 if self._prior is None else math.prod(z_shape)
        reader = _Reader(stream, channels * math.prod(size) + z_count)
        if self._prior is not None:
            rows = _channels(torch.empty(z_shape, device=hidden.device))
            z_hat = _within(reader.read(rows, self._prior).view(z_shape), "z")
            hidden = hidden + self._z_features(z_hat, size)
        decoded = _Cells(size, channels, hidden)
        for cells in self._passes(size, hidden.device):
            nearest, rows = self._rows(decoded, cells, hidden)
            found = reader.read(rows.flatten(), self._gaussian).view_as(nearest) + nearest
            decoded.put(cells, _within(found, "y"))
        return decoded.latent().float()

    def _side(self, side: Tensor | None) -> Tensor:
        """What a pass adds to its context before the hidden layer: (h, w, hidden) or (1, 1, …)."""
        hidden = self.entropy.hidden_bias[None]
        if side is not None:
            features = side.double() if self._tower is None else self._tower(side.double())
            hidden = hidden + self.entropy.inputs["side"](features)
        return hidden[0].permute(1, 2, 0)

    def _z_features(self, z_hat: Tensor, size: Size) -> Tensor:
        assert self.entropy.hyperprior is not None
        features = self.entropy.hyperprior.features(z_hat.double(), size)
        return self.entropy.inputs["hyperprior"](features)[0].permute(1, 2, 0)

    def _passes(self, size: Size, device: torch.device) -> Iterator[_Pass]:
        for mask in self.entropy.context.passes(*size):
            rows, columns = (index.to(device) for index in mask.nonzero(as_tuple=True))
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

    def __init__(self, size: Size, channels: int, like: Tensor):
        border = 2 * (KERNEL // 2)
        height, width = size
        self.values = like.new_zeros(height + border, width + border, channels)

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
        weight = conv.weight[:, :, self._seen[0], self._seen[1]] / LATENT_GAIN  # (2C, C, places)
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
        seen = decoded.values[rows, columns].flatten(1)
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
    """A stream of ``count`` symbols. The library reads on behind the end of a damaged one, so zeros
    lie there, more than it can come to: a symbol takes two bytes at most, and an escape, of which
    a stream has no more than it has bits for, `_BYTES_OF_ESCAPE` more."""

    def __init__(self, stream: bytes, count: int):
        self._escapes = (8 * len(stream) + 64) // _BITS_OF_ESCAPE
        beyond = 2 * count + _BYTES_OF_ESCAPE * (self._escapes + min(count, _AT_ONCE))
        self._decoder = ans.RansDecoder()
        self._decoder.set_stream(stream + bytes(beyond))

    def read(self, rows: Tensor, tables: Tables) -> Tensor:
        """Symbols as int64, one for each row.

        Raises:
            BitstreamError: there are more escapes than the stream has room for.
        """
        indexes, *used = tables.used(rows)
        parts = []
        for begin in range(0, len(indexes), _AT_ONCE):
            found = self._decoder.decode_stream(indexes[begin : begin + _AT_ONCE], *used)
            part = torch.from_numpy(np.fromiter(found, np.int64, len(found))).to(rows.device)
            self._escapes -= tables.escapes(part, rows[begin : begin + _AT_ONCE])
            if self._escapes < 0:
                raise BitstreamError(
                    "a stream ends before its symbols do: it is damaged, or was coded with other "
                    "weights"
                )
            parts.append(part)
        return torch.cat(parts)


def _exact(module: _Module) -> _Module:
    """A frozen copy in float64."""
    return copy.deepcopy(module).double().eval().requires_grad_(False)


def _linear(conv: nn.Module, x: Tensor) -> Tensor:
    """A 1×1 convolution over features (n, …)."""
    assert isinstance(conv, nn.Conv2d)
    return F.linear(x, conv.weight[:, :, 0, 0], conv.bias)


def _channels(symbols: Tensor) -> Tensor:
    """The row of each element of (1, C, h, w) in the tables of a prior, flat."""
    _, channels, height, width = symbols.shape
    numbers = torch.arange(1, channels + 1, device=symbols.device)
    return numbers.repeat_interleave(height * width)


def _integers(latent: Tensor, name: str) -> Tensor:
    if not bool((latent.abs() < LARGEST).all()):
        raise BitstreamError(
            f"latent {name} holds {_worst(latent)}: what is coded must be finite and below "
            f"{LARGEST}; the image or the weights are damaged"
        )
    return latent.round().long()


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
