"""Symbols to bytes and back, with CompressAI's rANS; what is read is not trusted.

The library believes what it reads, and reads on behind the end of a damaged stream. So zeros lie
there, more than it can come to before what its symbols cost, counted here, exceeds what the stream
holds; and at the end its state must be the one that every encoder began with.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from compressai import ans  # pyright: ignore[reportAttributeAccessIssue]
from torch import Tensor

from tcc.codec.tables import CERTAIN, Row, Tables, gaussian_tables
from tcc.errors import BitstreamError

LOST = "it is damaged, or was coded with other weights"
_PADDING = 4  # symbols: the library writes beyond its memory where there are fewer
_AT_ONCE = 2**15  # symbols, until their bits are counted
_BITS_OF_ESCAPE = 18  # at least; no row gives the escape more than 4 of 2¹⁶, and a nibble follows
# Behind the end of a stream, the coder's state holds 49 bits after what tells of an escape, and
# zeros enter it after 5 nibbles; each nibble of ones says that 15 more follow.
_BYTES_OF_ESCAPE = 44
_BYTES_OF_ONES = 16  # that an escape makes of a byte of ones, at most
_SPARE = 2**10  # bytes, for what the state holds at the end of a stream
_STATE_BITS = 32  # of a stream, that hold no symbol
_STATES = 2**31, 2**63  # of the coder, from and below; from a lower one it reads on and on
# What a stream holds in bits, and what its symbols cost, differ by what the state's division
# leaves: at most 2⁻¹⁵ of it.
_SLACK = 1 + 2.0**-12
_SENTINEL = bytes.fromhex("5a3c96d2a5174be8695cb3842d71c39a")
_UNIFORM = Tables([Row(cdf=[*range(0, 2**16 + 1, 2**8)], lowest=0)])


def least_bytes(bits: float) -> int:
    """The fewest bytes of a stream whose symbols cost ``bits`` by their rows."""
    return math.ceil((bits + _STATE_BITS) / _SLACK / 8)


class Writer:
    """A stream in the making."""

    def __init__(self) -> None:
        self._encoder = ans.BufferedRansEncoder()

    def write(self, symbols: Tensor, rows: Tensor, tables: Tables) -> None:
        """Adds symbols, each coded with its row; both int64 (n)."""
        for part, some in zip(symbols.split(_AT_ONCE), rows.split(_AT_ONCE), strict=True):
            self._encoder.encode_with_indexes(part.tolist(), *tables.used(some))

    def close(self) -> bytes:
        """The stream."""
        padding = torch.zeros(_PADDING, dtype=torch.int64)
        self.write(padding, padding + CERTAIN, gaussian_tables())
        return self._encoder.flush()


class Reader:
    """A stream of ``count`` symbols.

    Raises:
        BitstreamError: it begins as none does.
    """

    def __init__(self, stream: bytes, count: int):
        if not _STATES[0] <= int.from_bytes(stream[:8], "little") < _STATES[1]:
            raise BitstreamError(f"a stream begins as no coder ends: {LOST}")
        self._left = _SLACK * 8 * len(stream)  # bits
        most = len(stream) * 8 // _BITS_OF_ESCAPE + min(count, _AT_ONCE)
        beyond = _BYTES_OF_ONES * len(stream) + (_BYTES_OF_ESCAPE + 2) * most + _SPARE
        self._decoder = ans.RansDecoder()
        self._decoder.set_stream((stream + _SENTINEL).ljust(len(stream) + beyond, b"\0"))

    def read(self, rows: Tensor, tables: Tables) -> Tensor:
        """Symbols as int64, one for each row.

        Raises:
            BitstreamError: they cost more bits than the stream has.
        """
        parts = []
        for some in rows.split(_AT_ONCE):
            found = self._decoder.decode_stream(*tables.used(some))
            part = torch.from_numpy(np.fromiter(found, np.int64, len(found))).to(rows.device)
            self._left -= tables.bits(part, some)
            if self._left < 0:
                raise BitstreamError(f"a stream ends before its symbols do: {LOST}")
            parts.append(part)
        return torch.cat(parts)

    def close(self) -> None:
        """Looks whether the stream ends here, and the coder is as it began.

        Raises:
            BitstreamError: it is not.
        """
        if self._end() != _ended():
            raise BitstreamError(f"a stream does not end where its symbols do: {LOST}")

    def _end(self) -> list[int]:
        """The padding of a stream, then what the coder makes of what lies behind its end."""
        behind = torch.zeros(12, dtype=torch.int64)
        padding = torch.full((_PADDING,), CERTAIN)
        return [
            *self._decoder.decode_stream(*gaussian_tables().used(padding)),
            *self._decoder.decode_stream(*_UNIFORM.used(behind)),
        ]


@functools.cache
def _ended() -> list[int]:
    """`Reader._end` of a stream without symbols."""
    return Reader(Writer().close(), 0)._end()
