"""The discretised Gaussian that latents are coded under, and the one table of its parameters.

    y ──round_ste──► ŷ ──► bits = −log2 [ Φ((ŷ+½−μ)/σ) − Φ((ŷ−½−μ)/σ) ]
                                          ▲
    (μ, σ) of the entropy model ──────────┤  training: as they are, σ within the table's ends
                                          └  evaluation and coding: quantize_parameters first

ŷ is the rounded latent whatever μ is; the coder therefore needs μ's fraction, which is coded for
in `MEAN_STEPS` steps (coding under a rounded μ costs 7 to 50 %). Every shape here is elementwise.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from compressai.ops.bound_ops import LowerBoundFunction
from torch import Tensor

LIKELIHOOD_MIN = 1e-9  # no symbol costs more than 29.9 bits, as in CompressAI

MEAN_STEPS = 16  # steps of μ between two integers
SCALE_LEVELS = 64
SCALE_MIN = 0.11
# Tiny codecs trained with a table up to 256 put 0.2 % of their σ above 20 at λ = 1 on the RMSE, and
# 0.8 % at λ = 1000; a higher top only makes the coder's tables longer.
SCALE_MAX = 20.0
SCALE_RATIO = (SCALE_MAX / SCALE_MIN) ** (1 / (SCALE_LEVELS - 1))  # 1.086 between neighbours

SCALE_TABLE = tuple(SCALE_MIN * SCALE_RATIO**level for level in range(SCALE_LEVELS))
# geometric midpoints: a comparison gives the nearest level by ratio, with no logarithm to round
_SCALE_EDGES = tuple(math.sqrt(low * high) for low, high in pairwise(SCALE_TABLE))


def round_ste(y: Tensor) -> Tensor:
    """ŷ = round(y), with the gradient of the identity (straight-through)."""
    return y + (y.round() - y).detach()


def bits(y_hat: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """−log2 P(ŷ) of each element under N(μ, σ) integrated over ŷ ± ½; float32 also under autocast.

    σ must be positive. The lower bound on P lets gradients through that raise P.
    """
    # in the left tail erfc keeps its relative precision: fold the right tail over
    distance = (y_hat.float() - mean.float()).abs()
    scale = scale.float()
    likelihood = _cdf((0.5 - distance) / scale) - _cdf((-0.5 - distance) / scale)
    return -torch.log2(_at_least(likelihood, LIKELIHOOD_MIN))


def scale_of(log_scale: Tensor) -> Tensor:
    """σ = exp(log_scale) within the table's ends; at an end, gradients pass that lead back inside.

    The logarithm is what a network gives: the table is even in it, and no positive σ is hard to
    reach. (Tried against softplus and the bare value on tiny codecs: equal within the noise.)
    """
    bounded = _at_least(log_scale.float(), math.log(SCALE_MIN))
    return torch.exp(-_at_least(-bounded, -math.log(SCALE_MAX)))


def scale_index(scale: Tensor) -> Tensor:
    """The table's level nearest to σ by ratio, int64."""
    edges = scale.new_tensor(_SCALE_EDGES, dtype=torch.float32)
    return torch.bucketize(scale.float().contiguous(), edges)


def quantize_parameters(mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """(μ, σ) as the coder has them: μ in sixteenths, σ a level of `SCALE_TABLE`; float32."""
    table = scale.new_tensor(SCALE_TABLE, dtype=torch.float32)
    return (mean.float() * MEAN_STEPS).round() / MEAN_STEPS, table[scale_index(scale)]


def _cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-math.sqrt(0.5) * x)


def _at_least(x: Tensor, bound: float) -> Tensor:
    return LowerBoundFunction.apply(x, x.new_full((), bound))  # type: ignore[return-value]
