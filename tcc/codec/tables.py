"""The coder's integer tables: cumulative frequencies of a symbol under each quantised parameter.

A symbol of ŷ is its distance from n, the integer nearest to μ; what is left of μ, in sixteenths,
and the level of σ name the row of the table that it is coded with. z has a row for each channel.

What a row holds only to one in 2¹⁶ is left to the coder's escape code, which reaches any integer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from tcc.codec.gaussian import MEAN_STEPS, SCALE_LEVELS, SCALE_TABLE

PRECISION = 16  # bits of a frequency
LARGEST = 2**24  # of |ŷ| and |ẑ|: up to there, float32 holds every integer
ESCAPED = 2.0**-PRECISION  # of the probability of a row, at most
_NIBBLE = 4  # bits of an escape at least, behind what tells of it
CERTAIN = 0  # the row of a symbol that is always 0
_PRIOR_REACH = 2**12  # at most; beyond it, ẑ is escaped
_FRACTIONS = range(-MEAN_STEPS // 2, MEAN_STEPS // 2)  # of μ − n, in sixteenths


@dataclass(frozen=True, slots=True)
class Row:
    """``cdf``: cumulative frequencies of 2¹⁶, the last one the escape's; ``lowest``: the first's
    symbol."""

    cdf: list[int]
    lowest: int


_CERTAIN_ROW = Row(cdf=[0, 2**PRECISION - 1, 2**PRECISION], lowest=0)


@dataclass(frozen=True)
class Tables:
    """Rows by number, as the coder takes them."""

    rows: Sequence[Row]

    def used(self, numbers: Tensor) -> tuple[list[int], list[list[int]], list[int], list[int]]:
        """Symbols' rows as indexes into those in use, and these: passing a whole table costs more
        than coding with it."""
        kept = torch.bincount(numbers, minlength=len(self.rows)).nonzero()[:, 0]  # sorts nothing
        places = torch.empty(len(self.rows), dtype=torch.int64, device=numbers.device)
        places[kept] = torch.arange(len(kept), device=numbers.device)
        rows = [self.rows[number] for number in kept.tolist()]
        return (
            places.index_select(0, numbers).tolist(),
            [row.cdf for row in rows],
            [len(row.cdf) for row in rows],
            [row.lowest for row in rows],
        )

    def bits(self, symbols: Tensor, numbers: Tensor) -> float:
        """What symbols cost, each coded with its row; of one that is escaped, what tells so."""
        lowest, escape, begin, bits = (x.to(numbers.device) for x in self._flat)
        place, last = symbols - lowest.index_select(0, numbers), escape.index_select(0, numbers)
        inside = (place >= 0) & (place < last)
        entry = begin.index_select(0, numbers) + torch.where(inside, place, last)
        spent = bits.index_select(0, entry)
        return float(spent.sum()) + _NIBBLE * int((~inside).sum())

    @functools.cached_property
    def least_bits(self) -> Tensor:
        """What the likeliest symbol of each row costs, above 0, float64 (rows)."""
        _, escape, _, bits = self._flat
        return torch.stack([part.min() for part in bits.split((escape + 1).tolist())])

    @functools.cached_property
    def _flat(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of each row the least symbol, the place of its escape, and where it begins in the last:
        the bits of every entry of every row, float64."""
        lowest = torch.tensor([row.lowest for row in self.rows])
        escape = torch.tensor([len(row.cdf) - 2 for row in self.rows])
        counts = [high - low for row in self.rows for low, high in pairwise(row.cdf)]
        bits = PRECISION - torch.tensor(counts, dtype=torch.float64).log2()
        return lowest, escape, (escape + 1).cumsum(0) - escape - 1, bits


def row_of(mean: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """μ in sixteenths and the level of σ, int64 → n and the row of `gaussian_tables`, the same."""
    above = mean + MEAN_STEPS // 2
    nearest = torch.div(above, MEAN_STEPS, rounding_mode="floor")
    return nearest, 1 + (above - nearest * MEAN_STEPS) * SCALE_LEVELS + level


@functools.cache
def gaussian_tables() -> Tables:
    """A certain row, then one for each fraction of μ and each level of σ."""
    gaussian = (
        _gaussian(fraction / MEAN_STEPS, scale) for fraction in _FRACTIONS for scale in SCALE_TABLE
    )
    return Tables([_CERTAIN_ROW, *gaussian])


def prior_tables(likelihood: Callable[[int], Tensor]) -> Tables:
    """A certain row, then one for each channel, from `Hyperprior.likelihood`."""
    reach = 64
    while (pmfs := likelihood(reach)).sum(1).min() < 1 - ESCAPED and reach < _PRIOR_REACH:
        reach *= 2
    rows = []
    for pmf in pmfs:
        below, above = pmf.cumsum(0), pmf.flip(0).cumsum(0)
        left = min(int((below <= ESCAPED / 2).sum()), reach)
        right = 2 * reach + 1 - min(int((above <= ESCAPED / 2).sum()), reach)
        rows.append(_row(pmf[left:right].tolist(), left - reach))
    return Tables([_CERTAIN_ROW, *rows])


def _gaussian(mean: float, scale: float) -> Row:
    reach = 1
    while _tail(reach + 0.5 - abs(mean), scale) + _tail(reach + 0.5 + abs(mean), scale) > ESCAPED:
        reach += 1
    edges = [
        0.5 * math.erfc(-(k - 0.5 - mean) / scale / math.sqrt(2)) for k in range(-reach, reach + 2)
    ]
    return _row([high - low for low, high in pairwise(edges)], -reach)


def _row(pmf: Sequence[float], lowest: int) -> Row:
    """CompressAI's own rounding leaves what is left over to the escape, up to 0.2 % of it all."""
    shares = [*pmf, max(1 - sum(pmf), 0.0)]
    counts = [max(1, round(share * 2**PRECISION)) for share in shares]
    most = max(counts)
    if 2 * (sum(counts) - 2**PRECISION) > most:  # a wide row: what its tails have too much, all pay
        left = (2**PRECISION - len(shares)) / sum(shares)
        counts = [1 + int(share * left) for share in shares]
        most = max(counts)
    counts[counts.index(most)] += 2**PRECISION - sum(counts)
    return Row(cdf=[0, *accumulate(counts)], lowest=lowest)


def _tail(distance: float, scale: float) -> float:
    return 0.5 * math.erfc(distance / scale / math.sqrt(2))
