"""Latents to bytes and back, with CompressAI's rANS, one stream for ẑ and ŷ.

    encode   ŷ, ẑ, side ──► row of each element ──► symbol under it ──► bytes
    decode   bytes, side ──► pass by pass: rows from the cells before ──► symbols ──► ŷ

Both get their rows from `Rows`, which gives an element the same one whichever cells are looked at
together: so on one machine a decoder never loses its way, and an encoder, which has all of ŷ, need
not go pass by pass.

On other threads, libraries or instructions, sums come in another order. All that rows depend on is
float64, or decided by it, with no exponential behind the last sum, so a parameter moves by some
1e-13 of a step of the tables, and only one that lies so near to a step's edge gets another row.
Measured at C = 192, that is to be expected in one of 1e8 images of 512×768, with random weights in
one of 1e7 (tests/benchmarks/elsewhere.py): rare enough to leave, and not impossible. Nothing guards
against it, but it is told: a stream that is read with another row does not end where its symbols
do, which is a `BitstreamError`. Nor is a machine guarded that computes float64 in less precision,
or weights that are not equal to the bit.

Shape legend: C latent channels, h w latent cells, n cells of one pass.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from tcc.codec.entropy import EntropyModel
from tcc.codec.geometry import Size
from tcc.codec.hyperprior import STRIDE
from tcc.codec.rows import Cells, Known, Latent, Rows
from tcc.codec.streams import LOST, Reader, Writer, least_bytes
from tcc.codec.tables import CERTAIN, LARGEST, gaussian_tables, prior_tables
from tcc.errors import BitstreamError

_Module = TypeVar("_Module", bound=nn.Module)
_Features = Mapping[str, Tensor]
_CELLS = 2**12  # that an encoder looks at together


class LatentCoder:
    """The coder of one trained entropy model, of which it keeps a copy in float64.

    ``tower``: of a conditional entropy model; what is given as ``side`` then is Ŷ of the base.
    Without, ``side`` are the features (1, S, h, w) themselves.
    """

    def __init__(self, entropy: EntropyModel, tower: nn.Module | None = None):
        self.entropy, self._tower = _exact(entropy), None if tower is None else _exact(tower)
        self._rows = Rows(self.entropy)
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
        self.refuse_short(stream, size)
        return self._decode(stream, size, self._side(side))

    @torch.inference_mode()
    def through(self, y: Tensor, y_hat: Tensor, side: Tensor | None = None) -> tuple[bytes, Tensor]:
        """Encodes and decodes what was encoded; the tower is gone through once.

        Raises:
            BitstreamError: as `encode`, or what was decoded is not ŷ.
        """
        known = self._side(side)
        stream = self._encode(y, y_hat, known)
        decoded = self._decode(stream, _size(y_hat), known)
        if not torch.equal(decoded, y_hat.float()):
            raise BitstreamError("the decoder lost its way: its latent is not the encoder's")
        return stream, decoded

    def _encode(self, y: Tensor, y_hat: Tensor, known: _Features) -> bytes:
        writer, size = Writer(), _size(y_hat)
        if self._prior is not None:
            assert self.entropy.hyperprior is not None
            z_hat = _integers(self.entropy.hyperprior.latent(y.double()), "z")
            writer.write(z_hat.flatten(), _channels(z_hat), self._prior)
            known = {**known, **self._z_features(z_hat, size)}
        latent, given = Latent(size, y_hat.shape[1], y_hat.device), Known(known)
        latent.fill(_integers(y_hat, "y"))
        for cells in _together(self._passes(size, y_hat.device)):
            nearest, rows = self._rows.of(latent, cells, given)
            symbols = latent.get(cells).long() - nearest
            writer.write(symbols.flatten(), rows.flatten(), self._gaussian)
        return writer.close()

    def refuse_short(self, stream: bytes, size: Size) -> None:
        """Raises `BitstreamError` where a stream has fewer bytes than any latent of ``size`` (h, w)
        takes; nothing is computed, and no memory taken."""
        channels, (height, width) = self._channels, size
        bits = channels * height * width * float(self._gaussian.least_bits[CERTAIN + 1 :].min())
        if self._prior is not None:
            _, _, *z_cells = self._z_shape(size)
            bits += math.prod(z_cells) * float(self._prior.least_bits[CERTAIN + 1 :].sum())
        if len(stream) < least_bytes(bits):
            raise BitstreamError(
                f"a stream of {len(stream)} bytes cannot hold {height}×{width} cells of {channels} "
                f"channels, which take {least_bytes(bits)} at least: {LOST}"
            )

    @property
    def _channels(self) -> int:
        return self.entropy.head.out_channels // 2

    def _z_shape(self, size: Size) -> tuple[int, int, int, int]:
        height, width = (-(-side // STRIDE) for side in size)
        return 1, self._channels, height, width

    def _decode(self, stream: bytes, size: Size, known: _Features) -> Tensor:
        channels, z_shape = self._channels, self._z_shape(size)
        device = self.entropy.head.weight.device
        z_count = 0 if self._prior is None else math.prod(z_shape)
        reader = Reader(stream, channels * math.prod(size) + z_count)
        if self._prior is not None:
            rows = _channels(torch.empty(z_shape, device=device))
            z_hat = _within(reader.read(rows, self._prior).view(z_shape), "z")
            known = {**known, **self._z_features(z_hat, size)}
        latent, given = Latent(size, channels, device), Known(known)
        for cells in self._passes(size, device):
            nearest, rows = self._rows.of(latent, cells, given)
            found = reader.read(rows.flatten(), self._gaussian).view_as(nearest) + nearest
            latent.put(cells, _within(found, "y"))
        reader.close()
        return latent.whole()

    def _side(self, side: Tensor | None) -> _Features:
        """The features of each input that are known before the stream is."""
        if side is None:
            return {}
        return {"side": side if self._tower is None else self._tower(side.double())}

    def _z_features(self, z_hat: Tensor, size: Size) -> _Features:
        assert self.entropy.hyperprior is not None
        return {"hyperprior": self.entropy.hyperprior.features(z_hat.double(), size)}

    def _passes(self, size: Size, device: torch.device) -> Iterator[Cells]:
        context = self.entropy.context
        for rows, columns in context.passes(*size):
            yield Cells(rows.to(device), columns.to(device), context.blind(rows, columns))


def _together(passes: Iterable[Cells]) -> Iterator[Cells]:
    """Passes joined to few large ones, of cells in the same order."""
    for blind, group in itertools.groupby(passes, lambda cells: cells.blind):
        rows, columns = zip(*((cells.rows, cells.columns) for cells in group), strict=True)
        for some in zip(
            torch.cat(rows).split(_CELLS), torch.cat(columns).split(_CELLS), strict=True
        ):
            yield Cells(*some, blind)


def _exact(module: _Module) -> _Module:
    """A frozen copy in float64."""
    return copy.deepcopy(module).double().eval().requires_grad_(False)


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
            f"latent {name} of the stream holds {_worst(symbols)}, above {LARGEST}: {LOST}"
        )
    return symbols


def _worst(latent: Tensor) -> float:
    finite = latent[~latent.isfinite()] if latent.is_floating_point() else latent[:0]
    return float(finite[0]) if finite.numel() else float(latent.abs().max())


def _size(y: Tensor) -> Size:
    return y.shape[-2], y.shape[-1]
